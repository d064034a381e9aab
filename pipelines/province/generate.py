"""Make a province: one seed, one world.

Promises: the same seed, persons and dates give the same data, byte for byte in content; a million orders in seconds.
Refuses:  fewer than one person, or fewer than no nights (Usage).
Not here: serving it (servers).
"""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipelines.errors import Usage
from pipelines.province import bank, feeds, papers, pay, permission, welfare, work
from pipelines.province.people import Dates, make_roster
from pipelines.province.truth import write_truth
from pipelines.province.world import World

ROOMS = ("roster", "orders", "lines", "books", "workers", "vehicles", "credentials", "accounts", "persons")
ROOMS += ("contributions", "consents", "faults")


def generate(*, seed: int, persons: int, first_date: date, nights: int, out: Path) -> World:
    """Write a world of so many persons below `out`.

    first_date: business date of the first load, which shows 13 months; then so many further nights.
    """
    if persons < 1 or nights < 0:
        raise Usage("an empty province", why="persons is at least 1, nights at least 0")
    dates = Dates.of(first_date, nights)
    streams = np.random.SeedSequence(seed).spawn(len(ROOMS))
    rng = {name: np.random.default_rng(stream) for name, stream in zip(ROOMS, streams, strict=True)}
    roster = make_roster(rng["roster"], persons=persons, dates=dates)
    orders = work.make_orders(rng["orders"], roster=roster, dates=dates)
    lines = pay.make_lines(rng["lines"], orders, roster=roster, dates=dates)
    settlements = pay.make_settlements(lines, roster=roster, dates=dates)
    books = bank.make_books(rng["books"], roster=roster, lines=lines, settlements=settlements, dates=dates)
    consents = permission.consents(rng["consents"], roster=roster, dates=dates)
    refs = bank.bank_refs(books, settlements)
    tables: dict[str, list[pa.Table]] = {
        "platform_worker": [papers.worker_table(rng["workers"], roster=roster, dates=dates)],
        "platform_vehicle": [papers.vehicle_table(rng["vehicles"], roster=roster, dates=dates)],
        "platform_credential": [papers.credential_table(rng["credentials"], roster=roster, dates=dates)],
        "platform_order": [work.order_table(orders, roster=roster, dates=dates)],
        "platform_earning_line": [pay.line_table(lines, orders, roster=roster)],
        "platform_settlement": [pay.settlement_table(settlements, refs, roster=roster)],
        "consent": [permission.consent_table(consents)],
        "si_person": [welfare.person_table(rng["persons"], roster=roster, dates=dates)],
        "si_contribution_month": [welfare.contribution_table(rng["contributions"], roster=roster, dates=dates)],
        "occ_injury_order_day": [welfare.injury_table(orders, roster=roster, dates=dates)],
        "si_param": [welfare.param_table(dates=dates)],
        "bank_account": [bank.account_table(rng["accounts"], roster=roster, dates=dates)],
        "bank_txn": [bank.txn_table(books)],
        "bank_obligation": [bank.obligation_table(books, dates=dates)],
    }
    rows = {feed: feeds.write(feed, tables[feed], out / "feeds") for feed in feeds.FEEDS}
    write_truth(out, roster=roster, orders=orders, consents=consents, dates=dates)
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
