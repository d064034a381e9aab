"""A hub of its own for every test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.lake import Lake
from pipelines.settings import Settings

from .sealed_world import Hub


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("empty") / "hub"
    Lake.attach(Settings(home=home)).close()
    return home


@pytest.fixture
def hub(tmp_path: Path, empty_home: Path) -> Iterator[Hub]:
    shutil.copytree(empty_home, tmp_path / "hub")
    settings = Settings(home=tmp_path / "hub", lock_wait_s=10)
    with Lake.attach(settings) as lake:
        yield Hub(settings, lake)
