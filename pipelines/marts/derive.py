"""Run the SQL files on a connection that holds `landed.*`, and leave `stage.*` and `marts.*` there.

Promises: the same landed rows, dates, reference and person ids give the same rows in the same order; nothing is
          read that became known after `known_at`.
Refuses:  a value in an error.
Not here: where landed rows come from and where marts go (build.py).
"""

from __future__ import annotations

import csv
import secrets
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb

from pipelines.errors import Bug, ContractBroken
from pipelines.marts import sql_files

FEATURE_VERSION = "1"
PERSON_KEY = "stage.person_key"
MADE_IN_PYTHON = {PERSON_KEY: "stage.identifier"}
PERSON_KEY_DDL = (
    "id_token uuid not null, person_id uuid not null, first_known_on date not null, method varchar not null"
)

# What the SQL may rely on in reference.*: columns and types of the CSV files.
REFERENCE = {
    "platform": (
        "platform.csv",
        "platform_code varchar, name_zh varchar, sector varchar, uscc varchar, payer_uscc varchar",
    ),
    "parameter": (
        "parameters.csv",
        "parameter varchar, key varchar, value bigint, unit varchar, valid_from date, valid_to date, "
        "reference varchar",
    ),
}


@dataclass(frozen=True, slots=True)
class Night:
    """known_at: knowledge cut, a business date. as_of: D, the day after. link_known_at: that of person_link.
    history_from: first day that the platforms' first load shows in full (NULL: not known)."""

    known_at: date
    as_of: date
    link_known_at: date
    history_from: date | None = None

    def parameters(self, names: frozenset[str]) -> dict[str, Any]:
        given = {
            "known_at": self.known_at,
            "as_of": self.as_of,
            "link_known_at": self.link_known_at,
            "history_from": self.history_from,
            "feature_version": FEATURE_VERSION,
        }
        return {name: given[name] for name in sorted(names)}


def load_reference(con: duckdb.DuckDBPyConnection, schemas: Path) -> None:
    """Make reference.* from schemas/reference. Raises ContractBroken for a file that is not as described."""
    con.execute("create schema if not exists reference")
    for table, (name, ddl) in REFERENCE.items():
        path = schemas / "reference" / name
        try:
            with path.open(encoding="utf-8", newline="") as file:
                rows = [[cell or None for cell in row] for row in csv.reader(file)]
            columns = [column.split()[0] for column in ddl.split(", ")]
            if not rows or rows[0] != columns:
                raise ValueError
            con.execute(f"create or replace table reference.{table} ({ddl})")
            if len(rows) > 1:
                con.executemany(
                    f"insert into reference.{table} values ({', '.join('?' * len(columns))})", rows[1:]
                )
        except (OSError, ValueError, csv.Error, duckdb.Error):
            raise ContractBroken(
                f"{name} is not the reference table that the marts read",
                where=str(path),
                why=f"its columns are {ddl}",
                do="correct the file; `git diff` shows what changed",
            ) from None


def derive(con: duckdb.DuckDBPyConnection, night: Night) -> list[tuple[UUID, UUID, date, str]]:
    """Make every table of the night; returns the rows that were added to stage.person_key.

    There are already: schemas landed, reference, stage, marts, and stage.person_key with the persons known so far.
    """
    files = sql_files.all_files()
    by_table = {file.table: file for file in files}
    minted: list[tuple[UUID, UUID, date, str]] = []
    for table in sql_files.in_order(files, made_elsewhere=MADE_IN_PYTHON):
        if table == PERSON_KEY:
            minted = mint_persons(con)
            continue
        file = by_table[table]
        try:
            con.execute(f"create or replace table {table} as {file.text}", night.parameters(file.parameters))
        except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException) as error:
            # These speak of names, never of values.
            raise Bug(
                f"the SQL of {table} does not fit the landed tables", why=str(error).split("\n", 1)[0]
            ) from None
    return minted


def mint_persons(con: duckdb.DuckDBPyConnection) -> list[tuple[UUID, UUID, date, str]]:
    """Give every identifier token a person: 128 random bits, or the person of the token that it corrects."""
    fresh = con.execute(
        f"""select identifier.id_token, identifier.first_known_on, identifier.inherits_from
        from stage.identifier as identifier
        where identifier.id_token not in (select id_token from {PERSON_KEY})
        order by identifier.first_known_on, identifier.id_token"""
    ).fetchall()
    if not fresh:
        return []
    known = dict(con.execute(f"select id_token, person_id from {PERSON_KEY}").fetchall())
    rows: list[tuple[UUID, UUID, date, str]] = []
    for id_token, first_known_on, inherits_from in fresh:
        inherited = known.get(inherits_from)
        person = inherited or UUID(bytes=secrets.token_bytes(16))
        known[id_token] = person
        rows.append((id_token, person, first_known_on, "corrected" if inherited else "new"))
    insert_keys(con, PERSON_KEY, rows)
    return rows


def insert_keys(con: duckdb.DuckDBPyConnection, table: str, rows: list[tuple[UUID, UUID, date, str]]) -> None:
    """Bulk insert, through Arrow: executemany takes a second for ten thousand rows."""
    import pyarrow as pa

    if not rows:
        return
    minted = pa.table(
        {
            "id_token": pa.array([str(row[0]) for row in rows]),
            "person_id": pa.array([str(row[1]) for row in rows]),
            "first_known_on": pa.array([row[2] for row in rows], pa.date32()),
            "method": pa.array([row[3] for row in rows]),
        }
    )
    con.register("minted", minted)
    con.execute(f"insert into {table} select id_token::uuid, person_id::uuid, first_known_on, method from minted")
    con.unregister("minted")
