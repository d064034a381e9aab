"""C1, C3: a landing killed in its commit, and killed again while it recovers, ends as if nothing had happened."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

from pipelines.lake import Lake
from pipelines.ledger import verify
from pipelines.settings import Settings

from .sealed_world import FEED, Agency, Hub, Line

LANDING = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from landing.sealed_world import Hub
from landing.test_killed_landing import AGENCY
from pipelines.lake import Lake
from pipelines.ledger.appended import AppendedFile
from pipelines.settings import Settings

def die():
    os.kill(os.getpid(), signal.SIGKILL)

fsync, left = os.fsync, int(sys.argv[3])
def counting_fsync(descriptor):
    global left
    left -= 1
    if left == 0:
        die()
    fsync(descriptor)
os.fsync = counting_fsync
if sys.argv[4] == "after commit":
    AppendedFile.catch_up = lambda self, lines: die()

settings = Settings(home=Path(sys.argv[2]))
with Lake.attach(settings) as lake:
    print(Hub(settings, lake).land(AGENCY).fate)
"""
AGENCY = Agency([[Line("a1"), Line("a2", fen="x"), Line("a1")], [Line("b1", fen="-5"), Line("b2", reverses="a1")]])
SAME_EVERYWHERE = (
    f"landed.{FEED}",
    "quarantine.record",
    "quarantine.duplicate",
    "control.batch",
    "control.window",
)


def landing(home: Path, *, fsyncs: int = 0, at: str = "") -> int:
    tests = str(Path(__file__).parent.parent)
    return subprocess.run(
        [sys.executable, "-c", LANDING, tests, str(home), str(fsyncs), at], check=False
    ).returncode


def contents(home: Path) -> dict[str, object]:
    with Lake.attach(Settings(home=home), read_only=True) as lake:
        report = verify(lake, lake.settings)
        assert {finding.check for finding in report.broken} <= {"vault objects"}, report.broken
        tables = {name: sorted(map(str, lake.rows(f"from {name}"))) for name in SAME_EVERYWHERE}
        return tables | {
            "ledger": lake.rows("select stream, seq, kind, business_date from ledger.entry order by all")
        }


def test_C1_C3_a_landing_killed_again_and_again_ends_as_one_that_was_left_alone(hub: Hub, tmp_path: Path) -> None:
    hub.pulled(AGENCY)
    hub.lake.close()
    clean = tmp_path / "clean"
    shutil.copytree(hub.settings.home, clean)
    assert landing(clean) == 0
    home = hub.settings.home
    for fsyncs, at in ((2, ""), (0, "after commit")):
        assert landing(home, fsyncs=fsyncs, at=at) == -signal.SIGKILL
    assert landing(home) == 0
    assert contents(home) == contents(clean)
