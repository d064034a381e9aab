"""The banks' books: accounts, obligations, and every movement, payouts of the platforms among them.

Promises: each paid settlement of a person with a bank account arrives one or two days later from the platform's
          payer, whole, in two parts, or several together, through an agency for some;
          balances follow from the movements; amounts are positive.
Refuses:  nothing.
Not here: faults in the banks' files (faults).
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.province import feeds
from pipelines.province.pay import LINE_TYPES, Lines, Settlements, _week_end
from pipelines.province.people import PLATFORMS, Account, Dates, Person
from pipelines.province.work import Ints, all_accounts, day_number

PLATFORM_CSV = Path(__file__).resolve().parents[2] / "schemas" / "reference" / "platform.csv"
AGENCIES = (("湖南众合人力资源有限公司", "91430100MA4T30015N"), ("长沙同心劳务服务有限公司", "91430100MA4T30023H"))
EMPLOYER = ("星沙物业管理有限公司", "91430100MA4T3004X4")
EXCLUDED = ("toll_reimburse", "cash_collected")  # no income: DOMAIN B2, net_income_m
# (channel, counterparty, uscc, summary, purpose): what a movement can be
LIVING = (
    ("pos", "步步高超市", "", "消费", "living"),
    ("third_party_pay", "财付通", "", "快捷支付", "living"),
    ("third_party_pay", "支付宝", "", "快捷支付 加油充电", "energy"),
    ("online", "房东", "", "房租", "rent"),
)
FAMILY = ("online", "家人", "", "转账", "family")
CASH = ("atm", "", "", "现金存入", "cash_deposit")
WAGE = ("payroll", EMPLOYER[0], EMPLOYER[1], "代发工资", "wage")
REPAY = ("clearing", "", "", "贷款还款", "loan_repay")
BOUNCED = ("clearing", "", "", "余额不足 冲正", "reversal")


@dataclass
class Movements:
    """Bank movements as columns. card: row of the card list; signed_fen: credit positive; kind: row of kinds."""

    card: Ints
    posted: Ints
    signed_fen: Ints
    kind: Ints
    settlement: Ints  # row of the settlement that it pays alone, -1 otherwise
    reverses: Ints  # row of the movement that it reverses, -1 for none

    def __len__(self) -> int:
        return len(self.card)


@dataclass
class Books:
    """What the banks hold. kinds: (channel, counterparty, uscc, summary, purpose) by Movements.kind."""

    cards: list[tuple[str, str]]
    movements: Movements
    kinds: list[tuple[str, str, str, str, str]]
    obligations: list[dict[str, Any]]

    def txn_ids(self) -> Any:
        """The banks' numbers of the movements."""
        return feeds.numbered([bank for bank, _ in self.cards], self.movements.card, 10)


def payers() -> dict[str, tuple[str, str]]:
    """platform_code -> (name, credit code) of who pays its workers."""
    with PLATFORM_CSV.open(encoding="utf-8") as source:
        return {r["platform_code"]: (r["name_zh"], r["payer_uscc"]) for r in csv.DictReader(source)}


def make_books(
    rng: np.random.Generator, *, roster: Sequence[Person], lines: Lines, settlements: Settlements, dates: Dates
) -> Books:
    """All movements up to the last business date."""
    banked = [p for p in roster if not (p.has("no_bank") or p.has("no_records"))]
    cards = list(dict.fromkeys(c for p in banked for c in p.cards))
    place = {number: i for i, (_, number) in enumerate(cards)}
    paid = payers()
    payout_kinds = [("clearing", *paid[p], "服务费结算", "platform_payout") for p in PLATFORMS]
    payout_kinds += [("clearing", *a, "劳务报酬 代发", "platform_payout") for a in AGENCIES]
    kinds = [*payout_kinds, *LIVING, FAMILY, CASH, WAGE, REPAY, BOUNCED]
    accounts = all_accounts(roster)
    card_of = np.array([place.get(roster[a.person].card, -1) for a in accounts])
    monthly = monthly_disposable(lines, roster=roster)
    obligations = _obligations(rng, banked, monthly, dates)
    own = np.array([place[p.cards[0][1]] for p in banked])
    income = np.array([np.mean(list(monthly.get(p.index, {0: 300_000}).values())) for p in banked])
    dues = {o["person"]: o["monthly_due_fen"] for o in obligations}
    parts = [
        _payouts(rng, settlements, accounts, card_of),
        _living(rng, own, income, kinds, dates),
        _other_inflows(rng, own, kinds, dates),
        _repayments(own, [dues.get(p.index, 0) for p in banked], kinds, dates),
    ]
    whole = Movements(**{n: np.concatenate([getattr(p, n) for p in parts]) for n in vars(parts[0])})
    whole = _bounce_some(rng, whole, kinds)
    shown = whole.posted + 60 < (day_number(dates.last) + 1) * feeds.DAY_S
    order = np.cumsum(shown) - 1
    kept = Movements(**{n: v[shown] for n, v in vars(whole).items()})
    kept.reverses = np.where(kept.reverses >= 0, order[np.maximum(kept.reverses, 0)], -1)
    return Books(cards, kept, kinds, obligations)


def _payouts(
    rng: np.random.Generator, s: Settlements, accounts: Sequence[Account], card_of: npt.NDArray[np.int64]
) -> Movements:
    """Paid settlements as they arrive."""
    mode = np.array([("single", "combined", "split", "agency").index(a.payout) for a in accounts])[s.account]
    rows = np.flatnonzero((s.paid > 0) & (card_of[s.account] >= 0))
    arrives = (
        (s.paid // feeds.DAY_S + 1 + s.account % 2) * feeds.DAY_S + 9 * 3600 + rng.integers(0, 6 * 3600, len(s))
    )
    platform = np.array([PLATFORMS.index(a.platform) for a in accounts])[s.account]
    kind = np.where(mode == 3, len(PLATFORMS) + s.account % 2, platform)
    whole = rows[(mode[rows] == 0) | (mode[rows] == 3)]
    split = rows[mode[rows] == 2]
    first = s.net_fen[split] * 3 // 5
    together = rows[mode[rows] == 1]
    week = s.account[together] * 100_000 + _week_end(s.paid[together] // feeds.DAY_S)
    cells, inverse = np.unique(week, return_inverse=True)
    example = np.zeros(len(cells), dtype=np.int64)
    example[inverse] = together  # the latest of the week
    summed = np.bincount(inverse, weights=s.net_fen[together], minlength=len(cells)).astype(np.int64)
    # The worker draws his wallet on Monday, for the week that ended on Sunday.
    monday = (cells % 100_000 + 1) * feeds.DAY_S + 10 * 3600 + cells // 100_000 % 3600
    row = np.concatenate([whole, split, split, example])
    amount = np.concatenate([s.net_fen[whole], first, s.net_fen[split] - first, summed])
    posted = np.concatenate([arrives[whole], arrives[split], arrives[split] + 95, monday])
    alone = np.concatenate([whole, np.full(2 * len(split) + len(cells), -1)])
    return Movements(card_of[s.account[row]], posted, amount, kind[row], alone, np.full(len(row), -1))


def _living(
    rng: np.random.Generator, own: Ints, income: npt.NDArray[np.float64], kinds: list[Any], dates: Dates
) -> Movements:
    """Six debits a week, three quarters of a person's mean income in all."""
    weeks = dates.days // 7 + 1
    person = np.repeat(np.arange(len(own)), weeks * 6)
    nth = np.tile(np.arange(weeks * 6), len(own))
    day = day_number(dates.history) + nth // 6 * 7 + nth % 6 + person % 2
    amount = np.maximum(income[person] * 0.75 / 26 * rng.uniform(0.4, 1.6, len(person)), 500).astype(np.int64)
    posted = day * feeds.DAY_S + rng.integers(8 * 3600, 21 * 3600, len(person))
    kind = kinds.index(LIVING[0]) + rng.integers(0, len(LIVING), len(person))
    return _plain(own[person], posted, -amount, kind)


def _plain(card: Ints, posted: Ints, signed: Ints, kind: Ints) -> Movements:
    none = np.full(len(card), -1)
    return Movements(card, posted, signed, kind, none, none)


def _other_inflows(rng: np.random.Generator, own: Ints, kinds: list[Any], dates: Dates) -> Movements:
    """What looks like income and is none, or a second job: family, cash, a payroll (E16)."""
    parts = []
    for kind, share, every, low, high in (
        (FAMILY, 0.25, 31, 30_000, 200_000),
        (CASH, 0.2, 17, 20_000, 120_000),
        (WAGE, 0.06, 30, 180_000, 260_000),
    ):
        who = own[rng.random(len(own)) < share]
        times = dates.days // every
        card = np.repeat(who, times)
        day = day_number(dates.history) + np.tile(np.arange(times), len(who)) * every + card % every
        day = np.minimum(day, day_number(dates.last))
        amount = rng.integers(low // 100, high // 100, len(card)) * 100
        posted = day * feeds.DAY_S + rng.integers(9 * 3600, 20 * 3600, len(card))
        parts.append(_plain(card, posted, amount, np.full(len(card), kinds.index(kind))))
    return Movements(**{n: np.concatenate([getattr(p, n) for p in parts]) for n in vars(parts[0])})


def _repayments(own: Ints, dues: list[int], kinds: list[Any], dates: Dates) -> Movements:
    """The monthly instalment, on the fifth."""
    fifths = _fifths(dates)
    who = np.flatnonzero(np.array(dues) > 0)
    card = np.repeat(own[who], len(fifths))
    amount = np.repeat(np.array(dues)[who], len(fifths))
    posted = np.tile(np.array(fifths), len(who)) * feeds.DAY_S + 8 * 3600
    return _plain(card, posted, -amount, np.full(len(card), kinds.index(REPAY)))


def _fifths(dates: Dates) -> list[int]:
    days = (dates.history + timedelta(days=n) for n in range(dates.days))
    return [day_number(d) for d in days if d.day == 5]


def _bounce_some(rng: np.random.Generator, m: Movements, kinds: list[Any]) -> Movements:
    """A few debits come back an hour later for lack of funds."""
    rows = np.flatnonzero((m.signed_fen < 0) & (rng.random(len(m)) < 0.002))
    back = Movements(
        m.card[rows],
        m.posted[rows] + 3600,
        -m.signed_fen[rows],
        np.full(len(rows), kinds.index(BOUNCED)),
        np.full(len(rows), -1),
        rows,
    )
    return Movements(**{n: np.concatenate([getattr(m, n), getattr(back, n)]) for n in vars(m)})


def monthly_disposable(lines: Lines, *, roster: Sequence[Person]) -> dict[int, dict[int, int]]:
    """person index -> {months since 1970: what is left of the month's pay after rent and insurance, fen}."""
    person = np.array([a.person for a in all_accounts(roster)])[lines.account]
    month = lines.service_day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    counts = ~np.isin(lines.kind, [LINE_TYPES.index(k) for k in EXCLUDED])
    cells, inverse = np.unique((person * 10_000 + month)[counts], return_inverse=True)
    sums = np.bincount(inverse, weights=lines.amount_fen[counts]).astype(np.int64)
    result: dict[int, dict[int, int]] = {}
    for cell, fen in zip(cells.tolist(), sums.tolist(), strict=True):
        result.setdefault(cell // 10_000, {})[cell % 10_000] = fen
    return result


def _obligations(
    rng: np.random.Generator, banked: Sequence[Person], monthly: dict[int, dict[int, int]], dates: Dates
) -> list[dict[str, Any]]:
    """One loan for those in debt: the dues are a share of the lower quartile of their whole months."""
    this_month = dates.first.year * 12 + dates.first.month - 1 - 1970 * 12
    result = []
    for person in banked:
        debt = person.archetype.debt
        if not person.is_scenario and debt == 0 and rng.random() < 0.3:
            debt = float(rng.uniform(0.05, 0.3))
        months = [f for m, f in monthly.get(person.index, {}).items() if this_month - 12 <= m < this_month]
        if debt and months:
            due = max(int(np.quantile(months, 0.25) * debt) // 100 * 100, 10_000)
            result.append(
                {
                    "person": person.index,
                    "bank_code": person.cards[0][0],
                    "loan_id": f"{person.cards[0][0]}-LN-{person.index:06d}",
                    "borrower_id_no": person.id_no,
                    "kind": "vehicle" if person.index % 3 == 0 else "consumer",
                    "principal_fen": due * 30,
                    "monthly_due_fen": due,
                    "opened_on": (dates.history - timedelta(days=90 + person.index % 200)).isoformat(),
                }
            )
    return result


def obligation_table(books: Books, *, dates: Dates) -> pa.Table:
    """Each loan at the beginning of the history and after every instalment."""
    rows = []
    stages = [day_number(dates.history), *_fifths(dates)]
    for loan in books.obligations:
        for nth, day in enumerate(stages):
            following = date.fromordinal(date(1970, 1, 1).toordinal() + day + 31).replace(day=5)
            rows.append(
                {k: v for k, v in loan.items() if k != "person"}
                | {
                    "outstanding_fen": loan["principal_fen"] - loan["monthly_due_fen"] * (nth + 3) * 3 // 4,
                    "next_due_on": following.isoformat(),
                    "days_past_due": 0,
                    "status": "active",
                    "op": "U" if nth else "I",
                    "at": day * feeds.DAY_S + 20 * 3600,
                }
            )
    return feeds.from_rows("bank_obligation", rows)


def account_table(rng: np.random.Generator, *, roster: Sequence[Person], dates: Dates) -> pa.Table:
    """Each bank account, known since the history began."""
    rows = []
    for person in roster:
        if person.has("no_bank") or person.has("no_records"):
            continue
        for nth, (bank, number) in enumerate(person.cards):
            rows.append(
                {
                    "bank_code": bank,
                    "account_no": number,
                    "account_class": "I" if nth == 0 else "II",
                    "id_type": "resident_id",
                    "holder_id_no": person.id_at_bank,
                    "holder_name": person.name_at_bank,
                    "opened_on": (dates.history - timedelta(days=int(rng.integers(30, 3000)))).isoformat(),
                    "status": "active",
                    "is_joint": False,
                    "at": day_number(dates.history) * feeds.DAY_S + 3600 + person.index,
                }
            )
    return feeds.from_rows("bank_account", rows)


def txn_table(books: Books) -> pa.Table:
    """All movements, as the banks send them."""
    m = books.movements
    ids = books.txn_ids()
    channel, name, uscc, summary, purpose = (
        feeds.look_up([k[i] or None for k in books.kinds], m.kind) for i in range(5)
    )
    columns = {
        "bank_code": feeds.look_up([bank for bank, _ in books.cards], m.card),
        "txn_id": ids,
        "account_no": feeds.look_up([number for _, number in books.cards], m.card),
        "posted_at": feeds.instant_text(m.posted),
        "value_date": feeds.date_text(m.posted // feeds.DAY_S),
        "direction": pa.array(np.where(m.signed_fen > 0, "credit", "debit").tolist()),
        "amount_fen": np.abs(m.signed_fen),
        "balance_after_fen": _balances(m),
        "channel": channel,
        "counterparty_name": name,
        "counterparty_uscc": uscc,
        "summary": summary,
        "purpose_code": purpose,
        "reverses_txn_id": ids.take(pa.array(m.reverses, mask=m.reverses < 0)),
        "is_pending": False,
        "op": "I",
    }
    return feeds.table("bank_txn", columns, m.posted + 60)


def _balances(m: Movements) -> Ints:
    """Balance after each movement; each account opens with what keeps it from going below zero."""
    order = np.lexsort((m.posted, m.card))
    running = np.cumsum(m.signed_fen[order])
    card = m.card[order]
    begins = np.flatnonzero(np.r_[True, card[1:] != card[:-1]])
    before = running[begins] - m.signed_fen[order][begins]
    lengths = np.diff(np.r_[begins, len(card)])
    own = running - np.repeat(before, lengths)
    lowest = np.minimum(np.minimum.reduceat(own, begins), 0)
    balances = np.empty(len(m), dtype=np.int64)
    balances[order] = own - np.repeat(lowest, lengths) + 20_000
    return balances


def bank_refs(books: Books, settlements: Settlements) -> Any:
    """The bank's number of the movement that paid a settlement alone, NULL otherwise."""
    refs = np.full(len(settlements), -1)
    alone = np.flatnonzero(books.movements.settlement >= 0)
    refs[books.movements.settlement[alone]] = alone
    return books.txn_ids().take(pa.array(refs, mask=refs < 0))
