"""Make a province: one seed, one world.

Promises: the same seed, persons and dates give the same data, byte for byte; a million orders in seconds.
Refuses:  fewer than one person, or fewer than no nights (Usage).
Not here: serving it (servers).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import Usage
from pipelines.province import bank, faults, feeds, papers, pay, permission, welfare, work
from pipelines.province.people import Dates, Person, make_roster
from pipelines.province.truth import write_needles, write_truth
from pipelines.province.world import World

# One stream of chance per step, so that a change in one step does not stir the others.
STREAMS = (
    *("roster", "orders", "lines", "books", "vehicles", "credentials", "accounts", "persons"),
    *("contributions", "consents", "faults"),
)


MANY = 100  # persons from whom on a kind of fault comes three times


def generate(*, seed: int, persons: int, first_date: date, nights: int, out: Path) -> World:
    """Write a world of so many persons below `out`.

    first_date: business date of the first load, which shows 13 months; then so many further nights.
    """
    if persons < 1 or nights < 0:
        raise Usage("an empty province", why="persons is at least 1, nights at least 0")
    dates = Dates.of(first_date, nights)
    streams = np.random.SeedSequence(seed).spawn(len(STREAMS))
    rng = {name: np.random.default_rng(stream) for name, stream in zip(STREAMS, streams, strict=True)}
    roster = make_roster(rng["roster"], persons=persons, dates=dates)
    orders = work.make_orders(rng["orders"], roster=roster, dates=dates)
    consents = permission.consents(rng["consents"], roster=roster, dates=dates)
    write_truth(out, roster=roster, orders=orders, consents=consents, dates=dates)
    tables = {
        "consent": permission.consent_table(consents),
        **_work_and_money(rng, roster, orders, dates),
        **_papers(rng, roster, orders, dates),
    }
    scene = faults.Scene(rng["faults"], tables, roster, dates, each=1 if persons < MANY else 3)
    faults.add_faults(scene)
    faults.label_what_is_there(scene, late=work.late_rows(orders, roster=roster))
    del orders
    parts = {
        feed: [clean, *([feeds.from_rows(feed, scene.extra[feed])] if feed in scene.extra else [])]
        for feed, clean in tables.items()
    }
    pq.write_table(pa.Table.from_pylist(scene.labels, schema=faults.LABELS), out / "labels.parquet")
    write_needles(out, roster=roster, tables=parts)
    del scene, tables
    rows = {feed: feeds.write(feed, parts.pop(feed), out / "feeds") for feed in feeds.FEEDS}
    told = {
        "seed": seed,
        "persons": persons,
        "first_date": first_date.isoformat(),
        "nights": nights,
        "history_from": dates.history.isoformat(),
        "rows": rows,
    }
    (out / "world.json").write_text(json.dumps(told, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return World.open(out)


def _work_and_money(
    rng: Mapping[str, np.random.Generator], roster: Sequence[Person], orders: work.Orders, dates: Dates
) -> dict[str, pa.Table]:
    """What was done, what it earned, and where the money went."""
    lines = pay.make_lines(rng["lines"], orders, roster=roster, dates=dates)
    settlements = pay.make_settlements(lines, roster=roster, dates=dates)
    books = bank.make_books(rng["books"], roster=roster, lines=lines, settlements=settlements, dates=dates)
    refs = bank.bank_refs(books, settlements)
    return {
        "platform_order": work.order_table(orders, roster=roster, dates=dates),
        "platform_earning_line": pay.line_table(lines, orders, roster=roster),
        "platform_settlement": pay.settlement_table(settlements, refs, roster=roster),
        "bank_account": bank.account_table(rng["accounts"], roster=roster, dates=dates),
        "bank_txn": bank.txn_table(books),
        "bank_obligation": bank.obligation_table(books, dates=dates),
    }


def _papers(
    rng: Mapping[str, np.random.Generator], roster: Sequence[Person], orders: work.Orders, dates: Dates
) -> dict[str, pa.Table]:
    """What platforms and the social-insurance agency keep of the persons."""
    return {
        "platform_worker": papers.worker_table(roster=roster, dates=dates),
        "platform_vehicle": papers.vehicle_table(rng["vehicles"], roster=roster, dates=dates),
        "platform_credential": papers.credential_table(rng["credentials"], roster=roster, dates=dates),
        "si_person": welfare.person_table(rng["persons"], roster=roster, dates=dates),
        "si_contribution_month": welfare.contribution_table(rng["contributions"], roster=roster, dates=dates),
        "occ_injury_order_day": welfare.injury_table(orders, roster=roster, dates=dates),
        "si_param": welfare.param_table(dates=dates),
    }
