"""A product as one SQL query over applications joined with their features: millions of persons a second.

Promises: for every input the verdict of interpreter.py, with every failed reason and a trace of every cell.
Refuses:  nothing; products were checked when they were loaded.
Not here: which applications there are, what stands from earlier nights (decide.py, standing.py).
"""

from __future__ import annotations

from pipelines.eligibility.cell import Cell
from pipelines.eligibility.interpreter import FEN_CEILING, LIMIT
from pipelines.eligibility.product import DECLARATION, GATE, Product

VERDICT_COLUMNS = (
    "outcome", "tier", "limit_fen", "max_instalment_fen", "conditions", "grade", "reasons", "event", "trace",
)  # fmt: skip


def verdict_sql(product: Product, source: str, *, keep: tuple[str, ...]) -> str:
    """SQL text: one row per row of `source`, with the columns in `keep` and VERDICT_COLUMNS.

    source: a table or subquery with every column of product.features.
    reasons: STRUCT(code, table_row, feature)[], nearest first. trace: STRUCT(table_row, feature, value, threshold,
    result, reason_code)[].
    """
    return _Compiler(product).sql(source, keep)


class _Compiler:
    def __init__(self, product: Product) -> None:
        self._product = product
        self._rows = range(len(product.rows))

    def sql(self, source: str, keep: tuple[str, ...]) -> str:
        kept = ", ".join(keep)
        return f"""
with result as (select *, {self._results()} from {source}),
measured as (select *, {self._measures()} from result),
summed as (select *, {self._sums()} from measured),
chosen as (select *, {self._choice()} from summed),
decided as (select *, {self._outcome()} from chosen),
listed as (select *, {self._conditions()} as conditions_found, {self._gate_reasons()} as gate_reasons,
    {self._table_reasons()} as table_reasons from decided),
joined as (select *, {self._joined_reasons()} as reasons_found from listed),
final as (select *, list_transform(reasons_found, lambda x: x.code) as codes_found from joined)
select {kept},
    case when outcome_found = 'ELIGIBLE' and len(conditions_found) > 0 then 'ELIGIBLE_WITH_CONDITIONS'
        else outcome_found end as outcome,
    case when outcome_found = 'ELIGIBLE' then case winner {self._tiers()} end end as tier,
    case when outcome_found = 'ELIGIBLE' then {self._won("limit")} end as limit_fen,
    case when outcome_found = 'ELIGIBLE' then {self._won("instalment")} end as max_instalment_fen,
    conditions_found as conditions,
    {self._grade()} as grade,
    list_filter(reasons_found, lambda x, i: list_position(codes_found, x.code) = i) as reasons,
    {self._event()} as event,
    {self._trace()} as trace
from final"""

    def _cells(self) -> list[tuple[int, int, Cell]]:
        rows = self._product.rows
        return [(i, j, cell) for i in self._rows for j, cell in enumerate(rows[i].cells) if cell]

    def _results(self) -> str:
        found = [f"{gate.cell.result_sql()} as g_{k}" for k, gate in enumerate(self._product.gate)]
        found += [f"{cell.result_sql()} as c_{i}_{j}" for i, j, cell in self._cells()]
        for k, (_, tests) in enumerate(self._product.grades):
            found += [f"{cell.result_sql()} as v_{k}_{n}" for n, cell in enumerate(tests)]
        for k, condition in enumerate(self._product.conditions):
            found += [f"{cell.result_sql()} as k_{k}_{n}" for n, cell in enumerate(condition.when)]
        return ",\n    ".join(found)

    def _measures(self) -> str:
        found = [f"{cell.distance_sql(f'c_{i}_{j}')} as d_{i}_{j}" for i, j, cell in self._cells()]
        for i in self._rows:
            mine = [f"c_{a}_{j}" for a, j, _ in self._cells() if a == i]
            listed = ", ".join(mine)
            found.append(
                f"case when 'FAIL' in ({listed}) then 'FAIL' when 'UNKNOWN' in ({listed}) then 'UNKNOWN' "
                f"else 'PASS' end as r_{i}"
            )
            limit, instalment = self._limit(i)
            found += [f"{limit} as limit_{i}", f"{instalment} as instalment_{i}"]
            selectors = [
                f"c_{i}_{j} = 'FAIL'" for a, j, _ in self._cells()
                if a == i and self._product.columns[j].role == "selector"
            ]  # fmt: skip
            found.append(f"({' or '.join(selectors) or 'false'}) as beside_{i}")
        found.append(f"{self._gate_outcome()} as gate_outcome")
        return ",\n    ".join(found)

    def _limit(self, i: int) -> tuple[str, str]:
        limit = self._product.limit
        if not limit:
            return "null::bigint", "null::bigint"
        terms = limit.rows[self._product.rows[i].name]
        income, burden, dues = (
            f'least("{name}", {FEN_CEILING})' for name in (limit.income, limit.burden_income, limit.dues)
        )
        by_income = f"greatest({income}, 0) * {terms.multiple_bp} // 10000"
        room = f"greatest(greatest({burden}, 0) * {terms.ceiling_bp} // 10000 - {dues}, 0)"
        months, rate = limit.repay_months, limit.annual_rate_bp
        by_burden = f"{room} * {120_000 * months} // {120_000 + rate * months}"
        cap = limit.cap_fen if terms.cap_fen is None else min(limit.cap_fen, terms.cap_fen)
        missing = " or ".join(f'"{name}" is null' for name in (limit.income, limit.burden_income, limit.dues))
        lowest = f"least({by_income}, {by_burden}, {cap})"
        return (
            f"case when not ({missing}) then ({lowest} // {limit.step_fen} * {limit.step_fen})::bigint end",
            f"case when not ({missing}) then ({room} // 100 * 100)::bigint end",
        )

    def _gate_outcome(self) -> str:
        gate = list(enumerate(self._product.gate))
        whens = []
        for effect in ("INELIGIBLE", "INSUFFICIENT_DATA", "REVIEW"):
            hits = [f"g_{k} = 'FAIL'" for k, one in gate if one.on_fail == effect]
            if effect == "INSUFFICIENT_DATA":
                hits += [f"g_{k} = 'UNKNOWN'" for k, _ in gate]
            if hits:
                whens.append(f"when {' or '.join(hits)} then '{effect}'")
        return f"case {' '.join(whens)} else '' end"

    def _sums(self) -> str:
        found = []
        for i in self._rows:
            mine = " + ".join(f"d_{a}_{j}" for a, j, _ in self._cells() if a == i)
            found.append(f"0.0::double + {mine} as q_{i}")
        found.append(" and ".join(f"beside_{i}" for i in self._rows) + " as all_beside")
        return ",\n    ".join(found)

    def _choice(self) -> str:
        limit = self._product.limit
        enough = "true" if limit is None else f"limit_{{i}} >= {limit.minimum_fen}"
        whens = " ".join(f"when r_{i} = 'PASS' and {enough.format(i=i)} then {i}" for i in self._rows)
        first = " ".join(f"when r_{i} = 'PASS' then {i}" for i in self._rows)
        return f"case {whens} end as winner, case {first} end as passing"

    def _outcome(self) -> str:
        known = " or ".join(f"(r_{i} = 'PASS' and limit_{i} is not null)" for i in self._rows)
        unknown = " or ".join(f"r_{i} = 'UNKNOWN'" for i in self._rows)
        table = (
            "case when winner is not null then 'ELIGIBLE' "
            f"when passing is not null then case when {known} then 'INELIGIBLE' else 'INSUFFICIENT_DATA' end "
            f"when {unknown} then 'INSUFFICIENT_DATA' else 'INELIGIBLE' end"
        )
        return (
            f"{table} as table_outcome, "
            f"case when gate_outcome <> '' then gate_outcome else {table} end as outcome_found"
        )

    def _conditions(self) -> str:
        found = []
        for k, condition in enumerate(self._product.conditions):
            results = [f"k_{k}_{n}" for n in range(len(condition.when))]
            good = "('PASS', 'UNKNOWN')" if condition.unknown_applies else "('PASS')"
            holds = " and ".join(f"{result} in {good}" for result in results)
            found.append(f"case when outcome_found = 'ELIGIBLE' and {holds} then '{condition.code}' end")
        if not found:
            return "[]::varchar[]"
        return f"list_filter([{', '.join(found)}], lambda c: c is not null)"

    def _tiers(self) -> str:
        return " ".join(f"when {i} then '{row.name}'" for i, row in enumerate(self._product.rows))

    def _won(self, what: str) -> str:
        return f"case winner {' '.join(f'when {i} then {what}_{i}' for i in self._rows)} end"

    def _grade(self) -> str:
        whens = []
        for k, (grade, tests) in enumerate(self._product.grades):
            holds = " and ".join(f"v_{k}_{n} = 'PASS'" for n in range(len(tests))) or "true"
            whens.append(f"when {holds} then '{grade}'")
        return f"case {' '.join(whens)} end"

    def _event(self) -> str:
        whens = " ".join(
            f"when g_{k} = 'FAIL' then '{gate.event}'" for k, gate in enumerate(self._product.gate)
            if gate.event
        )  # fmt: skip
        return f"case {whens} else '' end" if whens else "''"

    def _gate_reasons(self) -> str:
        gate = ", ".join(
            f"case when g_{k} <> 'PASS' then {{later: (case when g_{k} = 'FAIL' then '{one.on_fail}' "
            f"else 'INSUFFICIENT_DATA' end) <> gate_outcome, n: {k + 1}}} end"
            for k, one in enumerate(self._product.gate)
        )
        words = [_reason(one.reason, GATE, one.cell.feature) for one in self._product.gate]
        return f"case when gate_outcome = '' then [] else {_sorted_reasons(gate, words)} end"

    def _table_reasons(self) -> str:
        cells = ", ".join(self._cell_reason(n, i, j) for n, (i, j, _) in enumerate(self._cells(), 1))
        rows, columns = self._product.rows, self._product.columns
        words = [_reason(columns[j].reason, rows[i].name, columns[j].feature) for i, j, _ in self._cells()]
        return f"case when winner is not null then [] else {_sorted_reasons(cells, words)} end"

    def _joined_reasons(self) -> str:
        joined = "gate_reasons"
        for part in (self._limit_reason(), "table_reasons", self._declared_reason()):
            joined = f"list_concat({joined}, {part})" if part else joined
        return joined

    def _cell_reason(self, n: int, i: int, j: int) -> str:
        """Sorts by the row's distance, the row, the cell's distance, the column: n goes row by row."""
        return (
            f"case when (not beside_{i} or all_beside) and ("
            f"(table_outcome = 'INELIGIBLE' and c_{i}_{j} = 'FAIL') or "
            f"(table_outcome = 'INSUFFICIENT_DATA' and r_{i} = 'UNKNOWN' and c_{i}_{j} = 'UNKNOWN')) then "
            f"{{q: q_{i}, i: {i}, d: d_{i}_{j}, n: {n}}} end"
        )

    def _limit_reason(self) -> str:
        if not self._product.limit:
            return ""
        code = self._product.limit.reason
        rows = " ".join(
            f"when passing = {i} then [{_reason(code, row.name, LIMIT)}]"
            for i, row in enumerate(self._product.rows)
        )
        return f"case when winner is not null then [] {rows} else [] end"

    def _declared_reason(self) -> str:
        declared = self._product.declaration
        if not declared:
            return ""
        reason = _reason(declared.reason, DECLARATION, declared.orders)
        none = f'coalesce("{declared.orders}" < 1, true)'
        return f"case when outcome_found = 'ELIGIBLE' and {none} then [{reason}] else [] end"

    def _trace(self) -> str:
        found = [_traced(GATE, gate.cell, f"g_{k}", gate.reason) for k, gate in enumerate(self._product.gate)]
        for i, row in enumerate(self._product.rows):
            for j, cell in enumerate(row.cells):
                if cell:
                    found.append(_traced(row.name, cell, f"c_{i}_{j}", self._product.columns[j].reason))
            if self._product.limit:
                at_least = _at_least(f"limit_{i}", self._product.limit.minimum_fen)
                found.append(
                    f"case when r_{i} = 'PASS' then {{table_row: '{row.name}', feature: '{LIMIT}', "
                    f"value: limit_{i}::varchar, threshold: '>= {self._product.limit.minimum_fen}', "
                    f"result: {at_least}, reason_code: '{self._product.limit.reason}'}} end"
                )
        declared = self._product.declaration
        if declared:
            found.append(
                f"{{table_row: '{DECLARATION}', feature: '{declared.orders}', "
                f"""value: "{declared.orders}"::varchar, threshold: '>= 1', """
                f"""result: {_at_least(f'"{declared.orders}"', 1)}, reason_code: '{declared.reason}'}}"""
            )
        return f"list_filter([{', '.join(found)}], lambda t: t is not null)"


def _sorted_reasons(listed: str, words: list[str]) -> str:
    """Sort small keys, then look the words up by n: sorting the words themselves takes ten times as long."""
    keys = f"list_sort(list_filter([{listed}], lambda x: x is not null))"
    return f"list_transform({keys}, lambda x: [{', '.join(words)}][x.n])"


def _reason(code: str, table_row: str, feature: str) -> str:
    return f"{{code: '{code}', table_row: '{table_row}', feature: '{feature}'}}"


def _traced(table_row: str, cell: Cell, result: str, reason: str) -> str:
    threshold = cell.text.replace("'", "''")
    return (
        f"{{table_row: '{table_row}', feature: '{cell.feature}', value: \"{cell.feature}\"::varchar, "
        f"threshold: '{threshold}', result: {result}, reason_code: '{reason}'}}"
    )


def _at_least(value: str, bound: int) -> str:
    return f"case when {value} is null then 'UNKNOWN' when {value} >= {bound} then 'PASS' else 'FAIL' end"
