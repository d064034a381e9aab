from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.lake import Lake
from pipelines.privacy import open_keyring
from pipelines.settings import Settings
from tests.unit.extracts.world import World, make_hub


@pytest.fixture(scope="session")
def ready_hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys, institutions and an empty lake, made once; each test gets a copy."""
    folder = tmp_path_factory.mktemp("ready")
    make_hub(folder)
    return folder


@pytest.fixture
def world(ready_hub: Path, tmp_path: Path) -> Iterator[World]:
    shutil.copytree(ready_hub, tmp_path, dirs_exist_ok=True)
    hub = Settings(home=tmp_path / "hub", threads=1, memory_limit="300MB")
    homes = {name: tmp_path / name for name in ("bank_a", "insurer_b")}
    with Lake.attach(hub) as lake:
        yield World(hub, homes, lake, open_keyring(hub, "release"))
