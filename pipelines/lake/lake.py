"""Attach the lake; hold its one writer lock; say whether its files are what was written.

Promises: readers never wait for writers and never block them; writers queue on one file lock, held from before
          BEGIN until after COMMIT; tables of schema.sql are there; files are 0600 and folders 0700.
Refuses:  to wait longer than settings.lock_wait_s (CatalogLocked); to start afresh where a catalog was lost.
Not here: what a commit may do (commit.py); backup and restore of the catalog (upkeep).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import filelock
import pyarrow as pa

from pipelines.errors import Bug, CatalogLocked, Refused, VerificationFailed
from pipelines.lake import engine, files
from pipelines.lake.commit import Commit
from pipelines.lake.door import door
from pipelines.settings import Settings

SCHEMA_SQL = Path(__file__).with_name("schema.sql")
_CREATES = re.compile(
    r"\s*(?:--[^\n]*\n\s*)*create\s+table\s+if\s+not\s+exists\s+(?:lake\.)?(\w+)\.(\w+)", re.IGNORECASE
)
LOCK_POLL_S = 0.02  # a commit takes 10-50 ms


class Lake:
    """The lake of one home folder. con: a DuckDB connection with catalog `lake` attached and in use.

    Not for two threads at once; each thread or process attaches for itself (0.15 s).
    """

    def __init__(
        self, settings: Settings, con: duckdb.DuckDBPyConnection, spill: Path, *, read_only: bool
    ) -> None:
        self.settings = settings
        self.con = con
        self.read_only = read_only
        self._spill = spill
        self._committing = False

    @classmethod
    def attach(cls, settings: Settings, read_only: bool = False) -> Self:
        """Open the lake, making it first if this home has none. Raises CatalogLocked, Refused."""
        os.umask(0o077)
        if read_only and not _is_made(settings):
            raise Refused(
                f"there is no lake at {settings.home}",
                why="no step has run in this home, or it was written by another version",
                do="sanche demo, or pull a feed first; --home or SANCHE_HOME says where the hub lies",
            )
        for folder in (settings.home, settings.lake_dir, _data_dir(settings)):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not read_only:
            engine.drop_dead_spill_folders(settings)
        if _is_made(settings):
            return cls._open(settings, read_only=read_only)
        with _writer_lock(settings, doing="making the lake"):
            if not _is_made(settings):  # else another process was faster
                with cls._open(settings, read_only=False) as made:
                    made._make_tables()
        return cls._open(settings, read_only=read_only)

    @classmethod
    def _open(cls, settings: Settings, *, read_only: bool) -> Self:
        spill = engine.new_spill_folder(settings)
        try:
            with door("attaching the lake"):
                con = engine.connect(settings, spill=spill)
                catalog, data = (_quoted(str(path)) for path in (_catalog(settings), f"{_data_dir(settings)}/"))
                con.execute(
                    f"attach 'ducklake:sqlite:{catalog}' as lake (data_path '{data}', override_data_path true, "
                    f"meta_journal_mode 'WAL', data_inlining_row_limit 0{', read_only' if read_only else ''})"
                )
                con.execute("use lake")
        except BaseException:
            shutil.rmtree(spill, ignore_errors=True)
            raise
        return cls(settings, con, spill, read_only=read_only)

    def confine(self) -> None:
        """From here on this connection reads the lake's own data files and nothing else, for good.

        For queries that a person types (`sanche sql`): no other file, no network, no attach, no setting.
        """
        with door("confining a connection"):
            folders = ", ".join(f"'{_quoted(str(p))}'" for p in (_data_dir(self.settings), self._spill))
            self.con.execute(f"set allowed_directories = [{folders}]")
            self.con.execute("set enable_external_access = false; set lock_configuration = true")

    def _make_tables(self) -> None:
        with door("making the lake"):
            self.con.execute(SCHEMA_SQL.read_text())
        # The note comes last: a crash before it repeats schema.sql, which changes nothing that is there.
        note = _note(self.settings)
        part = note.with_suffix(".part")
        part.write_text(_schema_hash())
        part.replace(note)

    def close(self) -> None:
        self.con.close()
        shutil.rmtree(self._spill, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def data_dir(self) -> Path:
        return _data_dir(self.settings)

    def query(self, sql: str, parameters: Any = None) -> pa.Table:
        """Read; UUIDs come as text."""
        with door("a query"):
            return self.con.execute(sql, parameters).to_arrow_table()

    def rows(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """Read a few rows as Python values."""
        with door("a query"):
            return self.con.execute(sql, parameters).fetchall()

    @contextmanager
    def commit(self, *, step: str, business_date: date | None) -> Iterator[Commit]:
        """The one way to write. Raises CatalogLocked after settings.lock_wait_s; any error rolls all back.

        business_date: None for upkeep that belongs to no night.
        """
        if self.read_only or self._committing:
            raise Bug(f"{step} may not commit here", why="the lake is read-only, or a commit is open already")
        commit = Commit(self.con, step=step, business_date=business_date, settings=self.settings)
        with _writer_lock(self.settings, doing=commit.doing):
            self._committing = True
            commit.execute("begin")
            try:
                yield commit
                commit.finish()
                commit.execute("commit")
            except BaseException:
                self._roll_back()
                raise
            finally:
                self._committing = False
            commit.snapshot = self.snapshot()
            # Still under the lock: the ledger's appended files grow in the order of the commits.
            commit.run_after()

    def _roll_back(self) -> None:
        try:
            self.con.execute("rollback")
        except duckdb.Error:
            return  # COMMIT itself failed, which ended the transaction

    def snapshot(self) -> int:
        return int(self.rows("select id from lake.current_snapshot()")[0][0])

    def has_table(self, table: str) -> bool:
        schema, name = table.split(".")
        found = self.rows(
            "select 1 from duckdb_tables() where database_name = 'lake' and schema_name = ? and table_name = ?",
            [schema, name],
        )
        return bool(found)

    def ensure_table(self, ddl: str) -> None:
        """Make a table that a contract or a room describes ("create table if not exists s.t (…)")."""
        named = _CREATES.match(ddl)
        if named is None:
            raise Bug("not the description of a table", why='it must begin "create table if not exists s.t ("')
        table = f"{named.group(1)}.{named.group(2)}"
        if not self.has_table(table):
            with self.commit(step=f"make {table}", business_date=None) as commit:
                commit.execute(ddl)

    def columns(self, table: str) -> list[str]:
        """A table's column names, in order; none if there is no such table."""
        schema, name = table.split(".")
        found = self.rows(
            "select column_name from duckdb_columns() where database_name = 'lake' and schema_name = ? "
            "and table_name = ? order by column_index",
            [schema, name],
        )
        return [row[0] for row in found]

    def ensure_columns(self, table: str, types: Mapping[str, str]) -> None:
        """Add the columns that a newer contract brings; rows that are there have NULL in them."""
        present = self.columns(table)
        missing = {name: kind for name, kind in types.items() if name not in present}
        if missing:
            with self.commit(step=f"widen {table}", business_date=None) as commit:
                for name, kind in missing.items():
                    commit.execute(f'alter table {table} add column "{name}" {kind}')

    def used_files(self, tables: Iterable[str] | None = None) -> list[tuple[str, str]]:
        """(table, path) of every data file that the newest snapshot reads."""
        wanted = None if tables is None else set(tables)
        used = self.rows(files.USED_FILES)
        return [(table, path) for table, path in used if wanted is None or table in wanted]

    def file_faults(self, tables: Iterable[str] | None = None) -> list[files.FileFault]:
        """Read every data file in use and compare it with the hash it was committed with."""
        known = dict(self.rows("select path, sha256 from control.file"))
        faults = []
        for table, path in self.used_files(tables):
            if path not in known:
                faults.append(files.FileFault(table, path, "unknown"))
            elif not (self.data_dir / path).is_file():
                faults.append(files.FileFault(table, path, "missing"))
            elif files.sha256_of(self.data_dir / path)[0] != known[path]:
                faults.append(files.FileFault(table, path, "altered"))
        return faults

    def files_intact(self, tables: Iterable[str] | None = None) -> None:
        """Raises VerificationFailed unless every data file of these tables is what was committed.

        A flipped bit in Parquet is usually read as wrong data without an error, so ask before an extract.
        """
        faults = self.file_faults(tables)
        if faults:
            first = faults[0]
            raise VerificationFailed(
                f"{len(faults)} data file(s) of the lake are not what was written",
                where=f"{first.table}, {first.path}: {first.fault}",
                why="a damaged file reads as wrong data without an error",
                do="restore the file from backup, or land the batch again from the vault",
            )


def _data_dir(settings: Settings) -> Path:
    return settings.lake_dir.absolute() / "data"


def _catalog(settings: Settings) -> Path:
    return settings.lake_dir.absolute() / "catalog.sqlite"


def _note(settings: Settings) -> Path:
    """Says which schema.sql this lake has."""
    return settings.lake_dir / "schema.sha256"


def _schema_hash() -> str:
    return hashlib.sha256(SCHEMA_SQL.read_bytes()).hexdigest()


def _is_made(settings: Settings) -> bool:
    note = _note(settings)
    if not note.exists():
        return False
    if not _catalog(settings).exists():
        raise Refused(
            "the lake's catalog is lost",
            where=str(_catalog(settings)),
            why="data files without it cannot be told apart, and a fresh catalog would hide the loss",
            do="restore catalog.sqlite from its last sealed copy",
        )
    return note.read_text() == _schema_hash()


def _quoted(path: str) -> str:
    return path.replace("'", "''")


@contextmanager
def _writer_lock(settings: Settings, *, doing: str) -> Iterator[None]:
    lock = filelock.FileLock(settings.lake_dir / "writer.lock", mode=0o600, thread_local=False)
    if not _acquired(lock, settings.lock_wait_s):
        raise CatalogLocked(
            f"{doing} waited {settings.lock_wait_s:g} s for its turn to write",
            where=str(settings.lake_dir / "writer.lock"),
            why="another step is writing, or hangs",
            do="run it again; if it stays so, look for a hanging sanche process",
        )
    try:
        yield
    finally:
        lock.release()


def _acquired(lock: filelock.BaseFileLock, wait_s: float) -> bool:
    try:
        lock.acquire(timeout=wait_s, poll_interval=LOCK_POLL_S)
    except filelock.Timeout:
        return False
    return True
