"""The mart's SQL files: which table each makes, what it reads, in which order they run.

Promises: one file, one table, named by the file (`marts.income_month.sql`); order follows from the references,
          found by sqlglot, so nobody keeps a list.
Refuses:  a file that is not one SELECT, that reads a table nobody makes, or a cycle (Bug: these files are ours).
Not here: running them (derive.py).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import sqlglot
from sqlglot import exp

from pipelines.errors import Bug

FOLDER = Path(__file__).with_name("sql")
GIVEN_SCHEMAS = frozenset({"landed", "reference"})  # read, never made here


@dataclass(frozen=True, slots=True)
class SqlFile:
    """table: `stage.x` (this night's scratch) or `marts.x` (kept). reads: tables. parameters: without `$`."""

    table: str
    text: str
    reads: frozenset[str]
    parameters: frozenset[str]

    @property
    def is_kept(self) -> bool:
        return self.table.startswith("marts.")


def parse(table: str, text: str) -> SqlFile:
    """One file. Raises Bug if it is not a single query."""
    try:
        statements = sqlglot.parse(text, dialect="duckdb")
    except sqlglot.ParseError:
        raise Bug(f"the SQL of {table} cannot be parsed", where=f"{table}.sql") from None
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise Bug(f"the SQL of {table} is not one SELECT", where=f"{table}.sql")
    query = statements[0]
    reads = frozenset(f"{found.db}.{found.name}" for found in query.find_all(exp.Table) if found.db)
    parameters = frozenset(found.name for found in query.find_all(exp.Parameter, exp.Placeholder))
    return SqlFile(table, text, reads, parameters)


@cache
def all_files() -> tuple[SqlFile, ...]:
    """Every file of sql/, by name."""
    return tuple(
        parse(path.name.removesuffix(".sql"), path.read_text(encoding="utf-8"))
        for path in sorted(FOLDER.glob("*.sql"))
    )


def in_order(files: tuple[SqlFile, ...], *, made_elsewhere: dict[str, str]) -> list[str]:
    """Table names, each after what it reads. made_elsewhere: table made in Python -> the table it needs."""
    by_table = {file.table: file for file in files}
    needs = {table: {source} for table, source in made_elsewhere.items()}
    for file in files:
        wanted = {read for read in file.reads if read.split(".")[0] not in GIVEN_SCHEMAS}
        unknown = wanted - by_table.keys() - made_elsewhere.keys()
        if unknown:
            raise Bug(f"{file.table}.sql reads a table that nobody makes", where=", ".join(sorted(unknown)))
        needs[file.table] = wanted
    try:
        sorter = TopologicalSorter({table: sorted(needs[table]) for table in sorted(needs)})
        return list(sorter.static_order())
    except CycleError:
        raise Bug("the SQL files of the marts read each other in a circle", where=str(FOLDER)) from None


def landed_tables(files: tuple[SqlFile, ...]) -> list[str]:
    """Feeds that the marts read."""
    return sorted({read.split(".")[1] for file in files for read in file.reads if read.startswith("landed.")})


@cache
def fingerprint() -> str:
    """SHA-256 over all files' names and texts: another definition is another build."""
    digest = hashlib.sha256()
    for file in all_files():
        digest.update(f"{file.table}\0{file.text}\0".encode())
    return digest.hexdigest()
