"""One step's writes: a transaction under the writer's lock.

Promises: all of a step's rows, ledger entries and file hashes become visible together, or not at all; every new
          data file is fsynced and hashed first; what `after_commit` was given runs after COMMIT, under the lock.
Refuses:  values in errors (door.py).
Not here: taking the lock, BEGIN and COMMIT (lake.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import PurePosixPath
from typing import Any

import duckdb
import pyarrow as pa

from pipelines.lake import files
from pipelines.lake.door import door
from pipelines.settings import Settings

# control.file rows per insert: below the inlining limit, so that hashes leave no file of their own
FILE_ROWS = 100

Data = pa.Table | pa.RecordBatch | pa.RecordBatchReader


class Commit:
    """What `with lake.commit(...) as c` gives. snapshot: the lake's snapshot number, once committed."""

    def __init__(
        self, con: duckdb.DuckDBPyConnection, *, step: str, business_date: date | None, settings: Settings
    ) -> None:
        self.con = con
        self.step = step
        self.doing = f"{step} {business_date or ''}".strip()
        self.business_date = business_date
        self.settings = settings
        self.snapshot: int | None = None
        self._data_dir = settings.lake_dir.absolute() / "data"
        self._after: dict[str, Callable[[], None]] = {}

    def execute(self, sql: str, parameters: Any = None) -> duckdb.DuckDBPyConnection:
        """Run one of our statements; fetch from what is returned."""
        with door(self.doing):
            return self.con.execute(sql, parameters)

    def insert(self, table: str, data: Data, columns: Sequence[str] | None = None) -> int:
        """Append Arrow rows by column name; returns how many. 16-byte columns go in as arrow.uuid."""
        names = list(columns or data.schema.names)
        listed = ", ".join(f'"{name}"' for name in names)
        with door(self.doing):
            self.con.register("commit_insert", data)
            try:
                sql = f"insert into {table} ({listed}) select {listed} from commit_insert"
                answer = self.con.execute(sql).fetchone()
            finally:
                self.con.unregister("commit_insert")
        return int(answer[0]) if answer else 0

    def insert_from(self, incoming: Data, sql: str, parameters: Any = None) -> int:
        """Append what our `insert into … select … from incoming` makes of Arrow rows; returns how many."""
        with door(self.doing):
            self.con.register("incoming", incoming)
            try:
                answer = self.con.execute(sql, parameters).fetchone()
            finally:
                self.con.unregister("incoming")
        return int(answer[0]) if answer else 0

    def after_commit(self, act: Callable[[], None], *, key: str = "") -> bool:
        """Have something done once the rows are visible (the ledger's appended files).

        key: what is asked for twice under one key is done once. Returns False the second time.
        """
        key = key or f"#{len(self._after)}"
        if key in self._after:
            return False
        self._after[key] = act
        return True

    def track(self, table: str, batch_id: str = "") -> list[files.DataFile]:
        """fsync and hash this transaction's new files of one table, under a batch's name.

        Whatever a step does not track is tracked at COMMIT, without a batch.
        """
        return self._track(table.replace(".", "/"), batch_id)

    def _track(self, below: str, batch_id: str) -> list[files.DataFile]:
        # Under the lock only this transaction writes files; a crashed one's orphans get a hash too, which is
        # harmless: no table uses them.
        known = self.execute("select path from control.file where starts_with(path, $below)", {"below": below})
        fresh = set(files.on_disk(self._data_dir, below)) - {row[0] for row in known.fetchall()}
        if fresh:
            # A committed file that has lost its hash stays without: hashed now, a damaged one would pass.
            committed = {PurePosixPath(row[0]).name for row in self.execute(files.COMMITTED_NAMES).fetchall()}
            fresh = {path for path in fresh if PurePosixPath(path).name not in committed}
        made = files.make_durable(self._data_dir, fresh)
        for start in range(0, len(made), FILE_ROWS):
            some = made[start : start + FILE_ROWS]
            rows = [[f.path, f.sha256, f.bytes, files.table_of(f.path), batch_id] for f in some]
            marks = ", ".join("(?, ?, ?, ?, ?)" for _ in rows)
            self.execute(f"insert into control.file values {marks}", [value for row in rows for value in row])
        return made

    def finish(self) -> None:
        """Before COMMIT: nothing that this transaction wrote may be lost, or go unhashed."""
        self._track("", "")

    def run_after(self) -> None:
        for act in self._after.values():
            act()
