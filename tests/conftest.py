"""What every test may use: the repository's root, a hub in a folder of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines.settings import Settings

os.umask(0o077)


@pytest.fixture
def hub(tmp_path: Path) -> Settings:
    """Settings of an empty hub below a temporary folder."""
    return Settings(home=tmp_path / "hub", threads=2, memory_limit="500MB")
