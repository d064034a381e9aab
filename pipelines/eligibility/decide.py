"""Decide a night: every agreement's products for every live application, in one commit.

Promises: one row per live application and night, with all its reasons and a trace of every cell; run again
          with the same inputs nothing is written; with other inputs only what differs, as a correction.
Refuses:  to decide on a date whose marts were not built (Refused).
Not here: what a product says (schemas/products), what leaves (extracts/).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

import duckdb
import rfc8785

from pipelines import consent, ledger
from pipelines.calendar import as_of, day_start
from pipelines.consent import Agreement
from pipelines.eligibility import nightly, tables
from pipelines.eligibility.load import products_on
from pipelines.eligibility.product import Product
from pipelines.errors import CatalogLocked, ContractBroken, Refused
from pipelines.lake import Commit, Lake, door
from pipelines.receipt import Receipt
from pipelines.settings import Settings

STEP = "decide"
STREAM = "decisions"
ATTEMPTS = 3
BUILDS = f"select count(*) from control.build where step in ('marts', '{STEP}')"
SCRATCH = "deciding"  # an in-memory database beside the lake


@dataclass(frozen=True, slots=True)
class Job:
    """One product of one agreement."""

    agreement: Agreement
    product: Product

    @property
    def name(self) -> str:
        return f"{self.agreement.id}_{self.product.id}".lower()


def decide(*, settings: Settings, lake: Lake, business_date: date) -> Receipt:
    """One business date. Returns counts per agreement, product and outcome; fate `decided` or `unchanged`."""
    jobs = _jobs(settings, business_date)
    _make_tables(lake)
    for _ in range(ATTEMPTS):
        try:
            return _attempt(lake, jobs, business_date)
        except _Overtaken:
            continue
        finally:
            lake.con.execute(f"detach database if exists {SCRATCH}")
    raise CatalogLocked(
        f"the decisions of {business_date} were overtaken {ATTEMPTS} times",
        why="other nights were built or decided at the same time",
        do="run it again; a rerun changes nothing",
    )


class _Overtaken(Exception):
    """Marts or decisions were committed since this night read: what it worked out may rest on what is gone."""


def _attempt(lake: Lake, jobs: list[Job], business_date: date) -> Receipt:
    with _reading(lake) as con:
        seen = int(lake.rows(BUILDS)[0][0])
        prints = _fingerprint(lake, jobs, business_date)
        if _is_decided(lake, business_date, prints):
            return Receipt(STEP, business_date, "unchanged", hashes={"fingerprint": prints})
        asked = (
            jobs if lake.has_table("landed.consent") else []
        )  # before the first consent there is nobody to decide
        for job in asked:
            _work_out(con, job, business_date)
    return _commit(lake, asked, business_date, prints, seen=seen)


def _jobs(settings: Settings, business_date: date) -> list[Job]:
    """Agreements in force with their products, by id. Raises ContractBroken if one names no product."""
    products = products_on(settings, business_date)
    jobs = []
    for agreement in consent.load_all(settings).values():
        if not agreement.valid_from <= business_date <= agreement.valid_to:
            continue
        for name in agreement.products:
            if name not in products:
                raise ContractBroken(
                    f"agreement {agreement.id} names a product {name}",
                    where=f"{agreement.id}.yaml, products",
                    why=f"no version of it is in effect on {business_date}",
                    do="one of: " + ", ".join(sorted(products)),
                )
            jobs.append(Job(agreement, products[name]))
    return jobs


def _fingerprint(lake: Lake, jobs: list[Job], business_date: date) -> str:
    """Hash of what decisions depend on: the night's marts, consents, rules, and the night before."""
    built = lake.rows(
        "select fingerprint from control.build where step = 'marts' and business_date = ? "
        "order by snapshot desc nulls last limit 1",
        [business_date],
    )
    if not built:
        raise Refused(
            f"nothing can be decided for {business_date}",
            why="its marts were not built, so nothing is known of anybody on that morning",
            do=f"sanche marts --date {business_date}",
        )
    consents = lake.rows(
        "select batch_id, sum(landed) from control.batch where feed = 'consent' and fate = 'landed' "
        "and business_date <= ? group by all order by all",
        [business_date],
    )
    before = lake.rows(
        "select fingerprint from control.build where step = ? and business_date < ? "
        "order by business_date desc, snapshot desc nulls last limit 1",
        [STEP, business_date],
    )
    said = {
        "marts": built[0][0],
        "consents": [[batch, int(rows)] for batch, rows in consents],
        "before": before[0][0] if before else "",
        "jobs": [
            [job.agreement.id, job.agreement.version, job.agreement.purpose_text_hash, job.product.rule_hash]
            for job in jobs
        ],
        "business_date": business_date.isoformat(),
    }
    return hashlib.sha256(rfc8785.dumps(said)).hexdigest()


def _is_decided(lake: Lake, business_date: date, fingerprint: str) -> bool:
    found = lake.rows(
        "select fingerprint from control.build where step = ? and business_date = ? "
        "order by snapshot desc nulls last limit 1",
        [STEP, business_date],
    )
    return bool(found) and found[0][0] == fingerprint


def _make_tables(lake: Lake) -> None:
    for table, ddl in ((tables.DECISION, tables.DECISION_DDL), (tables.TRACE, tables.TRACE_DDL)):
        lake.ensure_table(f"create table if not exists {table} ({ddl})")


@contextmanager
def _reading(lake: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    """One transaction over the lake, so that consents and features are read at one snapshot."""
    with door("deciding"):
        lake.con.execute(f"attach if not exists ':memory:' as {SCRATCH}; begin")
        try:
            yield lake.con
        except BaseException:
            lake.con.execute("rollback")
            raise
        else:
            lake.con.execute("commit")


def _work_out(con: duckdb.DuckDBPyConnection, job: Job, business_date: date) -> None:
    """Leave {SCRATCH}.<job>: the rows to insert, with their traces."""
    day, at = as_of(business_date), day_start(as_of(business_date))
    live = consent.live_sql(job.agreement, at=at, known_at=business_date)
    mine = f"{SCRATCH}.main.{job.name}"

    def keep(name: str, sql: str) -> str:
        con.execute(f"create or replace table {mine}_{name} as {sql}")
        return f"{mine}_{name}"

    applications = keep("application", nightly.application_sql(job.product, live, day))
    fresh = keep("fresh", nightly.fresh_sql(job.product, applications, as_of=day))
    prior = nightly.prior_sql(job.agreement.id, job.product.id, day)
    tonight = keep("tonight", nightly.tonight_sql(job.product, job.agreement, fresh, prior, business_date))
    con.register("reason_words", nightly.reason_words(job.product))
    reasons = keep("reasons", nightly.reasons_sql(tonight, "reason_words", job.product))
    con.unregister("reason_words")
    keep("rows", nightly.numbered_sql(tonight, reasons, job.agreement.id, job.product.id, business_date))


def _commit(lake: Lake, jobs: list[Job], business_date: date, fingerprint: str, *, seen: int) -> Receipt:
    counts: dict[str, int] = {}
    with lake.commit(step=STEP, business_date=business_date) as commit:
        if commit.execute(BUILDS).fetchone() != (seen,):
            raise _Overtaken
        for job in jobs:
            for what, rows in _store(commit, job).items():
                counts[what] = counts.get(what, 0) + rows
        commit.execute(
            "insert into control.build select ?, ?, ?, max(id) + 1 from lake.current_snapshot()",
            [STEP, business_date, fingerprint],
        )
        body: dict[str, Any] = {
            "counts": counts,
            "fingerprint": fingerprint,
            "as_of": as_of(business_date).isoformat(),
            "rules": {job.name: job.product.rule_hash for job in jobs},
        }
        ledger.append(commit, stream=STREAM, kind="decided", business_date=business_date, body=body)
    return Receipt(STEP, business_date, "decided", counts=counts, hashes={"fingerprint": fingerprint})


def _store(commit: Commit, job: Job) -> dict[str, int]:
    """Insert a job's rows and traces; returns rows by agreement.outcome."""
    rows = f"{SCRATCH}.main.{job.name}_rows"
    commit.execute(f"insert into {tables.DECISION} by name select * exclude (trace) from {rows}")
    commit.execute(
        f"insert into {tables.TRACE} by name select decision_no, unnest(trace, recursive := true) from {rows}"
    )
    found = commit.execute(f"select outcome, count(*) from {rows} group by outcome order by outcome").fetchall()
    return {f"{job.agreement.id}.{outcome}": int(n) for outcome, n in found}
