"""C1, C3: a night that is killed at ten random moments and run again equals an undisturbed one."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines import demo
from pipelines.lake import Lake
from pipelines.launch import environment
from pipelines.ledger import verify
from pipelines.privacy import cms_verifier
from pipelines.settings import Settings
from tests.end_to_end import oracle

KILLS = 10
DAY = demo.FIRST_DATE.isoformat()


def start_night(hub: Settings) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "night", "--date", DAY],
        env=environment(hub),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def finish_night(hub: Settings) -> float:
    started = time.monotonic()
    night = start_night(hub)
    said, _ = night.communicate(timeout=240)
    assert night.returncode == 0, said.decode()
    return time.monotonic() - started


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_C1_killed_at_ten_random_moments_then_rerun_equals_undisturbed(world_dir: Path, tmp_path: Path):
    clean, killed = demo.Stage(tmp_path / "clean"), demo.Stage(tmp_path / "killed")
    for stage in (clean, killed):
        stage.root.mkdir()
        shutil.copytree(world_dir, stage.world)
    demo.prepare(clean)
    with demo.agencies(clean):
        finish_night(clean.settings())
        killed.hub.mkdir()
        for part in ("keys", "secrets", "recipients", "vault/recipients"):  # one fixed keyring for both
            shutil.copytree(clean.hub / part, killed.hub / part)
        shutil.copy2(clean.settings().connections_file, killed.settings().connections_file)
        shutil.copytree(clean.root / "institutions", killed.root / "institutions")
        kill_and_finish(killed.settings())

    assert oracle.differences(oracle.contents(clean.settings()), oracle.contents(killed.settings())) == []
    assert demo.receive_all(clean) == demo.receive_all(killed)
    for institution in demo.INSTITUTIONS:
        ours, theirs = (stage.institution(institution) / "received" for stage in (clean, killed))
        assert oracle.extracts(ours)
        assert oracle.differences(oracle.extracts(ours), oracle.extracts(theirs)) == []
    with Lake.attach(killed.settings(), read_only=True) as lake:
        report = verify(lake, killed.settings(), verify_signature=cms_verifier(killed.settings()))
    assert [finding for finding in report.findings if not finding.ok] == []


def kill_and_finish(hub: Settings) -> None:
    """Ten nights killed, the whole process group or only its leader; then one that may finish."""
    moments = random.Random(20260819)
    interrupted = 0
    for number in range(KILLS):
        night = start_night(hub)
        time.sleep(moments.uniform(0.5, 6.0))
        if night.poll() is None:
            interrupted += 1
            if number % 3 == 2:
                night.kill()  # its steps are orphans now, and may still be at work when the next night starts
            else:
                os.killpg(night.pid, signal.SIGKILL)
        night.wait()
        assert night.stdout is not None
        night.stdout.close()
    assert interrupted >= KILLS // 2, "the nights ended before they could be killed: this proves too little"
    finish_night(hub)
