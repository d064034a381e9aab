from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.lake import Lake
from pipelines.privacy import Keyring, open_keyring, pseudonym_key
from pipelines.settings import Settings
from tests.unit.extracts.world import BANK, INSURER, World, make_hub


@pytest.fixture(scope="session")
def ready_hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys, institutions and an empty lake, made once; each test gets a copy."""
    folder = tmp_path_factory.mktemp("ready")
    make_hub(folder)
    return folder


@pytest.fixture(scope="session")
def keyring(ready_hub: Path) -> Keyring:
    """Opened once: unlocking it takes a deliberate quarter of a second."""
    ring = open_keyring(Settings(home=ready_hub / "hub"), "release")
    for agreement in (BANK, INSURER):
        pseudonym_key(ring, agreement.pseudonym_space)
    return ring


@pytest.fixture
def world(ready_hub: Path, keyring: Keyring, tmp_path: Path) -> Iterator[World]:
    shutil.copytree(ready_hub, tmp_path, dirs_exist_ok=True)
    hub = Settings(home=tmp_path / "hub", threads=1, memory_limit="300MB")
    homes = {name: tmp_path / name for name in ("bank_a", "insurer_b")}
    with Lake.attach(hub) as lake:
        yield World(hub, homes, lake, keyring)
