"""Orders: who worked on which day, how many orders, when, how far and for how much.

Promises: no Python loop over orders; instants of an order never decrease; speed below 120 km/h; an order that
          runs past midnight near the end of the world has two versions, matched and completed; nothing is shown
          after the last business date.
Refuses:  nothing.
Not here: what the worker earns by it (pay), labelled faults (faults).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.province import feeds
from pipelines.province.people import PLATFORMS, Account, Dates, Person

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
EPOCH = date(1970, 1, 1)
SECTORS = ("trip", "taxi", "instant_delivery", "express", "intracity_freight", "longhaul_freight")
PILOT_SECTORS = frozenset({"trip", "instant_delivery", "intracity_freight"})
PILOT_FROM = date(2026, 7, 1)
# Per sector, in the order of SECTORS: shift start and length (h), median distance (m), speed (m/s), spread.
SHIFT_START_H = np.array([8.0, 7.0, 9.5, 8.0, 8.0, 6.0])
SHIFT_LENGTH_H = np.array([11.0, 12.0, 11.0, 10.0, 9.0, 8.0])
DISTANCE_M = np.array([6_500, 5_200, 2_300, 3_000, 14_000, 190_000])
SPEED_MPS = np.array([8.0, 7.5, 4.5, 4.0, 9.0, 17.0])
ORDER_TYPE = ("express", "street", "food", "parcel", "dedicated", "waybill")
PREFIX = dict(zip(PLATFORMS, ("RA", "RB", "TX", "FA", "FB", "EX", "GA", "GB"), strict=True))


@dataclass
class Orders:
    """All orders as columns; seconds are Shanghai wall-clock seconds. missing instants are 0."""

    account: Ints
    sector: npt.NDArray[np.int64]
    order_id: Any  # Arrow text
    created: Ints
    accepted: Ints
    picked: Ints
    completed: Ints
    cancelled: Ints
    is_completed: Flags
    is_disputed: Flags
    task_count: Ints
    distance_m: Ints
    duration_s: Ints
    wait_s: Ints
    paid_fen: Ints
    cash_fen: Ints
    discount_fen: Ints
    region: npt.NDArray[np.int64]
    updated: Ints
    booked: Ints  # when its base pay is booked
    is_late: Flags  # shown weeks after the work (a labelled fault)

    def __len__(self) -> int:
        return len(self.account)

    @property
    def service_day(self) -> Ints:
        return self.accepted // feeds.DAY_S


def day_number(day: date) -> int:
    return (day - EPOCH).days


def all_accounts(roster: Sequence[Person]) -> list[Account]:
    return [a for p in roster for a in p.accounts]


def make_orders(rng: np.random.Generator, *, roster: Sequence[Person], dates: Dates) -> Orders:
    """Every order that the world shows up to its last business date."""
    accounts = all_accounts(roster)
    counts = _orders_per_day(rng, roster, accounts, dates)
    cell = np.repeat(np.arange(counts.size), counts.ravel())
    account, day = cell // dates.days, cell % dates.days
    starts = np.cumsum(counts.ravel()) - counts.ravel()
    place = (np.arange(len(cell)) - starts[cell] + rng.random(len(cell))) / counts.ravel()[cell]
    sector = np.array([SECTORS.index(a.sector) for a in accounts])[account]
    late = np.array([p.has("night_shift") for p in roster])[np.array([a.person for a in accounts])][account]
    start_h = np.where(late, 17.5, SHIFT_START_H[sector])
    length_h = np.where(late, 9.0, SHIFT_LENGTH_H[sector])
    begin = (day_number(dates.history) + day) * feeds.DAY_S + ((start_h + place * length_h) * 3600).astype(
        np.int64
    )
    orders = _fill(rng, account, sector, begin, accounts)
    last = (day_number(dates.last) + 1) * feeds.DAY_S
    orders = _numbered(_only(orders, orders.accepted + 5 < last), accounts)
    _delay_some(rng, orders, roster, accounts, dates)
    return orders


def _delay_some(
    rng: np.random.Generator, orders: Orders, roster: Sequence[Person], accounts: Sequence[Account], dates: Dates
) -> None:
    """Let the platform report a few orders two to five weeks late, in each further night (E9, S10)."""
    ordinary = np.array([not roster[a.person].is_scenario for a in accounts])
    age = day_number(dates.first) - orders.service_day
    pool = np.flatnonzero(orders.is_completed & (age >= 14) & (age <= 35) & ordinary[orders.account])
    if not len(pool):  # a very small province has scenarios only
        pool = np.flatnonzero(orders.is_completed & (age >= 14) & (age <= 35))
    each = 1 if len(roster) < 100 else 4
    for night in dates.business_dates[1:]:
        for i in rng.choice(pool, size=each, replace=False) if len(pool) >= each else ():
            orders.is_late[i] = True
            orders.updated[i] = day_number(night) * feeds.DAY_S + 11 * 3600 + int(rng.integers(3600))
            orders.booked[i] = orders.updated[i] - 60


def _orders_per_day(
    rng: np.random.Generator, roster: Sequence[Person], accounts: Sequence[Account], dates: Dates
) -> Ints:
    """(accounts, days) -> how many orders. Scenarios keep their rhythm; ordinary people are also ill and idle."""
    start = day_number(dates.history)
    days = np.arange(dates.days)
    months = np.array([(date.fromordinal(EPOCH.toordinal() + start + int(d))) for d in days])
    month_no = np.array([m.year * 12 + m.month for m in months])
    festival = np.array([date(2026, 2, 15) <= m <= date(2026, 2, 22) for m in months])
    nights = days >= (day_number(dates.first) - start)
    counts = np.zeros((len(accounts), dates.days), dtype=np.int64)
    for a in accounts:
        person = roster[a.person]
        archetype = person.archetype
        factors = np.array(archetype.factors)
        # Even months high, odd months low: the six months before any business date hold three of each.
        rate = a.rate * factors[month_no % len(factors)]
        drawn = np.maximum(rng.poisson(rate), (rate > 0).astype(np.int64))
        works = (days + a.index * 3) % archetype.of < archetype.work
        if person.is_scenario:
            works = works | (nights & (archetype.stopped is None))
            drawn = np.where(nights, np.maximum(drawn, 3), drawn)
        else:
            works = works & (rng.random(dates.days) > np.where(festival, 0.6, 0.05))
        works = works & (days >= day_number(a.first) - start)
        if a.last is not None:
            works = works & (days <= day_number(a.last) - start)
        counts[a.index] = np.where(works, drawn, 0)
    return counts


def _fill(
    rng: np.random.Generator, account: Ints, sector: Ints, begin: Ints, accounts: Sequence[Account]
) -> Orders:
    """Times, distances and prices of orders whose beginning is known."""
    n = len(account)
    distance = (DISTANCE_M[sector] * np.exp(rng.normal(0.0, 0.45, n))).astype(np.int64) + 300
    speed = SPEED_MPS[sector] * rng.uniform(0.7, 1.2, n)
    duration = (distance / speed).astype(np.int64) + 60
    wait = rng.integers(30, 420, n)
    accepted = begin + rng.integers(3, 40, n)
    picked = accepted + 60 + wait
    completed = picked + duration
    fate = rng.random(n)
    is_completed, is_disputed = fate >= 0.045, (fate >= 0.04) & (fate < 0.045)
    is_cancelled = fate < 0.04
    tasks = np.where(sector == 3, rng.integers(4, 12, n), 1)
    paid = _price(rng, sector, distance, duration, tasks)
    is_cash = (sector == 1) & (rng.random(n) < 0.3)
    cancelled = np.where(is_cancelled, accepted + rng.integers(40, 400, n), 0)
    picked, completed = np.where(is_cancelled, 0, picked), np.where(is_cancelled, 0, completed)
    paid = np.where(is_cancelled, 0, paid)
    return Orders(
        account=account,
        sector=sector,
        order_id=pa.nulls(n, pa.string()),
        created=begin,
        accepted=accepted,
        picked=picked,
        completed=completed,
        cancelled=cancelled,
        is_completed=is_completed,
        is_disputed=is_disputed,
        task_count=tasks,
        distance_m=distance,
        duration_s=duration,
        wait_s=wait,
        paid_fen=paid,
        cash_fen=np.where(is_cash, paid, 0),
        discount_fen=np.where(rng.random(n) < 0.15, rng.integers(50, 300, n), 0),
        region=np.array([a.index for a in accounts])[account],
        updated=np.where(is_cancelled, cancelled + 5, completed + rng.integers(2, 90, n)),
        booked=completed + 1,
        is_late=np.zeros(n, dtype=bool),
    )


def _price(rng: np.random.Generator, sector: Ints, distance: Ints, duration: Ints, tasks: Ints) -> Ints:
    """What the customer pays, fen: fare for trips, fee for deliveries, freight by the kilometre."""
    km, minutes = distance / 1000, duration / 60
    fen = np.select(
        [sector == 0, sector == 1, sector == 2, sector == 3, sector == 4],
        [
            700 + 190 * km + 28 * minutes,
            600 + 200 * np.maximum(km - 2, 0) + 20 * minutes,
            380 + 60 * km + rng.uniform(0, 140, len(km)),
            tasks * rng.uniform(100, 125, len(km)),
            5_500 + 420 * km,
        ],
        default=9_000 + 340 * km,
    )
    rounded: Ints = np.maximum(fen, 100).astype(np.int64)
    return rounded


def _only(orders: Orders, keep: Flags) -> Orders:
    """The orders that are kept."""
    return Orders(**{name: _pick(value, keep) for name, value in vars(orders).items()})


def _pick(value: Any, keep: Flags) -> Any:
    return value.filter(pa.array(keep)) if isinstance(value, pa.Array) else value[keep]


def _numbered(orders: Orders, accounts: Sequence[Account]) -> Orders:
    """Give each order its platform's number: prefix, day, running number. No two are alike."""
    days: Any = pc.replace_substring(feeds.date_text(orders.service_day), "-", "")
    running = feeds.numbered([PREFIX[a.platform] for a in accounts], orders.account, 8)
    orders.order_id = pc.binary_join_element_wise(running, days, "")
    return orders


def order_table(orders: Orders, *, roster: Sequence[Person], dates: Dates) -> pa.Table:
    """All versions of all orders, as the platforms send them."""
    last = (day_number(dates.last) + 1) * feeds.DAY_S
    recent = (day_number(dates.first) - 2) * feeds.DAY_S
    over_midnight = (
        ~orders.is_late
        & (orders.updated // feeds.DAY_S != orders.accepted // feeds.DAY_S)
        & (orders.accepted >= recent)
    )
    shown = orders.updated < last
    under_way = _only(orders, over_midnight | ~shown)
    parts = [
        _version(_only(orders, shown), roster, dates, over_midnight[shown]),
        _version(under_way, roster, dates, None),
    ]
    return pa.concat_tables(parts)


def _version(orders: Orders, roster: Sequence[Person], dates: Dates, second: Flags | None) -> pa.Table:
    """One version of each order: its end (second: where an earlier version was shown), or, if None, under way."""
    ended = second is not None
    accounts = all_accounts(roster)
    by_account = orders.account
    done = orders.is_completed & ended
    gone = (orders.cancelled > 0) & ended
    status = np.select([done, gone, orders.is_disputed & ended], ["completed", "cancelled", "disputed"], "matched")
    no_pay = ~done
    pilot = np.isin(orders.sector, [SECTORS.index(s) for s in PILOT_SECTORS])
    covered = pilot & (orders.service_day >= day_number(PILOT_FROM))
    updated = orders.updated if ended else orders.accepted + 5
    columns = {
        "platform_code": feeds.look_up([a.platform for a in accounts], by_account),
        "order_id": orders.order_id,
        "segment_no": "0000",
        "platform_worker_id": feeds.look_up([a.worker_id for a in accounts], by_account),
        "plate_no": feeds.look_up([a.plate or None for a in accounts], by_account),
        "sector": feeds.look_up(SECTORS, orders.sector),
        "order_type": feeds.look_up(ORDER_TYPE, orders.sector),
        "region_code": feeds.look_up([roster[a.person].region for a in accounts], by_account),
        "created_at": feeds.instant_text(orders.created),
        "accepted_at": feeds.instant_text(orders.accepted),
        "picked_at": feeds.instant_text(orders.picked, (orders.picked == 0) | (not ended)),
        "completed_at": feeds.instant_text(orders.completed, ~done),
        "cancelled_at": feeds.instant_text(orders.cancelled, ~gone),
        "cancel_by": pa.array(np.array(["1", "2", "3"])[orders.wait_s % 3].tolist(), mask=~gone),
        "cancel_type": pa.array(np.array(["1", "2", "3", "4", "5"])[orders.wait_s % 5].tolist(), mask=~gone),
        "status": pa.array(status.tolist()),
        "task_count": orders.task_count,
        "distance_m": pa.array(orders.distance_m, mask=gone | (not ended)),
        "duration_s": pa.array(orders.duration_s, mask=gone | (not ended)),
        "wait_s": pa.array(orders.wait_s, mask=gone | (not ended)),
        "customer_paid_fen": pa.array(orders.paid_fen, mask=no_pay),
        "list_price_fen": pa.array(orders.paid_fen + orders.discount_fen, mask=no_pay),
        "cash_fen": pa.array(orders.cash_fen, mask=no_pay),
        "electronic_fen": pa.array(orders.paid_fen - orders.cash_fen, mask=no_pay),
        "discount_fen": pa.array(orders.discount_fen, mask=no_pay),
        "pay_state": pa.array(np.where(done, "1", "0").tolist()),
        "paid_at": feeds.instant_text(orders.completed, ~done),
        "occ_injury_covered": pa.array(covered, mask=~pilot),
        "op": pa.array(np.where(second, "U", "I").tolist()) if second is not None else "I",
    }
    return feeds.table("platform_order", columns, updated)


def late_rows(orders: Orders, *, roster: Sequence[Person]) -> list[dict[str, object]]:
    """Keys of the orders that were reported weeks late, with `at`, when they were."""
    accounts = all_accounts(roster)
    return [
        {
            "platform_code": accounts[int(orders.account[i])].platform,
            "order_id": orders.order_id[int(i)].as_py(),
            "segment_no": "0000",
            "platform_worker_id": accounts[int(orders.account[i])].worker_id,
            "at": int(orders.updated[i]),
        }
        for i in np.flatnonzero(orders.is_late)
    ]
