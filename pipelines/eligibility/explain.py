"""Why was this decided, and what would change it: one decision, cell by cell, in both languages.

Promises: says what the decision rested on, not what would be decided now; says where an earlier one stands.
Refuses:  a decision that is not there (BadInput), an ambiguous question (Usage).
Not here: who may ask (subjects, cli).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from pipelines.calendar import SHANGHAI
from pipelines.eligibility import tables
from pipelines.eligibility.load import products_on
from pipelines.eligibility.product import DECLARATION, GATE, OUTCOMES, Product
from pipelines.errors import BadInput, Usage
from pipelines.lake import Lake
from pipelines.settings import Settings

OUTCOME_ZH = {
    "ELIGIBLE": "符合", "ELIGIBLE_WITH_CONDITIONS": "附条件符合", "REVIEW": "待人工核实",
    "INSUFFICIENT_DATA": "数据不足", "INELIGIBLE": "不符合", "PENDING": "等待数据", "UNAVAILABLE": "无数据",
}  # fmt: skip
MARK = {"PASS": "ok", "FAIL": "no", "UNKNOWN": "??"}


@dataclass(frozen=True, slots=True)
class Explanation:
    """decision: the row, dates as text. reasons: nearest first. cells: all that was looked at, in table order."""

    decision: dict[str, Any]
    reasons: list[dict[str, Any]]
    cells: list[dict[str, Any]]
    title_zh: str
    title_en: str
    appeal_zh: str
    appeal_en: str
    conditions: list[dict[str, str]]
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {name: getattr(self, name) for name in self.__slots__}

    def text(self) -> str:
        """A page for a person."""
        said = self.decision
        lines = [
            f"{said['product']} {self.title_zh} · {self.title_en}",
            f"decision  {said['decision_no']}, as of {said['as_of']} (known up to {said['known_at']}), "
            f"{said['agreement']}",
            f"outcome   {said['outcome']} {OUTCOME_ZH.get(said['outcome'], '')}{self._terms()}",
            f"stands    from {said['decided_on']} to {said['valid_until']}; {said['change_type']}"
            + (f" ({said['change_reason']})" if said["change_reason"] else ""),
            f"rules     {said['product']} {said['product_version']}, {said['rule_hash'][:12]}",
        ]
        lines += [f"note      {note}" for note in self.notes]
        for condition in self.conditions:
            lines += ["", f"{condition['code']}  {condition['zh']}", f"      {condition['en']}"]
        for nth, reason in enumerate(self.reasons, 1):
            lines += ["", *_reason_lines(nth, reason)]
        if self.reasons:
            lines += ["", f"申诉  {self.appeal_zh}", f"      {self.appeal_en}"]
        return "\n".join([*lines, "", *self._cell_lines()]) + "\n"

    def _terms(self) -> str:
        said = self.decision
        if said["limit_fen"] is not None:
            monthly = _yuan(said["max_instalment_fen"])
            return f", row {said['tier']}, limit {_yuan(said['limit_fen'])}, at most {monthly} a month"
        if said["variant"]:
            cover = (
                f", cover {said['cover_from']} to {said['cover_to']}"
                if said["cover_from"]
                else ", no cover that day"
            )
            return f", {said['variant']}, sum insured {_yuan(said['sum_insured_fen'])}{cover}"
        return ""

    def _cell_lines(self) -> Iterable[str]:
        if not self.cells:
            return
        yield "What was looked at (ok passes, no fails, ?? not known):"
        width = max(len(cell["feature"]) for cell in self.cells)
        for cell in self.cells:
            value = "-" if cell["value"] is None else cell["value"]
            yield (
                f"  {MARK[cell['result']]}  {cell['table_row']:<11} {cell['feature']:<{width}}  {value:<12} "
                f"asked {cell['threshold']}"
            )


def explain(
    lake: Lake,
    *,
    settings: Settings,
    business_date: date,
    decision_no: str | None = None,
    person_id: UUID | None = None,
    product: str | None = None,
) -> Explanation:
    """The decision of that number, or the person's of that night. Raises BadInput, Usage."""
    row = _find(lake, business_date, decision_no, person_id, product)
    cells = lake.query(
        f"select * exclude (decision_no) from {tables.TRACE} where decision_no = ?",
        [row["decision_no"]],
    ).to_pylist()
    rules = products_on(settings, row["business_date"]).get(row["product"])
    reasons = json.loads(row["reasons"] or "[]")
    decision = {name: _plain(value) for name, value in row.items() if name != "reasons"}
    return Explanation(
        decision=decision,
        reasons=reasons,
        cells=_in_table_order(cells, rules),
        title_zh=rules.title_zh if rules else "",
        title_en=rules.title_en if rules else "",
        appeal_zh=rules.appeal_zh if rules else "",
        appeal_en=rules.appeal_en if rules else "",
        conditions=_conditions(row, rules),
        notes=_notes(row, cells, rules),
    )


def _find(
    lake: Lake, business_date: date, decision_no: str | None, person_id: UUID | None, product: str | None
) -> dict[str, Any]:
    if (decision_no is None) == (person_id is None):
        raise Usage("name one decision", do="give either its number, or a person and a product")
    found: list[dict[str, Any]] = []
    if lake.has_table(tables.DECISION):
        if decision_no is not None:
            sql, given = f"select * from {tables.DECISION} where decision_no = ?", [decision_no]
        else:
            sql = f"select * from ({tables.STANDING}) as s where person_id = ? and business_date = ?"
            given = [str(person_id), business_date.isoformat()]
            if product:
                sql, given = f"{sql} and product = ?", [*given, product]
        found = lake.query(f"{sql} order by agreement, product, consent_id", given).to_pylist()
    if not found:
        raise BadInput(
            "no such decision",
            where=f"business date {business_date}" + (f", product {product}" if product else ""),
            why="nobody with a live consent was decided under it",
            do=f"sanche decide --date {business_date}, or ask for another date",
        )
    if len(found) > 1:
        raise Usage(
            "more than one decision",
            where=", ".join(f"{row['product']} for {row['agreement']}: {row['decision_no']}" for row in found),
            do="add --product, or ask by number",
        )
    return found[0]


def _notes(row: dict[str, Any], cells: list[dict[str, Any]], rules: Product | None) -> list[str]:
    notes = []
    if rules is None or rules.rule_hash != row["rule_hash"]:
        notes.append("decided under an earlier version of the rules than the files show today")
    if row["change_type"] == "SAME" and row["decided_on"] < row["as_of"]:
        notes.append(
            f"decided on {row['decided_on']}; it gets better at once and worse only after {row['valid_until']}, "
            "or when identity or consent change"
        )
    if row["outcome"] in ("PENDING", "UNAVAILABLE"):
        notes.append("no platform, bank or insurance office has told the hub anything about this person yet")
    looked_at = [cell for cell in cells if cell["table_row"] in (GATE, row["tier"])]
    if row["outcome"] in OUTCOMES[:2] and any(cell["result"] != "PASS" for cell in looked_at):
        notes.append("the figures of this night alone would not carry it; the earlier decision stands")
    return notes


def _conditions(row: dict[str, Any], rules: Product | None) -> list[dict[str, str]]:
    known = {condition.code: condition for condition in rules.conditions} if rules else {}
    return [
        {
            "code": code,
            "zh": known[code].zh if code in known else "",
            "en": known[code].en if code in known else "",
        }
        for code in row["conditions"] or []
    ]


def _in_table_order(cells: list[dict[str, Any]], rules: Product | None) -> list[dict[str, Any]]:
    rows = [GATE, *(row.name for row in rules.rows), DECLARATION] if rules else []
    columns = [gate.cell.feature for gate in rules.gate] + [c.feature for c in rules.columns] if rules else []

    def place(cell: dict[str, Any]) -> tuple[int, int, str]:
        row, feature = cell["table_row"], cell["feature"]
        return (
            rows.index(row) if row in rows else 99,
            columns.index(feature) if feature in columns else 99,
            feature + cell["threshold"],
        )

    return sorted(cells, key=place)


def _reason_lines(nth: int, reason: dict[str, Any]) -> list[str]:
    return [
        f"{nth}. {reason['code']}  {reason['title_zh']} · {reason['title_en']}",
        f"   事实  {reason['fact']}",
        f"   fact  {reason['fact_en']}; asked {reason['threshold']} (row {reason['row']})",
        f"   来源  {reason['source']}",
        f"   办法  {reason['cure_zh']}",
        f"   cure  {reason['cure_en']}",
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(SHANGHAI).isoformat(timespec="minutes")
    if isinstance(value, str | int | float | bool | list) or value is None:
        return value
    return value.isoformat() if isinstance(value, date) else str(value)


def _yuan(fen: int | None) -> str:
    return "-" if fen is None else f"{fen / 100:,.2f} yuan"
