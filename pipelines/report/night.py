"""The numbers of one night, read from the lake: counts, sums, ids and hashes; no person and no identifier.

Promises: every number is read once, from the registry tables and the landed rows; a table that is not there yet
          counts as nothing; counts of persons below SMALL are not shown one by one.
Refuses:  values of records.
Not here: how it looks (figures.py, page.html.j2).
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from pipelines.calendar import as_of, months_back
from pipelines.contracts import Contract, load_all, read_yaml
from pipelines.lake import Lake
from pipelines.settings import Settings

SMALL = 5  # persons; a smaller cell, with date and product, may be somebody the reader knows
MONTHS = 13
TOP_REASONS = 8
OUTCOMES = (
    "ELIGIBLE", "ELIGIBLE_WITH_CONDITIONS", "REVIEW", "INSUFFICIENT_DATA", "INELIGIBLE", "PENDING", "UNAVAILABLE",
)  # fmt: skip

FATE_WORDS = {
    "bad_check_digit": "the check digit is wrong 校验位不符",
    "bad_format": "not in the form of its kind 格式不符",
    "bad_birth_date": "no such birth date 出生日期不存在",
    "mojibake": "text garbled by a wrong encoding 乱码",
    "empty": "empty 为空",
    "minor_under_14": "a child under 14 未满十四周岁",
    "unreadable": "cannot be judged 无法判定",
    "reference": "points at a record that is not known 引用的记录不存在",
    "conflict": "two contents for one version 同一版本内容冲突",
    "ragged": "more or fewer cells than agreed 列数不符",
    "bad_json": "not JSON 无法解析",
    "bad_encoding": "not in the agreed encoding 编码错误",
}

BATCHES = """
select feed, fate, window_from, window_to, objects, physical, control_records, landed, quarantined, duplicates,
    not_kept, fen_declared, fen_landed, fen_quarantined, fen_duplicates, fen_provable
from control.batch where business_date = $day order by feed, fate desc
"""
DECLARED = """
select feed, sum(declared_records)::bigint, sum(declared_fen)::bigint, sum(bytes)::bigint
from control.pulled where business_date = $day group by feed
"""
BY_RULE = """
select feed, reason, count(*)::bigint as records
from (select feed, unnest(reasons) as reason from quarantine.record where business_date = $day)
group by all order by records desc, feed, reason
"""
OUTCOME_COUNTS = """
select product, outcome, count(*)::bigint from decisions.decision d
where business_date = $day and not exists (
    select 1 from decisions.decision later where later.agreement = d.agreement
    and later.business_date = d.business_date and later.supersedes = d.decision_no)
group by all order by all
"""
REASON_COUNTS = """
select product, reason, count(distinct person_id)::bigint as persons
from (select product, person_id, unnest(reason_codes) as reason from decisions.decision
      where business_date = $day and outcome not in ('ELIGIBLE', 'ELIGIBLE_WITH_CONDITIONS'))
group by all order by persons desc, product, reason
"""
PACKAGES = """
select agreement, recipient, sequence, manifest_sha256, rows, in_scope, withheld, status
from control.extract where business_date = $day order by recipient, agreement, sequence
"""
NOTICES = "select agreement, sequence, count(*)::bigint from control.deletion_notice group by all"
HEAD = """
select head_no, business_date, root, streams from ledger.head
where business_date <= $day order by head_no desc limit 1
"""
# From the mart: it has one row per person and day, where the landed orders of 13 months would be billions.
MONTHLY = """
select strftime(service_date, '%Y-%m') as month, sum(orders)::bigint, sum(earned_fen)::bigint
from marts.earning_day where service_date >= $from_date and service_date <= $day group by all
"""


@dataclass(frozen=True, slots=True)
class FeedNight:
    """One feed's batch. state: landed | held | missing; money is None where the feed has no amounts."""

    feed: str
    title: str
    state: str
    window: str
    late_days: int
    declared: int | None
    physical: int
    control_records: int
    landed: int
    quarantined: int
    duplicates: int
    not_kept: int
    money: Money | None

    @property
    def title_en(self) -> str:
        """Contracts are titled in both languages, Chinese last: "Orders 平台订单"."""
        return self.title.rpartition(" ")[0] or self.title

    @property
    def title_zh(self) -> str:
        return self.title.rpartition(" ")[2]

    @property
    def adds_up(self) -> bool:
        parts = self.landed + self.quarantined + self.duplicates + self.not_kept + self.control_records
        return self.state != "landed" or self.physical == parts


@dataclass(frozen=True, slots=True)
class Money:
    """Fen. state: conserved | unprovable | differs."""

    declared: int | None
    landed: int
    quarantined: int
    duplicates: int
    provable: bool

    @property
    def accounted(self) -> int:
        return self.landed + self.quarantined + self.duplicates

    @property
    def state(self) -> str:
        if not self.provable or self.declared is None:
            return "unprovable"
        return "conserved" if self.declared == self.accounted else "differs"


@dataclass(frozen=True, slots=True)
class Rule:
    """A broken rule. what: its sentence in the contract."""

    feed: str
    id: str
    records: int
    what: str


@dataclass(frozen=True, slots=True)
class Reason:
    product: str
    code: str
    persons: int
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Package:
    agreement: str
    recipient: str
    sequence: int
    manifest_sha256: str
    sent: int
    in_scope: int
    withheld: dict[str, int]
    status: str
    deletions: int

    @property
    def adds_up(self) -> bool:
        return self.in_scope == self.sent + sum(self.withheld.values())


@dataclass(frozen=True, slots=True)
class Night:
    """Everything that the page says."""

    business_date: date
    as_of: date
    feeds: list[FeedNight]
    rules: list[Rule]
    months: list[tuple[str, int, int]]
    outcomes: dict[str, dict[str, int]]
    products: dict[str, str]
    reasons: list[Reason]
    fewer_reasons: int
    packages: list[Package]
    head: dict[str, Any] | None
    faults: list[str] = field(default_factory=list)

    def told(self, product: str) -> dict[str, int | None]:
        """Persons by outcome; None = not told. One small cell alone would follow from the total of the package,
        so the smallest other one is left out with it."""
        counts = self.outcomes.get(product, {})
        hidden = {outcome for outcome in OUTCOMES if 0 < counts.get(outcome, 0) < SMALL}
        others = [outcome for outcome in OUTCOMES if counts.get(outcome, 0) >= SMALL]
        if len(hidden) == 1 and others:
            hidden.add(min(others, key=lambda outcome: counts[outcome]))
        return {outcome: None if outcome in hidden else counts.get(outcome, 0) for outcome in OUTCOMES}

    @property
    def physical(self) -> int:
        return sum(feed.physical for feed in self.feeds)

    @property
    def landed(self) -> int:
        return sum(feed.landed for feed in self.feeds)

    @property
    def quarantined(self) -> int:
        return sum(feed.quarantined for feed in self.feeds)

    @property
    def duplicates(self) -> int:
        return sum(feed.duplicates for feed in self.feeds)

    @property
    def landed_fen(self) -> int:
        return sum(feed.money.landed for feed in self.feeds if feed.money)

    @property
    def sent(self) -> int:
        return sum(package.sent for package in self.packages if package.status == "published")

    @property
    def withheld(self) -> int:
        return sum(package.in_scope - package.sent for package in self.packages if package.status == "published")


def read(lake: Lake, settings: Settings, business_date: date) -> Night:
    """Gather the night. Raises: ContractBroken if schemas/ is malformed."""
    contracts = load_all(settings)
    feeds = _feeds(lake, contracts, business_date)
    packages = _packages(lake, business_date)
    texts, products = _product_texts(settings)
    reasons, fewer = _reasons(lake, business_date, texts)
    night = Night(
        business_date=business_date,
        as_of=as_of(business_date),
        feeds=feeds,
        rules=_rules(lake, contracts, business_date),
        months=_monthly(lake, business_date),
        outcomes=_outcomes(lake, business_date),
        products=products,
        reasons=reasons,
        fewer_reasons=fewer,
        packages=packages,
        head=_head(lake, business_date),
    )
    night.faults.extend(_faults(night))
    return night


def _feeds(lake: Lake, contracts: dict[str, Contract], day: date) -> list[FeedNight]:
    declared = {row[0]: row[1:] for row in lake.rows(DECLARED, {"day": day})}
    batches: dict[str, tuple[Any, ...]] = {}
    for row in lake.rows(BATCHES, {"day": day}):
        batches.setdefault(row[0], row)  # a held batch that was released has two rows: what it came to in the end
    watermark = dict(lake.rows("select feed, watermark from control.watermark"))
    return [
        _feed(contract, batches.get(feed), declared.get(feed), watermark.get(feed), day)
        for feed, contract in sorted(contracts.items())
    ]


def _feed(
    contract: Contract, batch: tuple[Any, ...] | None, declared: Any, watermark: date | None, day: date
) -> FeedNight:
    late = (day + timedelta(days=1) - watermark).days if watermark else 0
    records = declared[0] if declared else None
    if batch is None:
        state = "pulled" if declared else "missing"
        return FeedNight(contract.feed, contract.title, state, "", late, records, 0, 0, 0, 0, 0, 0, None)
    _, fate, start, end, _, physical, control, landed, quarantined, duplicates, not_kept, *fen = batch
    money = None
    if contract.money_field and fate == "landed":
        said, in_lake, aside, twice, provable = fen
        money = Money(said, in_lake or 0, aside or 0, twice or 0, bool(provable))
    return FeedNight(
        contract.feed, contract.title, fate, _span(start, end), max(late, 0), records, physical, control,
        landed, quarantined, duplicates, not_kept, money,
    )  # fmt: skip


def _span(start: date, end: date) -> str:
    last = end - timedelta(days=1)
    return f"{start:%m-%d}" if start == last else f"{start:%Y-%m-%d} – {last:%m-%d}"


def _rules(lake: Lake, contracts: dict[str, Contract], day: date) -> list[Rule]:
    sentences = {
        (feed, check.id): check.description
        for feed, contract in contracts.items()
        for check in contract.row_checks()
    }
    return [
        Rule(feed, rule, records, sentences.get((feed, rule)) or _fates_words(contracts.get(feed), rule))
        for feed, rule, records in lake.rows(BY_RULE, {"day": day})
    ]


def _fates_words(contract: Contract | None, rule: str) -> str:
    """Words for reasons that no single check has: verdicts on identifiers, and fates that need other rows."""
    name, _, kind = rule.partition(".")
    words = FATE_WORDS.get(kind, "")
    if contract is not None and words and name in contract.by_name:
        return f"{contract.by_name[name].label_zh}: {words}"
    return words


def _monthly(lake: Lake, day: date) -> list[tuple[str, int, int]]:
    """(month, completed orders, earned fen) for the last 13 calendar months, the night's own being the last."""
    this_month = day.replace(day=1)
    found: dict[str, tuple[int, int]] = {}
    if lake.has_table("marts.earning_day"):
        asked = {"from_date": months_back(this_month, MONTHS - 1), "day": day}
        found = {month: (orders or 0, fen or 0) for month, orders, fen in lake.rows(MONTHLY, asked)}
    months = [months_back(this_month, back).strftime("%Y-%m") for back in range(MONTHS - 1, -1, -1)]
    return [(month, *found.get(month, (0, 0))) for month in months]


def _outcomes(lake: Lake, day: date) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = defaultdict(dict)
    if lake.has_table("decisions.decision"):
        for product, outcome, persons in lake.rows(OUTCOME_COUNTS, {"day": day}):
            found[product][outcome] = persons
    return dict(found)


def _reasons(lake: Lake, day: date, texts: dict[tuple[str, str], tuple[str, str]]) -> tuple[list[Reason], int]:
    """The commonest reasons, and how many further ones concern fewer than SMALL persons or rank lower."""
    if not lake.has_table("decisions.decision"):
        return [], 0
    found = lake.rows(REASON_COUNTS, {"day": day})
    shown = [row for row in found if row[2] >= SMALL][:TOP_REASONS]
    reasons = []
    for product, code, persons in shown:
        zh, en = texts.get((product, code)) or texts.get(("G0", code)) or ("", "")
        reasons.append(Reason(product, code, persons, zh, en))
    return reasons, len(found) - len(shown)


def _product_texts(settings: Settings) -> tuple[dict[tuple[str, str], tuple[str, str]], dict[str, str]]:
    """(product, reason code) -> its words; product -> its title. From schemas/products, as data."""
    texts, titles = {}, {}
    for path in sorted((settings.schemas / "products").glob("*.yaml")):
        document = read_yaml(path)
        product = str(document.get("id", path.stem))
        titles[product] = str(document.get("title_zh", ""))
        for code, words in (document.get("reasons") or {}).items():
            texts[product, code] = (str(words.get("zh", "")), str(words.get("en", "")))
    return texts, titles


def _packages(lake: Lake, day: date) -> list[Package]:
    notices: dict[tuple[str, int], int] = {}
    if lake.has_table("control.deletion_notice"):
        notices = {(agreement, sequence): n for agreement, sequence, n in lake.rows(NOTICES)}
    packages = []
    for agreement, recipient, sequence, sha256, rows, in_scope, withheld, status in lake.rows(
        PACKAGES, {"day": day}
    ):
        deletions = notices.get((agreement, sequence), 0)
        reasons = json.loads(withheld)
        packages.append(
            Package(agreement, recipient, sequence, sha256, rows, in_scope, reasons, status, deletions)
        )
    return packages


def _head(lake: Lake, day: date) -> dict[str, Any] | None:
    found = lake.rows(HEAD, {"day": day})
    if not found:
        return None
    number, business_date, root, streams = found[0]
    return {"head_no": number, "business_date": business_date, "root": root, "streams": streams}


def _faults(night: Night) -> list[str]:
    """What a person should look at first, in words."""
    said = [f"{feed.feed}: {feed.state}" for feed in night.feeds if feed.state != "landed"]
    said += [f"{feed.feed}: records do not add up" for feed in night.feeds if not feed.adds_up]
    said += [f"{feed.feed}: money {feed.money.state}" for feed in night.feeds
             if feed.money and feed.money.state != "conserved"]  # fmt: skip
    said += [f"{package.agreement}: rows do not add up" for package in night.packages if not package.adds_up]
    if night.head is None or night.head["business_date"] != night.business_date:
        said.append("ledger: no signed head for this date")
    return said
