"""One world of forty persons for the whole room, made once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import duckdb
import pytest

from pipelines.province import World, generate

FIRST = date(2026, 8, 19)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return generate(seed=20260819, persons=40, first_date=FIRST, nights=2, out=tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def books(world: World) -> duckdb.DuckDBPyConnection:
    """Every feed as a view of its name, and `label` and `expected`."""
    con = duckdb.connect()
    con.execute("set timezone = 'Asia/Shanghai'; set threads = 2")
    for feed in world.feeds():
        con.execute(f"create view {feed} as from '{world.path}/feeds/{feed}.parquet'")
    con.execute(f"create view label as from '{world.path}/labels.parquet'")
    con.execute(f"create view expected as from '{world.path}/truth/expected.parquet'")
    con.execute(f"create view person as from '{world.path}/truth/persons.parquet'")
    return con


@pytest.fixture
def small_world(tmp_path: Path) -> Callable[..., World]:
    """Makes worlds of six persons and one further night, each in a folder of its own."""

    def make(name: str, *, seed: int = 1) -> World:
        return generate(seed=seed, persons=6, first_date=FIRST, nights=1, out=tmp_path / name)

    return make
