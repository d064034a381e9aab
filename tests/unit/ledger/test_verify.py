"""C11, C12, X18: whatever is changed, cut, lost or reordered, `verify` says what and where."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipelines.lake import Lake
from pipelines.ledger import VerifyReport, verify
from pipelines.settings import Settings

from .conftest import NIGHTS, check_signature

Damage = Callable[[Settings, Lake], object]


def verified(lake: Lake) -> VerifyReport:
    return verify(lake, lake.settings, verify_signature=check_signature)


def change(lake: Lake, sql: str) -> None:
    """What an intruder with the lake's own rights may do."""
    with lake.commit(step="intruder", business_date=NIGHTS[0]) as commit:
        commit.execute(sql)


@contextmanager
def changed(whole: Lake, *statements: str) -> Iterator[None]:
    whole.con.execute("begin")
    try:
        for sql in statements:
            whole.con.execute(sql)
        yield
    finally:
        whole.con.execute("rollback")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def only(folder: Path, pattern: str) -> Path:
    return sorted(folder.rglob(pattern))[0]


def data_file(settings: Settings, lake: Lake, table: str) -> Path:
    return lake.data_dir / lake.used_files([table])[0][1]


def cut_last_lines(path: Path, lines: int) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-lines]))


def test_two_whole_nights_hold(whole: Lake) -> None:
    report = verified(whole)
    assert report.ok, report.broken
    assert report.unprovable == []
    checks = {finding.check for finding in report.findings}
    assert checks == {
        "chain", "appended file", "head", "head signature", "data files", "vault objects", "package",
        "invariant 1", "invariant 2", "invariant 3", "ledger entry", "invariant 5", "invariant 7",
    }  # fmt: skip


def test_one_night_can_be_asked_for(whole: Lake) -> None:
    report = verify(whole, whole.settings, business_date=NIGHTS[1], verify_signature=check_signature)
    assert [f.subject for f in report.findings if f.check == "invariant 1"] == ["bank_txn-20260820"]
    assert [f.subject for f in report.findings if f.check == "package"] == ["bank_a_c1-000002"]


def test_without_a_certificate_signatures_stay_unproven(whole: Lake) -> None:
    report = verify(whole, whole.settings)
    assert report.ok
    assert {finding.check for finding in report.unprovable} == {"head signature"}


LANDED_1 = "where stream = 'feed.bank_txn' and seq = 2"
FILES: dict[str, tuple[str, Damage]] = {
    "a bit in landed data": ("data files", lambda s, k: flip(data_file(s, k, "landed.bank_txn"))),
    "a bit in quarantine": ("data files", lambda s, k: flip(data_file(s, k, "quarantine.record"))),
    "a bit in extract rows": ("data files", lambda s, k: flip(data_file(s, k, "control.extract_row"))),
    "a data file gone": ("data files", lambda s, k: data_file(s, k, "landed.bank_txn").unlink()),
    "a data file never hashed": ("data files", lambda s, k: change(k, "delete from control.file")),
    "a bit in the vault": ("vault objects", lambda s, k: flip(only(s.vault_dir, "*.age"))),
    "a vault object gone": ("vault objects", lambda s, k: only(s.vault_dir, "*.age").unlink()),
    "a bit in a package": ("package", lambda s, k: flip(only(s.outbox_dir, "part-0.cms"))),
    "a package part gone": ("package", lambda s, k: only(s.outbox_dir, "part-0.cms").unlink()),
    "a bit in a manifest": ("package", lambda s, k: flip(only(s.outbox_dir, "manifest.json"))),
    "a bit in a manifest's signature": ("package", lambda s, k: flip(only(s.outbox_dir, "*.p7s"))),
    "a manifest's signature gone": ("package", lambda s, k: only(s.outbox_dir, "*.p7s").unlink()),
    "a file that no manifest names": (
        "package", lambda s, k: only(s.outbox_dir, "manifest.json").with_name("more.cms").write_bytes(b""),
    ),
    "a manifest gone": ("package", lambda s, k: only(s.outbox_dir, "manifest.json").unlink()),
    "a bit in the ledger's file": ("appended file", lambda s, k: flip(s.ledger_dir / "feed.bank_txn.jsonl")),
    "lines cut behind a head": (
        "appended file", lambda s, k: cut_last_lines(s.ledger_dir / "feed.bank_txn.jsonl", 1),
    ),
    "the ledger's file gone": ("appended file", lambda s, k: (s.ledger_dir / "feed.bank_txn.jsonl").unlink()),
    "a bit in the heads' file": ("appended file", lambda s, k: flip(s.ledger_dir / "head.jsonl")),
    "the heads' file gone": ("appended file", lambda s, k: (s.ledger_dir / "head.jsonl").unlink()),
    "a stream of which only the file is left": (
        "chain", lambda s, k: change(k, "delete from ledger.entry where stream = 'feed.bank_txn'"),
    ),
}  # fmt: skip
TABLES: dict[str, tuple[str, str]] = {
    "an entry edited": ("chain", f"update ledger.entry set body = '{{}}' {LANDED_1}"),
    "an entry's date edited": ("chain", f"update ledger.entry set business_date = '2020-01-01' {LANDED_1}"),
    "an entry deleted": ("chain", f"delete from ledger.entry {LANDED_1}"),
    "the last entry deleted": ("chain", "delete from ledger.entry where stream = 'feed.bank_txn' and seq = 4"),
    "two entries exchanged": (
        "chain",
        "update ledger.entry set seq = 3 - seq where stream = 'feed.bank_txn' and seq < 3",
    ),
    "an entry doubled": ("chain", f"insert into ledger.entry from ledger.entry {LANDED_1}"),
    "a head's root": ("head", "update ledger.head set root = replace(root, 'a', 'b') where head_no = 1"),
    "a head deleted": ("head", "delete from ledger.head where head_no = 1"),
    "a signature": ("head signature", "update ledger.head set signature = 'x'::blob where head_no = 2"),
    "a row landed twice": ("invariant 2", "insert into landed.bank_txn from landed.bank_txn limit 1"),
    "a row lost": ("invariant 1", "delete from landed.bank_txn where row_no = 5 and object_address = 'address19'"),
    "a row moved": ("invariant 2", "update landed.bank_txn set object_address = 'nowhere' where row_no = 3"),
    "an amount": ("invariant 3", "update landed.bank_txn set amount_fen = 99 where row_no = 5"),
    "two amounts": (
        "invariant 3",
        "update quarantine.record set money_fen = 8 where row_no = 12 and object_address = 'address19'",
    ),
    "a reason": ("invariant 2", "update quarantine.record set reasons = [] where row_no = 12"),
    "an original": ("invariant 2", "update quarantine.duplicate set original_row_no = 99"),
    "a count": ("invariant 1", "update control.batch set landed = landed + 1, physical = physical + 1"),
    "what was declared": ("ledger entry", "update control.batch set fen_declared = fen_declared + 1"),
    "a data file's hash": ("ledger entry", "update control.file set sha256 = repeat('0', 64)"),
    "a batch forgotten": ("invariant 7", "delete from control.batch where business_date = '2026-08-19'"),
    "a window forgotten": ("invariant 7", "delete from control.window where business_date = '2026-08-20'"),
    "a window widened": ("invariant 7", "update control.window set to_date = '2026-09-01'"),
    "a pull forgotten": ("fate", "delete from control.pulled where business_date = '2026-08-20'"),
    "rows sent": ("invariant 5", "update control.extract set rows = 3, in_scope = 4"),
    "a person sent": ("invariant 5", "update control.extract_row set withheld_reason = null"),
    "a reason to withhold": ("invariant 5", "update control.extract set withheld = '{\"other\": 1}'"),
    "a package's number": ("invariant 5", "update control.extract set sequence = 3 where sequence = 2"),
    "the package before": ("invariant 5", "update control.extract set previous_manifest_sha256 = null"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_C11_a_damaged_file_is_named(settings: Settings, lake: Lake, name: str) -> None:
    check, damage = FILES[name]
    damage(settings, lake)
    report = verified(lake)
    assert not report.ok
    assert check in {finding.check for finding in report.broken}, report.broken
    assert any(finding.ok for finding in report.findings), "one fault does not hide the rest"


@pytest.mark.parametrize("name", TABLES)
def test_X18_a_changed_row_is_named(whole: Lake, name: str) -> None:
    check, sql = TABLES[name]
    with changed(whole, sql):
        report = verified(whole)
    assert check in {finding.check for finding in report.broken}, report.broken


def test_C12_lines_that_no_head_covers_may_lag_behind_the_table(settings: Settings, lake: Lake) -> None:
    cut_last_lines(settings.ledger_dir / "agreement.bank_a_c1.jsonl", 1)
    report = verified(lake)
    assert report.ok, report.broken
    assert any("behind the table" in finding.detail for finding in report.findings)


def test_C1_a_package_that_was_committed_and_not_yet_renamed_is_whole(settings: Settings, lake: Lake) -> None:
    published = settings.outbox_dir / "bank_a" / "bank_a_c1-000002"
    staged = settings.outbox_dir / ".staging" / published.name
    staged.parent.mkdir()
    published.rename(staged)
    report = verified(lake)
    assert report.ok, report.broken
    assert any("not yet renamed" in finding.detail for finding in report.findings)
    flip(staged / "part-0.cms")
    assert [finding.check for finding in verified(lake).broken] == ["package"]


def test_money_that_could_not_be_read_is_unprovable_and_not_passed(whole: Lake) -> None:
    unread = "update control.batch set fen_provable = false where business_date = '2026-08-20'"
    with changed(whole, unread):
        report = verified(whole)
    assert [(f.check, f.subject) for f in report.unprovable] == [("invariant 3", "bank_txn-20260820")]


def test_a_batch_without_a_fate_and_a_hole_between_windows_are_unproven(whole: Lake) -> None:
    pulled = (
        "insert into control.pulled select 'later', feed, '2026-08-25', '2026-08-25', '2026-08-26', 0, address, "
        "ciphertext_sha256, bytes, null, null, '' from control.pulled limit 1"
    )
    landed = (
        "insert into control.window values ('bank_txn', '2026-08-25', '2026-08-26', 'x', '2026-08-25', 'landed')"
    )
    with changed(whole, pulled):
        assert ("fate", "later") in {(f.check, f.subject) for f in verified(whole).unprovable}
    with changed(whole, pulled, landed):
        assert ("invariant 7", "bank_txn") in {(f.check, f.subject) for f in verified(whole).unprovable}


def test_a_verification_shows_no_value_of_a_record(whole: Lake) -> None:
    number = "430102199003078515"
    with changed(whole, f"update ledger.entry set body = '{number}' where seq = 1"):
        report = verified(whole)
    assert not report.ok
    assert not any(number in finding.detail for finding in report.findings)
