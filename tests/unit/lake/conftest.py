"""A lake of its own for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.lake import Lake
from pipelines.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "hub", lock_wait_s=20)


@pytest.fixture
def lake(settings: Settings) -> Iterator[Lake]:
    with Lake.attach(settings) as attached:
        yield attached
