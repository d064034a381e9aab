"""SQL and plain Python say the same of anybody: nulls, infinities and values on every bound included."""

from __future__ import annotations

import math
from datetime import date
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.eligibility.cell import Cell
from pipelines.eligibility.compile import verdict_sql
from pipelines.eligibility.interpreter import judge
from pipelines.eligibility.load import feature_types, products_on
from pipelines.eligibility.product import OUTCOMES, Product
from pipelines.settings import Settings

TYPES = feature_types(Settings())
PRODUCTS = products_on(Settings(), date(2026, 8, 19))
ARROW = {
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "text": pa.string(),
}


GOOD: dict[str, Any] = {
    "id_verdict": "ok",
    "person_status": "normal",
    "age_years": 35,
    "is_deceased": False,
    "consent_live": True,
    "guardian_ok": True,
    "occupation_main": "courier",
    "is_target_active": True,
    "id_conflict": False,
    "name_conflict": False,
    "shared_account": False,
    "freshness_days_platform": 0,
    "freshness_days_bank": 1,
    "freshness_days_si": 3,
    "tenure_cont_months": 14,
    "active_days_90": 70,
    "recency_days": 1,
    "inflow_months_12": 12,
    "inc_cv_6": 0.2,
    "dsr_p25": 0.1,
    "disp_low3_12_fen": 400_000,
    "disp_p25_12_fen": 450_000,
    "loan_pay_m_fen": 45_000,
    "payout_match_rate_90": 0.95,
    "cash_share_90": 0.0,
    "vehicle_on_record": True,
    "vehicle_needs_licence": False,
    "licence_days_left": 400,
    "occ_injury_in_force": True,
    "occ_injury_cover_ratio_90": 0.95,
    "orders_day": 20,
    "vehicle_main": "ebike",
}


def cells_of(product: Product) -> list[Cell]:
    found = [gate.cell for gate in product.gate] + [cell for row in product.rows for cell in row.cells if cell]
    found += [cell for _, tests in product.grades for cell in tests]
    return found + [cell for condition in product.conditions for cell in condition.when]


def values(product: Product, feature: str) -> st.SearchStrategy[Any]:
    """Values on, just below and just above every bound, words that are listed and not, and nothing at all."""
    kind = TYPES[feature]
    mine = [cell for cell in cells_of(product) if cell.feature == feature]
    if kind == "boolean":
        return st.sampled_from([True, False, None])
    if kind == "text":
        return st.sampled_from(["elsewhere", None, *{word for cell in mine for word in cell.words}])
    bounds = [float(b) for cell in mine for b in (cell.low, cell.high) if b is not None] or [0.0, 50_000.0]
    if kind == "double":
        edges = [x for b in bounds for x in (b, math.nextafter(b, -9), math.nextafter(b, 9), b * 0.5)]
        odd = [None, math.nan, math.inf, -math.inf, 0.0, 99.0]
        return st.one_of(st.sampled_from(edges + odd), st.floats(0, 2, allow_nan=False))
    edges_int = [int(b) + step for b in bounds for step in (-1, 0, 1)]
    wide = st.integers(-1_000_000, 3_000_000) if feature.endswith("_fen") else st.integers(0, 120)
    return st.one_of(st.sampled_from([None, *edges_int]), wide)


def rows(product: Product) -> st.SearchStrategy[list[dict[str, Any]]]:
    """People who would pass but for a few of their figures, and people made of anything."""
    anything = st.fixed_dictionaries({feature: values(product, feature) for feature in product.features})
    good = {feature: GOOD[feature] for feature in product.features}
    few = st.lists(st.sampled_from(product.features), max_size=4, unique=True)
    spoiled = few.flatmap(lambda names: st.fixed_dictionaries({name: values(product, name) for name in names}))
    return st.lists(st.one_of(spoiled.map(lambda some: good | some), anything), min_size=1, max_size=30)


def by_sql(product: Product, people: list[dict[str, Any]]) -> list[dict[str, Any]]:
    schema = pa.schema([("n", pa.int32()), *((name, ARROW[TYPES[name]]) for name in product.features)])
    table = pa.Table.from_pylist([{"n": n, **person} for n, person in enumerate(people)], schema)
    con = duckdb.connect()
    con.register("people", table)
    answer = con.execute(
        f"select * from ({verdict_sql(product, 'people', keep=('n',))}) order by n"
    ).to_arrow_table()
    return answer.to_pylist()


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
def test_sql_and_python_agree_on_anybody(product: Product) -> None:
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(rows(product))
    def agree(people: list[dict[str, Any]]) -> None:
        for person, said in zip(people, by_sql(product, people), strict=True):
            verdict = judge(product, person)
            told = {
                "outcome": verdict.outcome,
                "tier": verdict.tier,
                "limit_fen": verdict.limit_fen,
                "max_instalment_fen": verdict.max_instalment_fen,
                "conditions": list(verdict.conditions),
                "grade": verdict.grade,
                "event": verdict.event,
                "reasons": [(r.code, r.table_row, r.feature) for r in verdict.reasons],
                "trace": [(t.table_row, t.feature, t.threshold, t.result, t.reason_code) for t in verdict.trace],
            }
            theirs = {key: said[key] for key in told} | {
                "reasons": [(r["code"], r["table_row"], r["feature"]) for r in said["reasons"]],
                "trace": [
                    (t["table_row"], t["feature"], t["threshold"], t["result"], t["reason_code"])
                    for t in said["trace"]
                ],
            }
            assert theirs == told, person

    agree()


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
def test_a_person_who_meets_everything_is_eligible(product: Product) -> None:
    verdict = judge(product, GOOD)
    assert (verdict.outcome, verdict.reasons, verdict.grade) == ("ELIGIBLE", (), "A")


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
def test_who_is_not_eligible_is_told_why_and_nothing_unknown_is_eligible(product: Product) -> None:
    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(rows(product))
    def told(people: list[dict[str, Any]]) -> None:
        for person in people:
            verdict = judge(product, person)
            if OUTCOMES.index(verdict.outcome) > 1:
                assert verdict.reasons, person
                assert verdict.tier is None and verdict.limit_fen is None
            else:
                assert all(
                    person[gate.cell.feature] is not None or gate.cell.absent == "PASS" for gate in product.gate
                )
            assert len(set(verdict.reason_codes)) == len(verdict.reason_codes)
            assert set(verdict.reason_codes) <= product.reasons.keys()

    told()
