"""A small demo that runs once for all end-to-end tests: first load, then two nights, with the real DAGs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines import demo
from pipelines.lake import Lake
from pipelines.receipt import Receipt

PERSONS = 48


@dataclass
class Shown:
    """A demo that has run: its folders, the receipts of every step, the rows each institution opened."""

    stage: demo.Stage
    receipts: list[Receipt]
    received: dict[str, int]

    def query(self, sql: str, params: dict[str, object] | None = None) -> list[dict[str, object]]:
        with Lake.attach(self.stage.settings(), read_only=True) as lake:
            rows: list[dict[str, object]] = lake.query(sql, params).to_pylist()
        return rows


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """Two nights after a first load, as `make demo` runs them, for fewer persons."""
    stage = demo.Stage(tmp_path_factory.mktemp("demo"))
    demo.prepare(stage, persons=PERSONS)
    with demo.agencies(stage):
        demo.migrate_airflow(stage)
        receipts = demo.run_dags(stage, stage.dates(), show_progress=False)
    yield Shown(stage, receipts, demo.receive_all(stage))


@pytest.fixture(scope="session")
def world_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A very small province for tests that run nights of their own."""
    from pipelines.province import generate

    out = tmp_path_factory.mktemp("world")
    generate(seed=7, persons=40, first_date=demo.FIRST_DATE, nights=1, out=out)
    return out
