"""An agency's books: the province's Parquet files, as each server reads them.

Promises: a record's order is (updated_at, row in the file); a record whose updated_at is no timestamp, or lies
          on another day than the one on which the agency shows it (a clock that runs ahead), is placed at noon
          of the day on which it is shown, so that it is served once and not lost.
Refuses:  to serve the province's own columns (when a record becomes visible, a line to write verbatim).
Not here: protocols.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import duckdb

OWN_COLUMNS = frozenset({"visible_on", "raw_line_override"})
MONEY_FIELD = {
    "platform_order": "customer_paid_fen",
    "platform_earning_line": "amount_fen",
    "platform_settlement": "net_fen",
    "bank_txn": "amount_fen",
    "bank_obligation": "outstanding_fen",
}


@dataclass(frozen=True, slots=True)
class Book:
    """One feed's file and its columns (name -> DuckDB type), in file order."""

    feed: str
    path: Path
    columns: dict[str, str]

    @property
    def published(self) -> list[str]:
        return [name for name in self.columns if name not in OWN_COLUMNS]

    @property
    def source(self) -> str:
        return f"read_parquet('{str(self.path).replace(chr(39), chr(39) * 2)}', file_row_number => true)"

    @property
    def cut_at(self) -> str:
        """SQL: the instant by which windows are cut, TIMESTAMPTZ: updated_at, or noon of visible_on."""
        stamp = "try_cast(updated_at as timestamptz)"
        if "visible_on" not in self.columns:
            return stamp
        noon = "(visible_on::date + interval 12 hour)::timestamptz"
        return f"case when {stamp}::date = visible_on::date then {stamp} else coalesce({noon}, {stamp}) end"

    def rendered(self, name: str) -> str:
        """SQL: the column as a source would write it: ISO-8601 with +08:00 for instants."""
        kind = self.columns[name]
        quoted = f'"{name}"'
        if kind in ("TIMESTAMP WITH TIME ZONE", "TIMESTAMP"):
            # A cast says '2026-08-19 09:00:00.5+08' (the clock is Shanghai's); strftime is twice as slow.
            return f"replace({quoted}::timestamptz::varchar, ' ', 'T') || ':00'"
        return quoted


def connect(database: Path | None = None) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection whose clock on the wall is Shanghai's."""
    con = duckdb.connect(str(database) if database else ":memory:")
    con.execute("set timezone = 'Asia/Shanghai'; set threads = 2; set memory_limit = '600MB'")
    return con


def open_book(world_dir: Path, feed: str) -> Book | None:
    """The feed's book, or None if the province has no such feed."""
    path = world_dir / "feeds" / f"{feed}.parquet"
    if not path.is_file():
        return None
    with connect() as con:
        described = con.execute("describe select * from read_parquet($path)", {"path": str(path)}).fetchall()
    return Book(feed, path, {name: kind for name, kind, *_ in described})


def business_dates(world_dir: Path) -> list[date]:
    """Every date on which the province's agencies deliver, first load first."""
    world = json.loads((world_dir / "world.json").read_text())
    first = date.fromisoformat(world["first_date"])
    return [first + timedelta(days=n) for n in range(int(world["nights"]) + 1)]
