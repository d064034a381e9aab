"""C1, C9: writers that are killed or run side by side leave the old state or the new, never a part."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from pipelines.lake import Lake
from pipelines.ledger import verify
from pipelines.settings import Settings

WRITER = """
import os, signal, sys
from datetime import date
from pathlib import Path
from pipelines.lake import Lake, commit as commit_module, files
from pipelines.ledger import append
from pipelines.ledger.appended import AppendedFile
from pipelines.settings import Settings

home, name, commits, die_at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
night = date(2026, 8, 20)
counted = 0

def die(point):
    if point == die_at:
        os.kill(os.getpid(), signal.SIGKILL)

fsync = os.fsync
def counting_fsync(descriptor):
    global counted
    counted += 1
    die(f"fsync {counted}")
    fsync(descriptor)
os.fsync = counting_fsync

catch_up = AppendedFile.catch_up
def dying_catch_up(self, lines):
    die("between commit and file")
    catch_up(self, lines)
AppendedFile.catch_up = dying_catch_up

with Lake.attach(Settings(home=home, lock_wait_s=60)) as lake:
    done = lake.rows("select count(*) from control.build where step = ?", [name])[0][0]
    for number in range(done, commits):
        with lake.commit(step=name, business_date=night) as commit:
            die("begun")
            commit.execute("insert into quarantine.record select ?, 'f', date '2026-08-20', 'a', range, null, "
                           "['r'], null from range(50)", [f"{name}-{number}"])
            die("inserted")
            commit.track("quarantine.record", f"{name}-{number}")
            die("tracked")
            commit.execute("insert into control.build values (?, ?, ?, null)", [name, night, str(number)])
            append(commit, stream=f"feed.{name}", kind="landed", business_date=night, body={"number": number})
            die("appended")
        die("committed")
"""


def writer(home: Path, name: str, *, commits: int, die_at: str = "") -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(home), name, str(commits), die_at])


def check_whole(home: Path, commits: dict[str, int]) -> None:
    settings = Settings(home=home)
    with Lake.attach(settings, read_only=True) as lake:
        rows = dict(lake.rows("select batch_id, count(*) from quarantine.record group by 1"))
        assert rows == {f"{name}-{n}": 50 for name, count in commits.items() for n in range(count)}
        for name, count in commits.items():
            entries = lake.rows("select seq from ledger.entry where stream = ? order by 1", [f"feed.{name}"])
            assert entries == [(n + 1,) for n in range(count)]
            if count:
                lines = (settings.ledger_dir / f"feed.{name}.jsonl").read_bytes().splitlines()
                assert len(lines) == count
        report = verify(lake, settings)
        assert report.ok, report.broken


def test_C1_a_writer_killed_again_and_again_leaves_whole_commits(tmp_path: Path) -> None:
    Lake.attach(Settings(home=tmp_path)).close()
    # fsync 1: a data file; 2 to 4: its folders; the ledger's file: after COMMIT
    for point in ("fsync 1", "appended", "between commit and file"):
        assert writer(tmp_path, "w", commits=3, die_at=point).wait() == -signal.SIGKILL
        with Lake.attach(Settings(home=tmp_path)) as lake:
            rows = lake.rows("select count(*) from quarantine.record")[0][0]
            entries = lake.rows("select count(*) from ledger.entry")[0][0]
            assert rows == 50 * entries, f"{point}: rows and their ledger entry come together"
            report = verify(lake, lake.settings)
            assert report.ok, (point, report.broken)
    assert writer(tmp_path, "w", commits=3).wait() == 0
    check_whole(tmp_path, {"w": 3})


def test_C9_four_writers_side_by_side_all_succeed_while_a_reader_holds_the_lake_open(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    Lake.attach(settings).close()
    with Lake.attach(settings, read_only=True) as reader:
        reader.con.execute("begin")
        assert reader.rows("select count(*) from quarantine.record") == [(0,)]
        writers = {name: writer(tmp_path, name, commits=3) for name in ("a", "b", "c", "d")}
        assert [process.wait() for process in writers.values()] == [0, 0, 0, 0]
        assert reader.rows("select count(*) from quarantine.record") == [(0,)], "one snapshot, to the end"
        reader.con.execute("rollback")
        assert reader.rows("select count(*) from quarantine.record") == [(600,)]
    check_whole(tmp_path, dict.fromkeys("abcd", 3))


def test_many_processes_may_make_the_lake_at_once(tmp_path: Path) -> None:
    writers = [writer(tmp_path / "new", name, commits=1) for name in ("a", "b")]
    assert [process.wait() for process in writers] == [0, 0]
    check_whole(tmp_path / "new", dict.fromkeys("ab", 1))
