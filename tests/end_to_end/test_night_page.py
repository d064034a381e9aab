"""The night's page, looked at in a real browser: no console error, no request, every figure present."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pipelines.report import figures_expected
from tests.end_to_end.conftest import Shown

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-quic", "--host-resolver-rules=MAP * ~NOTFOUND",
]  # fmt: skip


def browse(page: Path, profile: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    if CHROMIUM is None:
        pytest.skip("no browser: chromium is not installed (as root on Debian, `make test` installs it)")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "--enable-logging=stderr", *flags, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)


@pytest.fixture
def page(shown: Shown) -> Path:
    return (shown.stage.settings().report_dir / f"{shown.stage.dates()[-1]}.html").resolve()


def test_every_figure_is_there_and_nothing_goes_wrong(page: Path, tmp_path: Path):
    seen = browse(page, tmp_path / "profile", "--dump-dom")
    assert not re.findall(r".*CONSOLE.*", seen.stderr)
    for figure in figures_expected():
        assert f'data-figure="{figure}"' in seen.stdout, figure
    assert seen.stdout.count("<svg") >= 3


def test_it_is_one_file_that_asks_nobody(page: Path):
    text = page.read_text()
    assert not re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?:https?:)?//""", text)
    assert "<script" not in text


def test_it_can_be_looked_at(page: Path, tmp_path: Path):
    picture = tmp_path / "page.png"
    browse(page, tmp_path / "profile", f"--screenshot={picture}", "--window-size=1240,3200")
    assert picture.stat().st_size > 50_000  # a blank page of this size is about 10 kB
