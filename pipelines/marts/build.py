"""Build all marts of a business date from what has landed, in one commit.

Promises: same batches, same definitions, same date: nothing is written again (fate `unchanged`); person ids are
          kept for ever and only new ones are added; features of every date stay, other marts show the newest date.
Refuses:  to look past the business date; to mix two snapshots of the lake.
Not here: what a mart says (sql/), decisions (eligibility/).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import duckdb
import rfc8785

from pipelines import ledger
from pipelines.calendar import as_of
from pipelines.contracts import load_all
from pipelines.errors import CatalogLocked, ContractBroken
from pipelines.lake import Commit, Lake, door
from pipelines.marts import derive, sql_files
from pipelines.receipt import Receipt
from pipelines.settings import Settings

STEP = "marts"
SCRATCH = "night"  # an in-memory database beside the lake: stage.*, marts.* and views of landed.*
PERSON_KEY = "marts.person_key"
BUILDS = f"select count(*) from lake.control.build where step = '{STEP}'"
PER_DATE = "marts.features"
ATTEMPTS = 3  # nights of several dates side by side: each overtakes another once at most
FIRST_FEED = "platform_earning_line"  # its first window says from when on income can be seen


def build(*, settings: Settings, lake: Lake, business_date: date) -> Receipt:
    """One business date. Returns counts per mart; fate `built`, or `unchanged`."""
    for _ in range(ATTEMPTS):
        try:
            return _attempt(settings=settings, lake=lake, business_date=business_date)
        except _Overtaken:
            continue
        finally:
            lake.con.execute(f"detach database if exists {SCRATCH}")
    raise CatalogLocked(
        f"the marts of {business_date} were overtaken {ATTEMPTS} times",
        why="other nights' marts were built at the same time",
        do="run it again; a rerun changes nothing",
    )


class _Overtaken(Exception):
    """Another night's marts were committed since this one read: persons may have ids that were not seen."""


def _attempt(*, settings: Settings, lake: Lake, business_date: date) -> Receipt:
    with _reading(lake) as con:
        seen = int(lake.rows(BUILDS)[0][0])
        prints = _fingerprint(lake, settings, business_date)
        if _is_built(lake, business_date, prints):
            return Receipt(STEP, business_date, "unchanged", hashes={"fingerprint": prints})
        newest = _newest(lake)
        night = derive.Night(
            known_at=business_date,
            as_of=as_of(business_date),
            link_known_at=max(business_date, newest or business_date),
            history_from=_history_from(lake),
        )
        _prepare(con, lake, settings)
        minted = derive.derive(con, night)
    is_newest = newest is None or business_date >= newest
    return _commit(lake, business_date, prints, len(minted), seen=seen, is_newest=is_newest)


@contextmanager
def _reading(lake: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    """One transaction, so that every table of the lake is read at one snapshot; scratch tables are in memory."""
    con = lake.con
    with door("building the marts"):
        con.execute(f"attach if not exists ':memory:' as {SCRATCH}")
        con.execute(f"begin; use {SCRATCH}.main")
        try:
            yield con
        except BaseException:
            con.execute("rollback")
            raise
        else:
            con.execute("commit")
        finally:
            con.execute("use lake")


def _fingerprint(lake: Lake, settings: Settings, business_date: date) -> str:
    """Hash of everything that the marts depend on: landed batches, definitions, reference data, the date."""
    batches = lake.rows(
        "select feed, batch_id, sum(landed) from lake.control.batch "
        "where business_date <= ? and fate = 'landed' group by all order by all",
        [business_date],
    )
    reference = {
        name: hashlib.sha256((settings.schemas / "reference" / name).read_bytes()).hexdigest()
        for name, _ in derive.REFERENCE.values()
    }
    said: dict[str, Any] = {
        "batches": [[feed, batch, int(rows)] for feed, batch, rows in batches],
        "sql": sql_files.fingerprint(),
        "feature_version": derive.FEATURE_VERSION,
        "reference": reference,
        "business_date": business_date.isoformat(),
    }
    return hashlib.sha256(rfc8785.dumps(said)).hexdigest()


def _is_built(lake: Lake, business_date: date, fingerprint: str) -> bool:
    found = lake.rows(
        "select fingerprint from lake.control.build where step = ? and business_date = ? "
        "order by snapshot desc nulls last limit 1",
        [STEP, business_date],
    )
    return bool(found) and found[0][0] == fingerprint


def _newest(lake: Lake) -> date | None:
    newest = lake.rows("select max(business_date) from lake.control.build where step = ?", [STEP])[0][0]
    return newest if newest is None else date.fromisoformat(str(newest))


def _history_from(lake: Lake) -> date | None:
    found = lake.rows(
        "select min(from_date) from lake.control.window where feed = ? and fate = 'landed'", [FIRST_FEED]
    )[0][0]
    return found if found is None else date.fromisoformat(str(found))


def _prepare(con: duckdb.DuckDBPyConnection, lake: Lake, settings: Settings) -> None:
    """Views of the landed tables (an empty table where a feed has never landed), reference, known persons."""
    feeds = sql_files.landed_tables(sql_files.all_files())
    silent = [feed for feed in feeds if not lake.has_table(f"landed.{feed}")]
    contracts = load_all(settings) if silent else {}  # reading them takes half a second; most nights need none
    for schema in ("landed", "stage", "marts"):
        con.execute(f"drop schema if exists {SCRATCH}.{schema} cascade; create schema {SCRATCH}.{schema}")
    for feed in feeds:
        if feed not in silent:
            con.execute(f"create view {SCRATCH}.landed.{feed} as select * from lake.landed.{feed}")
        elif feed in contracts:
            con.execute(contracts[feed].landed_ddl(f"{SCRATCH}.landed.{feed}"))
        else:
            raise ContractBroken(
                f"the marts read a feed called {feed}",
                where=str(settings.schemas / "feeds"),
                why="no contract says what its columns are",
                do=f"add {feed}.odcs.yaml, or change the SQL in marts/sql",
            )
    derive.load_reference(con, settings.schemas)
    con.execute(f"create table {SCRATCH}.{derive.PERSON_KEY} ({derive.PERSON_KEY_DDL})")
    if lake.has_table(PERSON_KEY):
        con.execute(f"insert into {SCRATCH}.{derive.PERSON_KEY} select * from lake.{PERSON_KEY}")


def _commit(
    lake: Lake, business_date: date, fingerprint: str, minted: int, *, seen: int, is_newest: bool
) -> Receipt:
    counts: dict[str, int] = {"persons_new": minted}
    with lake.commit(step=STEP, business_date=business_date) as commit:
        if commit.execute(BUILDS).fetchone() != (seen,):
            raise _Overtaken
        # person_key is what cannot be derived again: random ids, added to, never rewritten.
        commit.execute(f"create table if not exists lake.{PERSON_KEY} ({derive.PERSON_KEY_DDL})")
        commit.execute(
            f"insert into lake.{PERSON_KEY} select * from {SCRATCH}.{derive.PERSON_KEY} as fresh "
            f"where fresh.id_token not in (select id_token from lake.{PERSON_KEY}) order by fresh.id_token"
        )
        for file in sql_files.all_files():
            if file.is_kept and (is_newest or file.table in (PER_DATE, "marts.person_link")):
                name = file.table.split(".")[1]
                counts[name] = _store(commit, lake, file.table, business_date)
        commit.execute(
            "insert into lake.control.build select ?, ?, ?, max(id) + 1 from lake.current_snapshot()",
            [STEP, business_date, fingerprint],
        )
        ledger.append(
            commit,
            stream=STEP,
            kind="built",
            business_date=business_date,
            body={"counts": counts, "fingerprint": fingerprint, "as_of": as_of(business_date).isoformat()},
        )
    return Receipt(STEP, business_date, "built", counts=counts, hashes={"fingerprint": fingerprint})


def _store(commit: Commit, lake: Lake, table: str, business_date: date) -> int:
    """Put a scratch table in its mart's place: for features only this date's rows, else all of them."""
    commit.execute(f"create table if not exists lake.{table} as select * from {SCRATCH}.{table} limit 0")
    if table == PER_DATE:
        _add_columns(commit, table)
        commit.execute(f"delete from lake.{table} where as_of = ?", [as_of(business_date)])
        commit.execute(f"insert into lake.{table} by name select * from {SCRATCH}.{table}")
    else:
        commit.execute(f"create or replace table lake.{table} as select * from {SCRATCH}.{table}")
    row = commit.execute(f"select count(*) from {SCRATCH}.{table}").fetchone()
    return int(row[0]) if row else 0


def _add_columns(commit: Commit, table: str) -> None:
    """A new feature is NULL on earlier dates: nobody worked it out then."""
    schema, name = table.split(".")
    columns = (
        "select column_name, data_type from duckdb_columns() "
        "where database_name = ? and schema_name = ? and table_name = ? order by column_index"
    )
    there = {row[0] for row in commit.execute(columns, ["lake", schema, name]).fetchall()}
    for column, kind in commit.execute(columns, [SCRATCH, schema, name]).fetchall():
        if column not in there:
            commit.execute(f"alter table lake.{table} add column {column} {kind}")
