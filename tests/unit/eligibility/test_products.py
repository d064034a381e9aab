"""The products, case by case (cases/*.yaml), and what a product file may not say."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.eligibility import Product
from pipelines.eligibility.cell import parse
from pipelines.eligibility.interpreter import judge
from pipelines.eligibility.load import products_on
from pipelines.errors import ContractBroken
from pipelines.settings import Settings

ON = date(2026, 8, 20)
PRODUCTS = products_on(Settings(), ON)


def cases() -> Iterator[Any]:
    for path in sorted(Path(__file__).with_name("cases").glob("*.yaml")):
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        for name, case in document["cases"].items():
            person = document["steady"] | case.get("change", {})
            yield pytest.param(document["product"], person, case["expect"], id=f"{document['product']}: {name}")


@pytest.mark.parametrize(("product", "person", "expected"), list(cases()))
def test_case(product: str, person: dict[str, Any], expected: dict[str, Any]) -> None:
    assert person.keys() >= set(PRODUCTS[product].features), "a case says every figure that the product reads"
    verdict = judge(PRODUCTS[product], person)
    said = {
        "outcome": verdict.outcome, "tier": verdict.tier, "limit_fen": verdict.limit_fen, "event": verdict.event,
        "max_instalment_fen": verdict.max_instalment_fen, "conditions": list(verdict.conditions),
        "reasons": list(verdict.reason_codes), "grade": verdict.grade,
    }  # fmt: skip
    assert {key: said[key] for key in expected} == expected


@pytest.fixture
def schemas(tmp_path: Path) -> Path:
    return Path(shutil.copytree(Settings().schemas, tmp_path / "schemas"))


def edited(schemas: Path, change: Callable[[str], str], name: str = "c1.yaml") -> Path:
    path = schemas / "products" / name
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("before", "after", "where"),
    [
        ("kind: credit", "kind: credit\ncolour: red", "colour"),
        ("tenure_cont_months: {", "tenure_months: {", "no feature is called tenure_months"),
        ('">= 12"', '"=> 12"', "not a test"),
        ('">= 12"', '"true"', "does not fit tenure_cont_months"),
        ('">= 12"', "12", "a test in quotes"),
        ("inc_cv_6: {reason", "gender: {reason", "gender may not decide"),
        ("inc_cv_6: {reason", "age_years: {reason", "age_years may not decide"),
        ("    C: {multiple: 0.5, cap_yuan: 5000}", "    D: {multiple: 0.5}", "is missing"),
        ('"<= 0.45"]', '"-"]', "upper bound on dsr_p25"),
        ("  R205:\n", "  R299:\n", "no words for R205"),
        ("reason: R206}", "reason: 206}", "text"),
        ("hit_policy: PRIORITY", "hit_policy: FIRST", "is one of"),
        ("effective_from: 2026-01-01", 'effective_from: "2026-01-01"', "date"),
        ("income: disp_low3_12_fen", "income: inc_cv_6", "feature in fen"),
        ("sources: [platform, bank]", "sources: [platform, tax]", "are of"),
        ("  C: {}\n", "", "asks nothing, for everybody else"),
        ("id: C1\n", "id: C1\nid: C1\n", "stands twice"),
    ],
)
def test_a_product_that_is_not_understood_does_not_load(
    schemas: Path, before: str, after: str, where: str
) -> None:
    def change(text: str) -> str:
        assert before in text
        return text.replace(before, after, 1)

    path = edited(schemas, change)
    with pytest.raises(ContractBroken) as told:
        Product.load(path, settings=Settings(schemas=schemas), on=ON)
    assert where in str(told.value)
    assert "c1.yaml" in str(told.value)


def test_rows_of_a_unique_table_may_not_overlap(schemas: Path) -> None:
    path = edited(schemas, lambda text: text.replace('motor:     ["true", ', 'motor:     ["-", '), "i1.yaml")
    with pytest.raises(ContractBroken, match="non_motor, motor"):
        Product.load(path, settings=Settings(schemas=schemas), on=ON)


def test_two_versions_of_one_date_do_not_load(schemas: Path) -> None:
    shutil.copy(schemas / "products" / "c1.yaml", schemas / "products" / "c1_new.yaml")
    with pytest.raises(ContractBroken, match="two versions of product C1"):
        products_on(Settings(schemas=schemas), ON)


def test_each_date_has_its_own_version(schemas: Path) -> None:
    old = edited(schemas, lambda text: text.replace("effective_to: null", "effective_to: 2026-08-31"))
    new = old.with_name("c1_v2.yaml")
    text = old.read_text(encoding="utf-8").replace("version: 1.0.0", "version: 2.0.0", 1)
    text = text.replace("effective_from: 2026-01-01", "effective_from: 2026-09-01")
    new.write_text(text.replace("effective_to: 2026-08-31", "effective_to: null"), encoding="utf-8")
    hub = Settings(schemas=schemas)
    assert products_on(hub, date(2026, 8, 31))["C1"].version == "1.0.0"
    assert products_on(hub, date(2026, 9, 1))["C1"].version == "2.0.0"


def test_whatever_decides_is_in_the_hash(schemas: Path) -> None:
    hub = Settings(schemas=schemas)

    def hashed() -> str:
        return products_on(hub, ON)["C1"].rule_hash

    seen = {hashed()}
    edited(schemas, lambda text: text.replace('">= 12"', '">= 13"'))
    seen.add(hashed())
    edited(schemas, lambda text: text.replace("in (ok, ok_15_digit", "in (ok, ok_luhn, ok_15_digit"), "gate.yaml")
    seen.add(hashed())
    path = schemas / "reference" / "parameters.csv"
    path.write_text(path.read_text().replace("freshness_days,bank,7", "freshness_days,bank,8"))
    seen.add(hashed())
    assert len(seen) == 4


def test_a_parameter_without_a_value_on_the_date_stops_the_load(schemas: Path) -> None:
    path = schemas / "reference" / "parameters.csv"
    path.write_text(
        path.read_text().replace("freshness_days,bank,7,days,2020-01-01", "freshness_days,bank,7,days,2030-01-01")
    )
    with pytest.raises(ContractBroken, match=r"freshness_days\.bank"):
        products_on(Settings(schemas=schemas), ON)


@pytest.mark.parametrize(
    "text", [">= '1'", "1 or true", ">= 1); drop table x", "in ('a')", "[3..1]", ">=", "> 1 and < 2"]
)
def test_a_cell_speaks_a_small_language(text: str) -> None:
    with pytest.raises(ValueError, match=r"test|range"):
        parse(text, feature="orders_90", feature_type="bigint")


def test_no_reason_blames_the_kind_of_work() -> None:
    """`temporary or irregular employment` is what this group must not be told (DOMAIN 0.10)."""
    for product in PRODUCTS.values():
        for reason in product.reasons.values():
            said = f"{reason.en} {reason.fact_en}".lower()
            assert "irregular" not in said and "temporary" not in said
            assert reason.cure_zh and reason.cure_en
