"""What the work brings: earning lines per order, day and week, and the settlements that add them up.

Promises: a settlement's net is, to the fen, the sum of its account's lines booked from period_start to period_end;
          a reversal names an existing line and takes back exactly its amount; no Python loop over lines.
Refuses:  nothing.
Not here: the money's arrival (bank).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.province import feeds
from pipelines.province.people import PLATFORMS, Account, Dates, Person
from pipelines.province.work import PREFIX, SECTORS, Flags, Ints, Orders, all_accounts, day_number

LINE_TYPES = feeds.words(
    "base_pay peak_bonus tip incentive platform_fee vehicle_rent insurance_deduct cash_collected toll_reimburse "
    "refund clawback penalty"
)
CYCLE = dict(
    zip(PLATFORMS, ("daily", "weekly", "weekly", "daily", "weekly", "monthly", "weekly", "monthly"), strict=True)
)
FEE_BP = np.array([2200, 300, 0, 0, 600, 500])  # by sector: the platform's share of a day's gross
RENT_FEN = {"trip": 9_000, "taxi": 12_000}  # per working day, of those who lease
MEMO = {"refund": "顾客退款", "clawback": "售后追扣", "penalty": "超时扣款", "toll_reimburse": "过路费垫付"}


@dataclass
class Lines:
    """Earning lines as columns. order, reverses: row of the order or line, -1 for none."""

    account: Ints
    kind: Ints
    amount_fen: Ints
    service_day: Ints
    booked: Ints
    order: Ints
    reverses: Ints

    def __len__(self) -> int:
        return len(self.account)

    @property
    def booked_day(self) -> Ints:
        return self.booked // feeds.DAY_S

    @property
    def updated(self) -> Ints:
        return self.booked + 20


@dataclass
class Settlements:
    """Settlements as columns; net of one that is not positive stays unpaid."""

    account: Ints
    first_day: Ints
    last_day: Ints
    gross_fen: Ints
    net_fen: Ints
    settled: Ints
    paid: Ints  # when it was paid; 0: not yet, or never

    def __len__(self) -> int:
        return len(self.account)


def leases(account: Account) -> bool:
    """Whether the account's vehicle is rented: every third car, every taxi."""
    return account.sector == "taxi" or (account.sector == "trip" and account.index % 3 == 0)


def make_lines(rng: np.random.Generator, orders: Orders, *, roster: Sequence[Person], dates: Dates) -> Lines:
    """All lines that the world shows."""
    accounts = all_accounts(roster)
    end = (day_number(dates.last) + 1) * feeds.DAY_S
    done = np.flatnonzero(orders.is_completed & (orders.updated < end))
    base = _of_orders(orders, done, "base_pay", orders.paid_fen[done], orders.booked[done])
    sector = orders.sector[done]
    rides_or_food = (sector == 0) | (sector == 2)
    peak = done[rides_or_food & (rng.random(len(done)) < 0.12)]
    tip = done[rides_or_food & (rng.random(len(done)) < 0.04)]
    cash = done[orders.cash_fen[done] > 0]
    toll = done[(sector == 5) & (rng.random(len(done)) < 0.5)]
    parts = [
        base,
        _of_orders(orders, peak, "peak_bonus", rng.integers(50, 300, len(peak)), orders.booked[peak]),
        _of_orders(orders, tip, "tip", rng.integers(1, 9, len(tip)) * 100, orders.booked[tip] + 300),
        _of_orders(orders, cash, "cash_collected", -orders.cash_fen[cash], orders.booked[cash]),
        _of_orders(
            orders, toll, "toll_reimburse", rng.integers(30, 150, len(toll)) * 100, orders.booked[toll] + 60
        ),
        _daily(base, accounts, orders),
        _incentives(rng, base, accounts),
        _reversals(rng, base, accounts),
    ]
    lines = Lines(**{n: np.concatenate([getattr(p, n) for p in parts]) for n in vars(base)})
    shown = lines.updated < end
    # Only lines at the tail of the parts are cut, and a reversal's original is older: row numbers must not move.
    order = np.cumsum(shown) - 1
    kept = Lines(**{n: v[shown] for n, v in vars(lines).items()})
    kept.reverses = np.where(kept.reverses >= 0, order[np.maximum(kept.reverses, 0)], -1)
    return kept


def _of_orders(orders: Orders, rows: Ints, kind: str, amount: Ints, booked: Ints) -> Lines:
    return Lines(
        orders.account[rows],
        np.full(len(rows), LINE_TYPES.index(kind)),
        amount.astype(np.int64),
        orders.service_day[rows],
        booked,
        rows,
        np.full(len(rows), -1),
    )


def _loose(account: Ints, kind: str, amount: Ints, day: Ints, booked: Ints) -> Lines:
    """Lines that belong to a day or week, not to an order."""
    none = np.full(len(account), -1)
    return Lines(account, np.full(len(account), LINE_TYPES.index(kind)), amount, day, booked, none, none)


def _daily(base: Lines, accounts: Sequence[Account], orders: Orders) -> Lines:
    """Platform's share, rent and day insurance, once per account and day with pay, just before midnight."""
    cell = base.account * 100_000 + base.booked_day
    cells, inverse = np.unique(cell, return_inverse=True)
    gross = np.bincount(inverse, weights=base.amount_fen).astype(np.int64)
    account, day = cells // 100_000, cells % 100_000
    booked = (day + 1) * feeds.DAY_S - 120
    sector = np.array([SECTORS.index(a.sector) for a in accounts])[account]
    rent = np.array([RENT_FEN.get(a.sector, 0) if leases(a) else 0 for a in accounts])[account]
    # Nobody pays more rent on a day than half of what it brought.
    rent = np.minimum(rent, gross // 2)
    insured = np.array([a.platform == "food02" for a in accounts])[account] & (gross > 2_000)
    fee = gross * FEE_BP[sector] // 10_000
    parts = [
        _loose(account[fee > 0], "platform_fee", -fee[fee > 0], day[fee > 0], booked[fee > 0]),
        _loose(account[rent > 0], "vehicle_rent", -rent[rent > 0], day[rent > 0], booked[rent > 0]),
        _loose(
            account[insured], "insurance_deduct", np.full(int(insured.sum()), -300), day[insured], booked[insured]
        ),
    ]
    return Lines(**{n: np.concatenate([getattr(p, n) for p in parts]) for n in vars(base)})


def _incentives(rng: np.random.Generator, base: Lines, accounts: Sequence[Account]) -> Lines:
    """A weekly reward for riders with a hundred orders and more."""
    rider = np.array([a.sector == "instant_delivery" for a in accounts])[base.account]
    week_end = _week_end(base.booked_day[rider])
    cells, n = np.unique(base.account[rider] * 100_000 + week_end, return_counts=True)
    cells, n = cells[n >= 100], n[n >= 100]
    day = cells % 100_000
    return _loose(
        cells // 100_000, "incentive", n * rng.integers(25, 60, len(n)), day, (day + 1) * feeds.DAY_S - 100
    )


def _reversals(rng: np.random.Generator, base: Lines, accounts: Sequence[Account]) -> Lines:
    """Refunds within days and clawbacks weeks later, of whole base lines; and penalties, which reverse nothing."""
    rows = np.flatnonzero(rng.random(len(base)) < 0.0015)
    is_late = rng.random(len(rows)) < 0.4
    days = np.where(is_late, rng.integers(20, 50, len(rows)), rng.integers(1, 6, len(rows)))
    booked = base.booked[rows] + days * feeds.DAY_S
    kind = np.where(is_late, LINE_TYPES.index("clawback"), LINE_TYPES.index("refund"))
    taken = Lines(
        base.account[rows], kind, -base.amount_fen[rows], base.service_day[rows], booked, base.order[rows], rows
    )
    late = np.flatnonzero(rng.random(len(base)) < 0.001)
    fines = _loose(
        base.account[late],
        "penalty",
        -rng.integers(1, 4, len(late)) * 50,
        base.service_day[late],
        base.booked[late] + 900,
    )
    return Lines(**{n: np.concatenate([getattr(p, n) for p in (taken, fines)]) for n in vars(base)})


def _week_end(day: Ints) -> Ints:
    """The Sunday on or after a day (1970-01-04 was one)."""
    return day + (3 - day) % 7


def _month_edges(day: Ints) -> tuple[Ints, Ints]:
    months = day.astype("datetime64[D]").astype("datetime64[M]")
    first = months.astype("datetime64[D]").astype(np.int64)
    return first, (months + 1).astype("datetime64[D]").astype(np.int64) - 1


def make_settlements(lines: Lines, *, roster: Sequence[Person], dates: Dates) -> Settlements:
    """One per account and period that has ended before the last business date."""
    accounts = all_accounts(roster)
    cycle = np.array([("daily", "weekly", "monthly").index(CYCLE[a.platform]) for a in accounts])[lines.account]
    day = lines.booked_day
    period_end = np.select([cycle == 0, cycle == 1], [day, _week_end(day)], _month_edges(day)[1])
    cells, inverse = np.unique(lines.account * 100_000 + period_end, return_inverse=True)
    account, last_day = cells // 100_000, cells % 100_000
    gross = np.bincount(inverse, weights=np.maximum(lines.amount_fen, 0)).astype(np.int64)
    net = np.bincount(inverse, weights=lines.amount_fen).astype(np.int64)
    by_account = np.array([("daily", "weekly", "monthly").index(CYCLE[a.platform]) for a in accounts])[account]
    first_day = np.select([by_account == 0, by_account == 1], [last_day, last_day - 6], _month_edges(last_day)[0])
    settled = (last_day + 1) * feeds.DAY_S + 9 * 3600 + account * 7 % 3000
    paid = settled + np.where(by_account == 0, 0, feeds.DAY_S)
    end = (day_number(dates.last) + 1) * feeds.DAY_S
    paid = np.where((net > 0) & (paid < end), paid, 0)
    whole = Settlements(account, first_day, last_day, gross, net, settled, paid)
    return Settlements(**{n: v[settled < end] for n, v in vars(whole).items()})


def line_ids(lines: Lines, accounts: Sequence[Account]) -> Any:
    """The platform's number of each line."""
    return feeds.numbered(["L" + PREFIX[a.platform] for a in accounts], lines.account, 9)


def line_table(lines: Lines, orders: Orders, *, roster: Sequence[Person]) -> pa.Table:
    """All lines, as the platforms send them."""
    accounts = all_accounts(roster)
    ids = line_ids(lines, accounts)
    by_account = lines.account
    columns = {
        "platform_code": feeds.look_up([a.platform for a in accounts], by_account),
        "line_id": ids,
        "platform_worker_id": feeds.look_up([a.worker_id for a in accounts], by_account),
        "order_id": orders.order_id.take(pa.array(lines.order, mask=lines.order < 0)),
        "line_type": feeds.look_up(LINE_TYPES, lines.kind),
        "amount_fen": lines.amount_fen,
        "service_date": feeds.date_text(lines.service_day),
        "booked_at": feeds.instant_text(lines.booked),
        "reverses_line_id": ids.take(pa.array(lines.reverses, mask=lines.reverses < 0)),
        "memo": feeds.look_up([MEMO.get(k) for k in LINE_TYPES], lines.kind),
        "op": "I",
    }
    return feeds.table("platform_earning_line", columns, lines.updated)


def settlement_ids(settlements: Settlements, accounts: Sequence[Account]) -> Any:
    """The platform's number of each settlement."""
    return feeds.numbered(["S" + PREFIX[a.platform] for a in accounts], settlements.account, 7)


def settlement_table(settlements: Settlements, bank_refs: Any, *, roster: Sequence[Person]) -> pa.Table:
    """Settlements, as the platforms send them: those paid a day later have a pending version first."""
    waits = settlements.paid != settlements.settled
    pending = _settlement_version(settlements, bank_refs, waits, roster, is_paid=False)
    return pa.concat_tables(
        [pending, _settlement_version(settlements, bank_refs, settlements.paid > 0, roster, is_paid=True)]
    )


def _settlement_version(
    settlements: Settlements, bank_refs: Any, rows: Flags, roster: Sequence[Person], *, is_paid: bool
) -> pa.Table:
    accounts = all_accounts(roster)
    ids = settlement_ids(settlements, accounts).filter(pa.array(rows))
    s = Settlements(**{n: v[rows] for n, v in vars(settlements).items()})
    by_account = s.account
    channel = {"single": "bank", "split": "bank", "combined": "wallet", "agency": "agency"}
    updated = s.paid if is_paid else s.settled
    columns = {
        "platform_code": feeds.look_up([a.platform for a in accounts], by_account),
        "settlement_id": ids,
        "platform_worker_id": feeds.look_up([a.worker_id for a in accounts], by_account),
        "period_start": feeds.date_text(s.first_day),
        "period_end": feeds.date_text(s.last_day),
        "cycle": feeds.look_up([CYCLE[a.platform] for a in accounts], by_account),
        "gross_fen": s.gross_fen,
        "deductions_fen": s.gross_fen - s.net_fen,
        "net_fen": s.net_fen,
        "paid_at": feeds.instant_text(s.paid) if is_paid else None,
        "pay_channel": feeds.look_up([channel[a.payout] for a in accounts], by_account),
        "payee_account_no": feeds.look_up([roster[a.person].card for a in accounts], by_account),
        "bank_ref": bank_refs.filter(pa.array(rows)) if is_paid else None,
        "status": "paid" if is_paid else "pending",
        "op": pa.array(np.where(s.paid != s.settled, "U", "I").tolist()) if is_paid else "I",
    }
    return feeds.table("platform_settlement", columns, updated)
