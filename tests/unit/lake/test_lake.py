"""What a step may rely on: one commit or nothing, files that are what was written, errors without values."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.errors import Bug, CatalogLocked, Refused, SancheError, VerificationFailed
from pipelines.lake import Lake
from pipelines.settings import Settings

NIGHT = date(2026, 8, 20)
RECORD = """
insert into quarantine.record values ('b1', 'bank_txn', date '2026-08-20', 'a1', $row, null, ['r'], null)
"""


def window(lake: Lake, start: str, end: str, feed: str = "bank_txn") -> None:
    with lake.commit(step="test", business_date=NIGHT) as commit:
        commit.execute(
            "insert into control.window values (?, ?, ?, 'b', date '2026-08-20', 'landed')", [feed, start, end]
        )


def test_two_tables_and_a_window_are_one_commit(lake: Lake) -> None:
    with lake.commit(step="land", business_date=NIGHT) as commit:
        commit.execute(RECORD, {"row": 1})
        commit.execute("insert into control.build values ('marts', date '2026-08-20', 'f', null)")
    assert commit.snapshot == lake.snapshot()
    assert lake.rows("select count(*) from quarantine.record") == [(1,)]
    assert lake.rows("select count(*) from control.build") == [(1,)]


def test_an_error_inside_a_commit_leaves_nothing_and_the_lake_usable(lake: Lake) -> None:
    before = lake.snapshot()
    with pytest.raises(ZeroDivisionError), lake.commit(step="land", business_date=NIGHT) as commit:
        commit.execute(RECORD, {"row": 1})
        raise ZeroDivisionError
    assert lake.snapshot() == before
    assert lake.rows("select count(*) from quarantine.record") == [(0,)]
    with lake.commit(step="land", business_date=NIGHT) as commit:
        commit.execute(RECORD, {"row": 1})
    assert lake.rows("select count(*) from quarantine.record") == [(1,)]


def test_what_is_asked_for_after_a_commit_is_done_once_and_only_if_it_succeeded(lake: Lake) -> None:
    done: list[str] = []
    with lake.commit(step="land", business_date=NIGHT) as commit:
        assert commit.after_commit(lambda: done.append("once"), key="k")
        assert not commit.after_commit(lambda: done.append("twice"), key="k")
    with pytest.raises(ZeroDivisionError), lake.commit(step="land", business_date=NIGHT) as commit:
        commit.after_commit(lambda: done.append("never"))
        raise ZeroDivisionError
    assert done == ["once"]


def test_arrow_rows_go_in_by_name_and_16_byte_tokens_become_uuids(lake: Lake) -> None:
    lake.ensure_table("create table if not exists landed.bank_txn (token uuid, row_no bigint, tags varchar[])")
    tokens = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(range(16)), None], pa.binary(16)))
    rows = pa.table({"row_no": pa.array([1, 2], pa.int64()), "token": tokens, "tags": [["a"], []]})
    with lake.commit(step="land", business_date=NIGHT) as commit:
        assert commit.insert("landed.bank_txn", rows) == 2
        assert commit.insert("landed.bank_txn", rows.to_reader(max_chunksize=1)) == 2
    first = "00010203-0405-0607-0809-0a0b0c0d0e0f"
    found = lake.query("select distinct token::varchar as token from landed.bank_txn order by 1")
    assert found["token"].to_pylist() == [first, None]


def test_every_new_data_file_has_its_hash_in_the_same_commit_tracked_or_not(lake: Lake) -> None:
    with lake.commit(step="land", business_date=NIGHT) as commit:
        commit.execute(RECORD, {"row": 1})
        (tracked,) = commit.track("quarantine.record", "b1")
        commit.execute("create table marts.person as select 1 as person")
    known = dict(lake.rows("select table_name, batch_id from control.file"))
    assert known == {"quarantine.record": "b1", "marts.person": ""}
    assert {path for _, path in lake.used_files()} == {r[0] for r in lake.rows("select path from control.file")}
    assert tracked.bytes == (lake.data_dir / tracked.path).stat().st_size
    lake.files_intact()


def test_every_data_file_and_its_folder_are_on_the_disk_before_they_become_visible(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[str] = set()
    fsync = os.fsync

    def noting(descriptor: int) -> None:
        with Lake.attach(lake.settings, read_only=True) as reader:
            assert reader.used_files() == [], "nothing is visible yet"
        synced.add(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    with lake.commit(step="marts", business_date=NIGHT) as commit:
        commit.execute("create table marts.month as select range as fen from range(1000)")
        commit.execute(RECORD, {"row": 1})
        commit.track("quarantine.record", "b1")
    files = {lake.data_dir / path for _, path in lake.used_files()}
    assert len(files) == 2
    assert {str(path) for file in files for path in (file, file.parent)} <= synced


def test_a_schema_that_has_changed_is_made_again_and_nothing_is_lost(settings: Settings, lake: Lake) -> None:
    window(lake, "2026-08-19", "2026-08-20")
    lake.close()
    (settings.lake_dir / "schema.sha256").write_text("an older one")
    with Lake.attach(settings) as again:
        assert again.rows("select watermark from control.watermark") == [(NIGHT,)]
        window(again, "2026-08-20", "2026-08-21")


def test_rows_deleted_and_replaced_leave_files_that_are_still_known(lake: Lake) -> None:
    with lake.commit(step="marts", business_date=NIGHT) as commit:
        commit.execute("create table marts.month as select range as fen, range % 2 as half from range(1000)")
    with lake.commit(step="marts", business_date=NIGHT) as commit:
        commit.execute("delete from marts.month where half = 1")
        commit.execute("insert into marts.month select range, 1 from range(10)")
    assert lake.rows("select count(*) from marts.month") == [(510,)]
    assert len(lake.used_files(["marts.month"])) == 3, "two data files and one delete file"
    lake.files_intact()


@pytest.mark.parametrize("fault", ["altered", "cut", "missing"])
def test_C11_a_damaged_data_file_is_named_before_it_is_used(lake: Lake, fault: str) -> None:
    with lake.commit(step="marts", business_date=NIGHT) as commit:
        commit.execute("create table marts.month as select range as fen from range(1000)")
        commit.execute(RECORD, {"row": 1})
    ((_, path),) = lake.used_files(["marts.month"])
    file = lake.data_dir / path
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    if fault == "missing":
        file.unlink()
    else:
        file.write_bytes(content if fault == "altered" else content[:-1])
    with pytest.raises(VerificationFailed, match="not what was written"):
        lake.files_intact(["marts.month"])
    lake.files_intact(["quarantine.record"])
    assert [f.table for f in lake.file_faults()] == ["marts.month"]


@pytest.mark.parametrize(
    ("windows", "watermark"),
    [
        ([("2025-07-19", "2026-08-20")], date(2026, 8, 20)),
        ([("2025-07-19", "2026-08-20"), ("2026-08-20", "2026-08-21")], date(2026, 8, 21)),
        ([("2025-07-19", "2026-08-20"), ("2026-08-21", "2026-08-22")], date(2026, 8, 20)),
        (
            [("2026-08-21", "2026-08-22"), ("2025-07-19", "2026-08-20"), ("2026-08-20", "2026-08-21")],
            date(2026, 8, 22),
        ),
        ([("2026-08-01", "2026-08-09"), ("2026-08-02", "2026-08-03"), ("2026-08-08", "2026-08-10")],
         date(2026, 8, 10)),
    ],
)  # fmt: skip
def test_the_watermark_is_the_end_of_the_unbroken_prefix(
    lake: Lake, windows: list[tuple[str, str]], watermark: date
) -> None:
    for start, end in windows:
        window(lake, start, end)
    window(lake, "2020-01-01", "2020-01-02", feed="other")
    assert lake.rows("select watermark from control.watermark where feed = 'bank_txn'") == [(watermark,)]


def test_files_are_for_their_owner_only_whatever_the_umask(tmp_path: Path) -> None:
    code = (
        "import os, sys; os.umask(0); from pathlib import Path; from datetime import date\n"
        "from pipelines.lake import Lake; from pipelines.settings import Settings\n"
        "with Lake.attach(Settings(home=Path(sys.argv[1]))) as lake:\n"
        "    with lake.commit(step='t', business_date=date(2026, 8, 20)) as c:\n"
        "        c.execute('create table marts.m as select 1 as a')\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "hub")], check=True)
    for path in [tmp_path / "hub", *(tmp_path / "hub").rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_an_engine_error_shows_no_value(lake: Lake) -> None:
    secret = "430102199003078515"
    for sql in (f"select cast('{secret} x' as integer)", f"select nope from range(3) where 'a' = '{secret}'"):
        with pytest.raises(SancheError) as error:
            lake.query(sql)
        assert secret not in str(error.value)
        assert error.value.__cause__ is None
        assert error.value.__suppress_context__ or error.value.__context__ is None
    with pytest.raises(Bug, match="nope"):
        lake.query("select nope from control.batch")


def test_a_reader_cannot_write_and_a_commit_does_not_nest(settings: Settings, lake: Lake) -> None:
    with (
        Lake.attach(settings, read_only=True) as reader,
        pytest.raises(Bug),
        reader.commit(step="x", business_date=NIGHT),
    ):
        pass
    with lake.commit(step="outer", business_date=NIGHT) as commit:
        with pytest.raises(Bug), lake.commit(step="inner", business_date=NIGHT):
            pass
        commit.execute(RECORD, {"row": 1})
    assert lake.rows("select count(*) from quarantine.record") == [(1,)]


def test_a_second_writer_waits_and_then_says_so(settings: Settings, lake: Lake) -> None:
    hasty = settings.model_copy(update={"lock_wait_s": 0.1})
    with lake.commit(step="slow", business_date=NIGHT), Lake.attach(hasty) as other:
        with pytest.raises(CatalogLocked, match=r"waited 0\.1 s"), other.commit(step="x", business_date=NIGHT):
            pass
        assert other.rows("select count(*) from control.batch") == [(0,)], "a reader does not wait"
    with lake.commit(step="next", business_date=NIGHT):
        pass


def test_a_lost_catalog_is_refused_not_replaced_by_an_empty_one(settings: Settings, lake: Lake) -> None:
    window(lake, "2026-08-19", "2026-08-20")
    lake.close()
    (settings.lake_dir / "catalog.sqlite").unlink()
    with pytest.raises(Refused, match="catalog is lost"):
        Lake.attach(settings)


def test_attaching_again_is_fast_and_a_hub_that_was_moved_still_opens(settings: Settings, lake: Lake) -> None:
    window(lake, "2026-08-19", "2026-08-20")
    with lake.commit(step="t", business_date=NIGHT) as commit:
        commit.execute(RECORD, {"row": 1})
    lake.close()
    moved = settings.home.parent / "moved"
    settings.home.rename(moved)
    start = time.perf_counter()
    with Lake.attach(settings.model_copy(update={"home": moved})) as again:
        taken = time.perf_counter() - start
        assert again.rows("select count(*) from quarantine.record") == [(1,)]
        again.files_intact()
    assert taken < 2, "0.14 s on two idle cores"


def test_a_killed_process_spill_folder_is_removed_by_the_next_writer(settings: Settings, lake: Lake) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = settings.tmp_dir / f"spill-{dead.pid}-abc"
    alive = settings.tmp_dir / f"spill-{os.getpid()}-abc"
    left.mkdir()
    alive.mkdir()
    with Lake.attach(settings):
        assert not left.exists()
        assert alive.exists()


def test_a_table_gets_the_columns_of_a_newer_contract(lake: Lake) -> None:
    lake.ensure_table("create table if not exists landed.f (a integer)")
    with lake.commit(step="t", business_date=NIGHT) as commit:
        commit.execute("insert into landed.f values (1)")
    lake.ensure_columns("landed.f", {"a": "INTEGER", "b": "VARCHAR"})
    snapshot = lake.snapshot()
    lake.ensure_columns("landed.f", {"a": "INTEGER", "b": "VARCHAR"})
    assert lake.snapshot() == snapshot
    assert lake.rows("select a, b from landed.f") == [(1, None)]
