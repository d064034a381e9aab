"""What a product says about one person, worked out in plain Python: the reference that the SQL is tested against.

Promises: short enough to be read beside DOMAIN.md C0; the same verdict as compile.py for every input.
Refuses:  nothing; a missing input is None and UNKNOWN.
Not here: consents, standing decisions, dates (decide.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.eligibility.cell import Cell, Result
from pipelines.eligibility.product import DECLARATION, GATE, OUTCOMES, Limit, Product

LIMIT = "limit_fen"
FEN_CEILING = (
    10**12
)  # ten thousand million yuan: more is no month's income, and 64 bits hold every product below it


@dataclass(frozen=True, slots=True)
class Reason:
    """A code and the cell that gave it: row of the table (or G0), feature."""

    code: str
    table_row: str
    feature: str


@dataclass(frozen=True, slots=True)
class Traced:
    """One cell that was looked at."""

    table_row: str
    feature: str
    value: Any
    threshold: str
    result: Result
    reason_code: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """outcome: one of OUTCOMES. tier: the row that won. event: '' or what ends a standing decision at once."""

    outcome: str
    tier: str | None
    limit_fen: int | None
    max_instalment_fen: int | None
    conditions: tuple[str, ...]
    grade: str
    reasons: tuple[Reason, ...]
    event: str
    trace: tuple[Traced, ...]

    @property
    def reason_codes(self) -> tuple[str, ...]:
        return tuple(reason.code for reason in self.reasons)


def judge(product: Product, row: Mapping[str, Any]) -> Verdict:
    """row: feature -> value, missing ones None."""
    gate_outcome, gate_reasons, event, gate_trace = _gate(product, row)
    table = _Table(product, row)
    # The gate speaks first: figures that are stale, or perhaps another person's, decide nothing.
    outcome = gate_outcome or table.outcome
    eligible = outcome == OUTCOMES[0]
    conditions = _conditions(product, row) if eligible else ()
    reasons = gate_reasons + table.reasons
    trace = gate_trace + table.trace
    if product.declaration:
        orders = row.get(product.declaration.orders)
        declared = Reason(product.declaration.reason, DECLARATION, product.declaration.orders)
        result = _at_least(orders, 1)
        trace += (Traced(DECLARATION, declared.feature, orders, ">= 1", result, declared.code),)
        reasons += (declared,) if eligible and result is not Result.PASS else ()
    return Verdict(
        outcome=OUTCOMES[1] if conditions else outcome,
        tier=table.tier if eligible else None,
        limit_fen=table.limit_fen if eligible else None,
        max_instalment_fen=table.max_instalment_fen if eligible else None,
        conditions=conditions,
        grade=next(name for name, tests in product.grades if _all_pass(tests, row)),
        reasons=_first_of_each_code(reasons),
        event=event,
        trace=trace,
    )


def _gate(product: Product, row: Mapping[str, Any]) -> tuple[str, tuple[Reason, ...], str, tuple[Traced, ...]]:
    found: list[tuple[str, int, Reason]] = []
    trace, event = [], ""
    for number, gate in enumerate(product.gate):
        value = row.get(gate.cell.feature)
        result = gate.cell.result(value)
        trace.append(Traced(GATE, gate.cell.feature, value, gate.cell.text, result, gate.reason))
        if result is Result.PASS:
            continue
        effect = gate.on_fail if result is Result.FAIL else "INSUFFICIENT_DATA"
        found.append((effect, number, Reason(gate.reason, GATE, gate.cell.feature)))
        if result is Result.FAIL and not event:
            event = gate.event
    worst = max((effect for effect, _, _ in found), key=OUTCOMES.index, default="")
    found.sort(key=lambda one: (one[0] != worst, one[1]))
    return worst, tuple(reason for _, _, reason in found), event, tuple(trace)


class _Table:
    """The decision table of one product over one person."""

    def __init__(self, product: Product, row: Mapping[str, Any]) -> None:
        self._product = product
        self._row = row
        self._results = [[self._result(cell) for cell in each.cells] for each in product.rows]
        self.tier: str | None = None
        self.limit_fen: int | None = None
        self.max_instalment_fen: int | None = None
        self.reasons: tuple[Reason, ...] = ()
        self.trace: tuple[Traced, ...] = ()
        self.outcome = self._decide()
        self._write_trace()

    def _result(self, cell: Cell | None) -> Result | None:
        return cell.result(self._row.get(cell.feature)) if cell else None

    def _row_result(self, index: int) -> Result:
        results = self._results[index]
        if Result.FAIL in results:
            return Result.FAIL
        return Result.UNKNOWN if Result.UNKNOWN in results else Result.PASS

    def _decide(self) -> str:
        passing = [index for index in range(len(self._product.rows)) if self._row_result(index) is Result.PASS]
        limits = {index: self._limit(index) for index in passing}
        for index in passing:
            limit = limits[index]
            if limit is None or (limit[0] is not None and self._product.limit and
                                 limit[0] >= self._product.limit.minimum_fen):  # fmt: skip
                self.tier = self._product.rows[index].name
                self.limit_fen, self.max_instalment_fen = limit or (None, None)
                return OUTCOMES[0]
        if passing:
            known = any(limit and limit[0] is not None for limit in limits.values())
            outcome = "INELIGIBLE" if known else "INSUFFICIENT_DATA"
        else:
            unknown = any(self._row_result(i) is Result.UNKNOWN for i in range(len(self._product.rows)))
            outcome = "INSUFFICIENT_DATA" if unknown else "INELIGIBLE"
        self.reasons = self._limit_reason(passing) + self._cell_reasons(outcome)
        return outcome

    def _limit(self, index: int) -> tuple[int | None, int | None] | None:
        """(limit, largest instalment) of a row; None for a product without a limit."""
        return (
            limit_of(self._product.limit, self._product.rows[index].name, self._row)
            if self._product.limit
            else None
        )

    def _limit_reason(self, passing: list[int]) -> tuple[Reason, ...]:
        if not passing or not self._product.limit:
            return ()
        return (Reason(self._product.limit.reason, self._product.rows[passing[0]].name, LIMIT),)

    def _cell_reasons(self, outcome: str) -> tuple[Reason, ...]:
        """Failed (or unknown) cells: those of the nearest row first, in it the nearest cell first."""
        wanted = Result.FAIL if outcome == "INELIGIBLE" else Result.UNKNOWN
        columns, rows = self._product.columns, self._product.rows
        beside = [
            any(
                column.role == "selector" and result is Result.FAIL
                for column, result in zip(columns, results, strict=True)
            )
            for results in self._results
        ]
        found = []
        for i, row in enumerate(rows):
            if (beside[i] and not all(beside)) or (wanted is Result.UNKNOWN and self._row_result(i) is not wanted):
                continue
            distances = [cell.distance(self._row.get(cell.feature)) if cell else 0.0 for cell in row.cells]
            for j, result in enumerate(self._results[i]):
                if result is wanted:
                    reason = Reason(columns[j].reason, row.name, columns[j].feature)
                    found.append((sum(distances, 0.0), i, distances[j], j, reason))
        found.sort(key=lambda one: one[:4])
        return tuple(one[4] for one in found)

    def _write_trace(self) -> None:
        trace: list[Traced] = []
        for index, row in enumerate(self._product.rows):
            for column, cell, result in zip(self._product.columns, row.cells, self._results[index], strict=True):
                if cell and result:
                    value = self._row.get(cell.feature)
                    trace.append(Traced(row.name, cell.feature, value, cell.text, result, column.reason))
            limit = self._product.limit
            if limit and self._row_result(index) is Result.PASS:
                value, _ = limit_of(limit, row.name, self._row)
                result = _at_least(value, limit.minimum_fen)
                trace.append(Traced(row.name, LIMIT, value, f">= {limit.minimum_fen}", result, limit.reason))
        self.trace = tuple(trace)


def limit_of(limit: Limit, row: str, values: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Fen: the limit and the largest monthly instalment of a row; None where an input is missing.

    The second bound: an amount L repaid over n months costs at most L/n + L*rate/12 a month, which must fit into
    ceiling * burden income - dues.
    """
    income, burden_income, dues = (values.get(name) for name in (limit.income, limit.burden_income, limit.dues))
    if income is None or burden_income is None or dues is None:
        return None, None
    income, burden_income, dues = (min(value, FEN_CEILING) for value in (income, burden_income, dues))
    terms = limit.rows[row]
    by_income = max(income, 0) * terms.multiple_bp // 10_000
    room = max(max(burden_income, 0) * terms.ceiling_bp // 10_000 - dues, 0)
    months, rate = limit.repay_months, limit.annual_rate_bp
    by_burden = room * 120_000 * months // (120_000 + rate * months)
    caps = [limit.cap_fen] + ([terms.cap_fen] if terms.cap_fen is not None else [])
    lowest = min(by_income, by_burden, *caps)
    return lowest // limit.step_fen * limit.step_fen, room // 100 * 100


def _at_least(value: Any, bound: int) -> Result:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return Result.UNKNOWN
    return Result.PASS if value >= bound else Result.FAIL


def _all_pass(tests: tuple[Cell, ...], row: Mapping[str, Any]) -> bool:
    return all(cell.result(row.get(cell.feature)) is Result.PASS for cell in tests)


def _conditions(product: Product, row: Mapping[str, Any]) -> tuple[str, ...]:
    def applies(tests: tuple[Cell, ...], unknown_applies: bool) -> bool:
        results = {cell.result(row.get(cell.feature)) for cell in tests}
        return Result.FAIL not in results and (unknown_applies or Result.UNKNOWN not in results)

    return tuple(c.code for c in product.conditions if applies(c.when, c.unknown_applies))


def _first_of_each_code(reasons: tuple[Reason, ...]) -> tuple[Reason, ...]:
    seen: dict[str, Reason] = {}
    for reason in reasons:
        seen.setdefault(reason.code, reason)
    return tuple(seen.values())
