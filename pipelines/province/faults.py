"""Labelled faults: what agencies get wrong, each with the fate that its record must meet.

Promises: every faulty record is one row of labels.parquet. It is one more record, never a spoilt clean one, and
          no clean record leans on one that is refused. In no window are more than four in a hundred of a feed's
          records refused (a batch with more is held).
Refuses:  nothing.
Not here: faults of transport (servers).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.province import feeds, names
from pipelines.province.people import Dates, Person
from pipelines.province.work import EPOCH, day_number

Row = dict[str, Any]
MOST_REFUSED = 0.04
LABELS = pa.schema(
    [pa.field(n, pa.string()) for n in ("fault_kind", "feed")]
    + [pa.field("business_date", pa.date32())]
    + [pa.field(n, pa.string()) for n in ("key", "updated_at", "expected_fate", "expected_rule")]
)


@dataclass
class Scene:
    """What the faults are put into. each: how many of a kind in the first load."""

    rng: np.random.Generator
    tables: Mapping[str, pa.Table]
    roster: Sequence[Person]
    dates: Dates
    each: int
    extra: dict[str, list[Row]] = field(default_factory=dict)
    labels: list[dict[str, Any]] = field(default_factory=list)
    refused: dict[tuple[str, date], int] = field(default_factory=dict)
    serial: int = 0
    _days: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)

    def days(self, feed: str) -> npt.NDArray[np.int64]:
        """The day on which each clean record of a feed is shown."""
        if feed not in self._days:
            self._days[feed] = self.tables[feed].column("at_s").to_numpy() // feeds.DAY_S
        return self._days[feed]

    @property
    def windows(self) -> list[date]:
        """The first load and the first further night: the windows in which things go wrong."""
        return self.dates.business_dates[:2]

    def times(self, window: date) -> int:
        """How many of a kind: fewer in a further night than in the first load, but one."""
        return self.each if window == self.dates.first else 1

    def next(self) -> int:
        self.serial += 1
        return self.serial

    def sample(self, feed: str, window: date, **wanted: str) -> Row | None:
        """A clean record that the window shows (in the first load: of its last month), as a dict with `at`."""
        table = self.tables[feed]
        since = 30 if window == self.dates.first and feed in BUSY else (0 if window > self.dates.first else 10_000)
        rows = np.flatnonzero(np.abs(self.days(feed) - day_number(window) + since / 2) <= since / 2)
        for name, value in wanted.items():
            fits: Any = pc.is_in(table.column(name).take(rows), pa.array([value]))
            rows = rows[fits.to_numpy()]
        if not len(rows):
            return None
        row: Row = table.slice(int(self.rng.choice(rows)), 1).to_pylist()[0]
        row["at"] = row.pop("at_s")
        return {k: v for k, v in row.items() if k not in ("updated_at", "visible_on")}

    def room(self, feed: str, window: date, records: int = 1) -> bool:
        """Whether so many more records of the window may be refused."""
        day = self.days(feed)
        first, now = day_number(self.dates.first), day_number(window)
        shown = int((day <= now).sum() if now == first else (day == now).sum())
        return self.refused.get((feed, window), 0) + records <= MOST_REFUSED * shown

    def put(self, kind: str, feed: str, row: Row, fate: str, rule: str) -> None:
        """Add a record and its label; a refusal for which the window has no room is left out."""
        window = max(date.fromordinal(EPOCH.toordinal() + row["at"] // feeds.DAY_S), self.dates.first)
        if fate == "quarantined":
            if not self.room(feed, window):
                return
            self.refused[feed, window] = self.refused.get((feed, window), 0) + 1
        self.extra.setdefault(feed, []).append(row)
        self.label(kind, feed, row, fate, rule)

    def label(self, kind: str, feed: str, row: Row, fate: str, rule: str) -> None:
        """Label a record that is there already."""
        day = date.fromordinal(EPOCH.toordinal() + row["at"] // feeds.DAY_S)
        key = {
            k: v.isoformat() if isinstance(v, date) else v for k, v in ((k, row.get(k)) for k in feeds.KEYS[feed])
        }
        stamp = row.get("updated_at") or feeds.instant_text(np.array([row["at"]]))[0].as_py()
        self.labels.append(
            {
                "fault_kind": kind,
                "feed": feed,
                "business_date": max(day, self.dates.first),
                "key": json.dumps(key, ensure_ascii=False, sort_keys=True),
                "updated_at": stamp,
                "expected_fate": fate,
                "expected_rule": rule,
            }
        )


BUSY = frozenset({"platform_order", "platform_earning_line", "platform_settlement", "bank_txn"})
Change = Mapping[str, Any]  # field -> value, or a function of the scene and the clean record


@dataclass(frozen=True)
class Fault:
    """A clean record of `feed`, renumbered, with some fields changed."""

    kind: str
    feed: str
    fate: str
    rule: str
    change: Change
    wanted: Mapping[str, str] = field(default_factory=dict)
    first_only: bool = False


def _before_creation(_: Scene, row: Row) -> str:
    return str(row["created_at"])[:10] + "T00:00:01+08:00"


def _spoilt_digit(scene: Scene, row: Row) -> str:
    good = str(_stranger(scene, 30)["id_no"])
    return good[:17] + ("0" if good[17] != "0" else "1")


def _thirteenth_month(scene: Scene, _: Row) -> str:
    first17 = f"43010219901345{scene.next() % 1000:03d}"
    return first17 + names.check_digit(first17)


def _stranger(scene: Scene, age: int) -> Row:
    """Name, number and phone of somebody who is on no roster (county 430103, sequence from the top)."""
    born = scene.dates.first - timedelta(days=age * 365 + scene.next() * 3 % 300)
    number = names.citizen_id("430103", born, "male", 499 - scene.serial % 200)
    return {
        "id_no": number,
        "name": names.person_name(scene.rng, "male"),
        "mobile": names.mobile(scene.rng),
        "gender": "male",
        "birth_date": born.isoformat(),
    }


Q, FLAG = "quarantined", "flag"
_DONE = {"status": "completed"}
_TAXI = {
    "status": "completed",
    "sector": "taxi",
}  # orders that land: outside the injury pilot, whose counts must hold
FAULTS: tuple[Fault, ...] = (
    Fault("end_before_begin", "platform_order", Q, "O-001", {"completed_at": _before_creation}, _DONE),
    Fault("accepted_before_created", "platform_order", Q, "O-002", {"accepted_at": _before_creation}, _DONE),
    Fault("completed_without_end", "platform_order", Q, "O-004", {"completed_at": None}, _DONE),
    Fault("unknown_enum", "platform_order", Q, "sector.enum", {"sector": "drone"}),
    Fault("missing_required", "platform_order", Q, "status.required", {"status": None}),
    Fault("unreadable_time", "platform_order", Q, "created_at.type", {"created_at": "2026-13-45T99:00:00+08:00"}),
    Fault("no_task", "platform_order", Q, "task_count.range", {"task_count": 0}),
    Fault("negative_distance", "platform_order", Q, "distance_m.range", {"distance_m": -5}, _DONE),
    Fault("over_long", "platform_order", Q, "segment_no.pattern", {"segment_no": "9" * 5_000}),
    Fault("bad_plate", "platform_order", Q, "plate_no.bad_format", {"plate_no": "湘A1"}),
    Fault("too_fast", "platform_order", FLAG, "O-005", {"distance_m": 90_000, "duration_s": 60}, _TAXI),
    Fault("cash_does_not_add_up", "platform_order", FLAG, "O-006", {"cash_fen": 99_900}, _TAXI),
    Fault("orphan_reversal", "platform_earning_line", Q, "reverses_line_id.reference",
          {"reverses_line_id": "LXX404404404", "line_type": "refund", "amount_fen": -500, "order_id": None}),
    Fault("unknown_line_type", "platform_earning_line", Q, "line_type.enum", {"line_type": "karma"}),
    Fault("no_service_date", "platform_earning_line", Q, "service_date.required", {"service_date": None}),
    Fault("id_in_memo", "platform_earning_line", "landed", "",
          {"line_type": "adjustment", "amount_fen": 0, "order_id": None, "reverses_line_id": None,
           "memo": lambda scene, _: f"更正 身份证{scene.roster[0].id_no} 电话{scene.roster[0].mobile}"}),
    Fault("net_does_not_add_up", "platform_settlement", Q, "S-001",
          {"net_fen": lambda _, row: row["gross_fen"] + 1_000}),
    Fault("bad_check_digit", "platform_worker", Q, "id_no.bad_check_digit", {"id_no": _spoilt_digit}),
    Fault("bad_birth_date", "platform_worker", Q, "id_no.bad_birth_date", {"id_no": _thirteenth_month}),
    Fault("mojibake_name", "platform_worker", Q, "name.mojibake",
          {"name": lambda scene, _: ("鏉庡己", "寮犱紵", "李\ufffd强")[scene.next() % 3]}),
    Fault("minor_under_14", "platform_worker", Q, "id_no.minor_under_14",
          {"id_no": lambda scene, _: _stranger(scene, 12)["id_no"], "birth_date": None}),
    Fault("first_order_before_account", "platform_worker", Q, "W-002",
          {"registered_at": "2026-08-01T10:00:00+08:00", "first_order_at": "2026-07-01T10:00:00+08:00"}),
    Fault("csv_injection_name", "platform_worker", "landed", "", {"name": "=cmd|'/C calc'!A0"}),
    Fault("birth_date_differs", "platform_worker", FLAG, "W-003", {"birth_date": "1971-01-01"}),
    Fault("bad_plate", "platform_vehicle", Q, "plate_no.bad_format", {"plate_no": "湘A1"}, first_only=True),
    Fault("validity_reversed", "platform_credential", Q, "CR-001",
          {"platform_worker_id": lambda scene, _: f"9{scene.next():07d}", "valid_from": "2027-01-01",
           "valid_to": "2026-01-01"}, first_only=True),
    Fault("bad_check_digit", "consent", Q, "person_id_no.bad_check_digit", {"person_id_no": _spoilt_digit},
          first_only=True),
    Fault("bad_check_digit", "si_person", Q, "id_no.bad_check_digit", {"id_no": _spoilt_digit}, first_only=True),
    Fault("negative_contribution", "si_contribution_month", Q, "SI-002",
          {"id_no": lambda scene, _: _stranger(scene, 40)["id_no"], "due_fen": -100, "paid_fen": -100},
          first_only=True),
    Fault("fee_miscounted", "occ_injury_order_day", Q, "SI-003",
          {"id_no": lambda scene, _: _stranger(scene, 35)["id_no"],
           "fee_due_fen": lambda _, row: row["fee_due_fen"] + 7}),
    Fault("negative_amount", "bank_txn", Q, "B-002", {"amount_fen": -500}),
    Fault("zero_amount", "bank_txn", Q, "B-002", {"amount_fen": 0}),
    Fault("unknown_enum", "bank_txn", Q, "channel.enum", {"channel": "pigeon"}),
    Fault("bad_account", "bank_txn", Q, "account_no.bad_format", {"account_no": "62AB"}),
    Fault("orphan_reversal", "bank_txn", Q, "reverses_txn_id.reference",
          {"reverses_txn_id": lambda _, row: row["bank_code"] + "9999999999", "direction": "credit"}),
    Fault("id_in_summary", "bank_txn", "landed", "",
          {"direction": "debit", "amount_fen": 100,
           "summary": lambda scene, _: f"代缴 {scene.roster[-1].id_no} {scene.roster[-1].mobile}"}),
    Fault("passbook_number", "bank_txn", FLAG, "account_no.ok_not_luhn",
          {"account_no": "6217990000000000001", "direction": "debit", "amount_fen": 100}),
)  # fmt: skip


def _renumbered(scene: Scene, feed: str, row: Row) -> Row:
    """The record under a number that no clean record has."""
    n = scene.next()
    fresh: dict[str, Row] = {
        "platform_order": {"order_id": f"ZZ{n:012d}"},
        "platform_earning_line": {"line_id": f"LZZ{n:09d}"},
        "platform_settlement": {"settlement_id": f"SZZ{n:07d}", "bank_ref": None},
        "platform_vehicle": {"vehicle_no": f"VZ{n:06d}", "platform_worker_id": f"9{n:07d}"},
        "bank_txn": {"txn_id": f"{row.get('bank_code')}Z{n:09d}", "balance_after_fen": None, "purpose_code": None,
                     "counterparty_name": None, "counterparty_uscc": None, "reverses_txn_id": None},
        "consent": {"consent_id": f"00000000-0000-4000-8000-{n:012d}", "recipient_ref": f"ZZ-2026-{n:06d}"},
    }  # fmt: skip
    if feed == "platform_worker":
        return row | {"platform_worker_id": f"9{n:07d}"} | _stranger(scene, 30)
    return row | fresh.get(feed, {})


def _apply(scene: Scene, fault: Fault, window: date) -> None:
    row = scene.sample(fault.feed, window, **fault.wanted)
    if row is None:
        return
    row = _renumbered(scene, fault.feed, row)
    row["at"] += 1
    for name, value in fault.change.items():
        row[name] = value(scene, row) if callable(value) else value
    scene.put(fault.kind, fault.feed, row, fault.fate, fault.rule)


def add_faults(scene: Scene) -> None:
    """All faults; their records are in scene.extra, their labels in scene.labels."""
    _broken_line(scene, scene.windows[-1], "ragged_line", "record.ragged")
    _broken_line(scene, scene.dates.last, "unparseable_amount", "amount_fen.type")
    for window in scene.windows:
        for fault in FAULTS:
            if fault.first_only and window != scene.dates.first:
                continue
            for _ in range(scene.times(window)):
                _apply(scene, fault, window)
        for _ in range(scene.times(window)):
            _twice(scene, "platform_order", window)
            _twice(scene, "platform_earning_line", window)
            _twice(scene, "bank_txn", window)
            _conflict(scene, window)
            _clock_ahead(scene, window)
    if len(scene.windows) > 1:
        for _ in range(scene.each):
            _corrected(scene)
            _deleted(scene)


def _twice(scene: Scene, feed: str, window: date) -> None:
    """The same record again, to the byte (E8)."""
    row = scene.sample(feed, window)
    if row is not None:
        scene.put("exact_duplicate", feed, row, "duplicate", "")


def _conflict(scene: Scene, window: date) -> None:
    """One key and one version, two contents: nobody can say which is true (S11)."""
    row = scene.sample("platform_order", window, **_DONE)
    if row is None or not scene.room("platform_order", window, 2):
        return
    row = _renumbered(scene, "platform_order", row)
    row["at"] += 1
    for distance in (row["distance_m"], row["distance_m"] + 40):
        scene.put("conflict", "platform_order", row | {"distance_m": distance}, Q, "record.conflict")


def _clock_ahead(scene: Scene, window: date) -> None:
    """A version clock that runs a year ahead of the night that shows it (E39)."""
    row = scene.sample("platform_order", window, status="cancelled", sector="taxi")
    if row is None:
        return
    row = _renumbered(scene, "platform_order", row) | {"updated_at": f"{window.year + 1}-01-02T03:04:05+08:00"}
    scene.put("future_updated_at", "platform_order", row, FLAG, "updated_at.future")


def _corrected(scene: Scene) -> None:
    """A platform measures an order again: the later version counts."""
    row = scene.sample("platform_order", scene.dates.first, **_DONE)
    if row is None:
        return
    scene.label("corrected_record", "platform_order", row, "superseded", "")
    at = day_number(scene.windows[1]) * feeds.DAY_S + 6 * 3600 + scene.next()
    again = row | {"op": "U", "at": at, "distance_m": row["distance_m"] + 100}
    scene.put("corrected_record", "platform_order", again, "landed", "")


def _deleted(scene: Scene) -> None:
    """An order taken back by its platform a night later."""
    row = scene.sample("platform_order", scene.dates.first, status="cancelled", sector="taxi")
    if row is None:
        return
    row = _renumbered(scene, "platform_order", row)
    scene.put("deleted_record", "platform_order", row, "superseded", "")
    at = day_number(scene.windows[1]) * feeds.DAY_S + 6 * 3600 + scene.next()
    scene.put("deleted_record", "platform_order", row | {"op": "D", "at": at}, "landed", "")


def _broken_line(scene: Scene, window: date, kind: str, rule: str) -> None:
    """A line of a bank's file that does not read as agreed; it makes the file's sum unprovable (E30, S15)."""
    row = scene.sample("bank_txn", window)
    if row is None:
        return
    row = _renumbered(scene, "bank_txn", row) | {"amount_fen": 123_450}
    row["at"] += 1
    cells = _cells("bank_txn", row)
    if kind == "ragged_line":
        cells.append("多出一栏")
    else:
        cells[_published("bank_txn").index("amount_fen")] = "1,234.50"
    scene.put(kind, "bank_txn", row | {"raw_line_override": "|".join(cells)}, Q, rule)


def _published(feed: str) -> list[str]:
    return [*feeds.COLUMNS[feed].split(), "op", "updated_at"]


def _cells(feed: str, row: Row) -> list[str]:
    """A record as the bank's file writes it."""
    stamped = row | {"updated_at": feeds.instant_text(np.array([row["at"]]))[0].as_py(), "op": row.get("op", "I")}
    values = [stamped.get(name) for name in _published(feed)]
    return ["" if v is None else str(v).lower() if isinstance(v, bool) else str(v) for v in values]


def label_what_is_there(scene: Scene, *, late: Sequence[Row]) -> None:
    """Labels for oddities that belong to clean records: other spellings, shared numbers, late orders."""
    for row in late:
        scene.label("late_record", "platform_order", row, "landed", "")
    by_number = {p.id_at_bank: p for p in scene.roster}
    for row in _rows(scene, "bank_account"):
        person = by_number.get(row["holder_id_no"])
        if person is None or person.cards[0][1] != row["account_no"]:
            continue
        if person.has("id_15_at_bank"):
            scene.label("id_15_digits", "bank_account", row, FLAG, "holder_id_no.ok_15_digit")
        if person.has("id_full_width_at_bank"):
            scene.label("id_full_width", "bank_account", row, FLAG, "holder_id_no.ok_full_width")
        if "•" in row["holder_name"]:
            scene.label("middle_dot_variant", "bank_account", row, "landed", "")
        if person.has("name_conflict"):
            scene.label("name_conflict", "bank_account", row, "landed", "")
    phones: dict[str, int] = {}
    for person in scene.roster:
        phones[person.mobile] = phones.get(person.mobile, 0) + 1
    for row in _rows(scene, "platform_worker"):
        if row["op"] != "I":
            continue
        if row["id_no"].endswith("x"):
            scene.label("id_lower_case_x", "platform_worker", row, "landed", "")
        if phones[row["mobile"]] >= 3:
            scene.label("phone_shared", "platform_worker", row, "landed", "")


def _rows(scene: Scene, feed: str) -> list[Row]:
    rows: list[Row] = scene.tables[feed].to_pylist()
    return [r | {"at": r.pop("at_s")} for r in rows]
