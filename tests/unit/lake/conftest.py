"""A lake of its own for every test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.lake import Lake
from pipelines.settings import Settings


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("empty") / "hub"
    Lake.attach(Settings(home=home)).close()
    return home


@pytest.fixture
def settings(tmp_path: Path, empty_home: Path) -> Settings:
    shutil.copytree(empty_home, tmp_path / "hub")
    return Settings(home=tmp_path / "hub", lock_wait_s=20)


@pytest.fixture
def lake(settings: Settings) -> Iterator[Lake]:
    with Lake.attach(settings) as attached:
        yield attached
