"""A generated world on disk, and how tests and servers ask it.

Promises: `world.json` names seed, dates and rows per feed, and no wall time; everything else is Parquet.
Refuses:  nothing.
Not here: making one (generate).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


@dataclass(frozen=True)
class World:
    """path: the folder. feeds/<feed>.parquet · labels.parquet · truth/{persons,expected,needles}.parquet."""

    path: Path
    seed: int
    first_date: date
    nights: int
    rows: dict[str, int]

    @classmethod
    def open(cls, path: Path) -> World:
        told = json.loads((path / "world.json").read_text(encoding="utf-8"))
        return cls(path, told["seed"], date.fromisoformat(told["first_date"]), told["nights"], told["rows"])

    def feeds(self) -> tuple[str, ...]:
        """Names of the feeds that the world has."""
        return tuple(sorted(self.rows))

    def feed(self, name: str) -> pa.Table:
        """All versions of a feed's records, raw."""
        return pq.read_table(self.path / "feeds" / f"{name}.parquet")

    def labels(self) -> pa.Table:
        """One row per faulty record: fault_kind, feed, business_date, key (JSON), expected_fate, expected_rule."""
        return pq.read_table(self.path / "labels.parquet")

    def persons(self) -> pa.Table:
        """One row per person with every raw identifier; `needles`: strings that may lie nowhere in clear."""
        return pq.read_table(self.path / "truth" / "persons.parquet")

    def needles(self) -> pa.Table:
        """Every raw identifier that any record holds: kind (citizen_id, mobile, card, plate, name), value."""
        return pq.read_table(self.path / "truth" / "needles.parquet")

    def expected(self) -> pa.Table:
        """One row per person, product and business date whose outcome is foretold."""
        return pq.read_table(self.path / "truth" / "expected.parquet")
