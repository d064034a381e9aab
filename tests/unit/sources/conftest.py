"""The small province's live agencies, once per run."""

from __future__ import annotations

from pathlib import Path

import pytest
import small_world

from pipelines.province.servers import serve
from pipelines.sources import http_api, sftp_drop


@pytest.fixture(scope="session")
def agencies(tmp_path_factory: pytest.TempPathFactory):
    folder: Path = tmp_path_factory.mktemp("province")
    with serve(small_world.write(folder / "out"), run_dir=folder / "run", token_life_s=60) as running:
        yield running


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_api, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(http_api, "MAX_WAIT_S", 0.05)
    monkeypatch.setattr(sftp_drop, "FIRST_WAIT_S", 0.01)


@pytest.fixture
def drop(agencies):
    """The folder that the banks serve; put back as it was afterwards."""
    folder = Path(agencies._children["banks"].config["run_dir"]) / "banks" / "outgoing"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    yield folder
    for path in folder.iterdir():
        path.unlink()
    for name, content in before.items():
        (folder / name).write_bytes(content)
