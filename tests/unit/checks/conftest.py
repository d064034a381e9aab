"""A bench per test, and Great Expectations loaded once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sealed_rows import BUSINESS_DATE, ORDER, WINDOW_END, Row, sealed

from pipelines.checks import Bench
from pipelines.contracts import Contract, load_all
from pipelines.settings import Settings

CONTRACTS = load_all(Settings())


@pytest.fixture(scope="session")
def contracts() -> dict[str, Contract]:
    return CONTRACTS


@pytest.fixture
def hub(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "hub", memory_limit="400MB", threads=2)


BenchOf = Callable[..., Bench]


@pytest.fixture
def bench_of(hub: Settings) -> Iterator[BenchOf]:
    """bench_of(rows, feed=…, good=…, known=…): loaded, marked and scanned."""
    with ExitStack() as open_benches:

        def make(
            rows: Iterable[Row],
            feed: str = "platform_order",
            good: Row = ORDER,
            known: Any = None,
            referenced: Any = None,
            **more: Any,
        ) -> Bench:
            contract = CONTRACTS[feed]
            bench = open_benches.enter_context(Bench(contract, hub, WINDOW_END, BUSINESS_DATE, **more))
            bench.load(sealed(contract, rows, good))
            if known is not None:
                bench.mark_known(known)
            for field in contract.reference_fields:
                bench.mark_reference(field.name, referenced)
            bench.scan()
            return bench

        yield make
