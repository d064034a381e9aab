"""Cells become typed values strictly, or the row says why not (DOMAIN E20, E30)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.checks import Bench

BenchOf = Callable[..., Bench]


def fate(bench_of: BenchOf, **cells: Any) -> tuple[Any, list[str]]:
    """(value of the first cell as it landed, warnings) or (None, reasons)."""
    bench = bench_of([cells])
    rows = bench.accepted().read_all().to_pylist()
    if rows:
        return rows[0][next(iter(cells))], rows[0]["warnings"]
    return None, bench.quarantined().read_all()["reasons"].to_pylist()[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("+5", 5),
        ("007", 7),
        ("-3", -3),
        ("9" * 18, 10**18 - 1),
        ("-" + "9" * 18, 1 - 10**18),
        ("", None),
    ],
)
def test_whole_numbers(bench_of: BenchOf, text: str, value: int | None) -> None:
    assert fate(bench_of, list_price_fen=text) == (value, [])


@pytest.mark.parametrize(
    "text",
    [
        "12.5",
        "1e3",
        " 12",
        "1_000",
        "0x1F",
        "1,234",
        "￥12",
        "(12)",
        "９",
        "9" * 19,
        "nan",
        "--1",
        "9" * 5_000_000,
    ],
)
def test_E30_what_is_no_whole_number_is_not_rounded(bench_of: BenchOf, text: str) -> None:
    assert fate(bench_of, list_price_fen=text) == (None, ["list_price_fen.type"])


@pytest.mark.parametrize("text", ["2147483648", "12.0"])
def test_an_integer_fits_its_type(bench_of: BenchOf, text: str) -> None:
    assert fate(bench_of, distance_m=text) == (None, ["distance_m.type"])


AT = datetime(2026, 8, 20, 16, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        ("2026-08-21T00:00:00+08:00", False),
        ("2026-08-20T24:00:00+08:00", False),
        ("2026-08-20T16:00:00Z", False),
        ("2026-08-20 16:00:00.000+00:00", False),
        ("2026-08-20T16:00:00+0000", False),
        ("2026-08-21T00:00:00", True),
        ("20260821000000", True),
        ("20260820240000", True),
        ("1787241600", True),
        ("1787241600000", True),
    ],
)
def test_E20_times_have_explicit_parsers(bench_of: BenchOf, text: str, warned: bool) -> None:
    value, warnings = fate(bench_of, paid_at=text)
    assert value == AT
    assert warnings == (["paid_at.converted"] if warned else [])


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-30T00:00:00+08:00", "infinity", "now", "2026-08-20", "20261399000000", "2026-08-20T25:00:00Z",
        "infinity           +08:00", "epoch              Z", " 2026-8-20 1:00:0  +08:00",
        "2026-08-20T10:00:60+08:00",
    ],
)  # fmt: skip
def test_E20_what_is_no_time_is_refused(bench_of: BenchOf, text: str) -> None:
    assert fate(bench_of, paid_at=text) == (None, ["paid_at.type"])


def test_E20_a_time_without_zone_in_1988_has_no_daylight_saving(bench_of: BenchOf) -> None:
    assert fate(bench_of, paid_at="1988-07-01T08:00:00")[0] == datetime(1988, 7, 1, tzinfo=UTC)


@pytest.mark.parametrize("text", ["yes", "TRUE", "1", "t"])
def test_a_boolean_is_true_or_false(bench_of: BenchOf, text: str) -> None:
    assert fate(bench_of, occ_injury_covered=text) == (None, ["occ_injury_covered.type"])


def test_S16_a_cell_of_megabytes_stops_here(bench_of: BenchOf) -> None:
    assert fate(bench_of, order_type="汉" * 3_000_000) == (None, ["order_type.length"])
    assert fate(bench_of, order_type="汉" * 40) == ("汉" * 40, [])


CONSENT = {
    "consent_id": "00000000-0000-4000-8000-000000000001", "version": "1", "recipient_institution": "bank_a",
    "purpose_code": "credit_working_capital", "purpose_text_hash": "a" * 64, "legal_basis": "consent",
    "separate_consent": "true", "written_form": "true", "adverse_consequence_notice": "true",
    "guardian_consent": "false", "automated_decision_notice": "true", "notice_version_hash": "b" * 64,
    "identity_match": "ID_NAME", "granted_at": "2026-08-01T00:00:00Z", "expires_at": "2027-08-01T00:00:00Z",
    "channel": "hub_app", "evidence_hash": "c" * 64, "op": "I", "updated_at": "2026-08-01T00:00:00Z",
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('["income","identity"]', ["income", "identity"]),
        (' [ "income" , "identity" ] ', ["income", "identity"]),
        ("[]", []),
        ('["inc\\"ome"]', None),
        ("income", None),
        ('["income",]', None),
        ('{"a":["b"]}', None),
    ],
)
def test_lists_of_words(bench_of: BenchOf, text: str, value: list[str] | None) -> None:
    bench = bench_of([{"data_categories": text}], feed="consent", good=CONSENT)
    table = bench.accepted().read_all()
    assert (table["data_categories"].to_pylist() or [None])[0] == value


def test_the_empty_text_is_a_value_where_the_contract_says_so(bench_of: BenchOf) -> None:
    good = {"region": "430000", "param": "base_floor_fen", "sector": "", "valid_from": "2026-07-01", "value": "1",
            "unit": "fen", "reference": "x 1", "op": "I", "updated_at": "2026-08-01T00:00:00Z"}  # fmt: skip
    bench = bench_of([{}, {"sector": None}, {"valid_from": "2026-7-1"}], feed="si_param", good=good)
    assert bench.accepted().read_all()["sector"].to_pylist() == [""]
    assert bench.quarantined().read_all()["reasons"].to_pylist() == [["sector.required"], ["valid_from.type"]]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30), st.text(max_size=12)), max_size=30))
def test_X11_no_cell_stops_the_pass(bench_of: BenchOf, cells: list[tuple[str, str, str]]) -> None:
    rows = [{"order_type": a, "paid_at": b, "customer_paid_fen": c, "region_code": a} for a, b, c in cells]
    counts = bench_of(rows).counts
    assert counts.accepted + counts.quarantined + counts.duplicates == counts.rows == len(cells)


def test_a_product_that_overflows_breaks_its_rule_and_nothing_else(bench_of: BenchOf) -> None:
    good = {"platform_code": "ride01", "cover_date": "2026-08-19", "sector": "trip", "order_count": "7",
            "base_fee_milli_yuan": "250", "fee_due_fen": "175", "region": "430102", "op": "I",
            "updated_at": "2026-08-19T10:00:00Z"}  # fmt: skip
    rows = [{}, {"order_count": "2000000000", "base_fee_milli_yuan": "2000000000"}, {"fee_due_fen": "174"}]
    bench = bench_of(rows, feed="occ_injury_order_day", good=good)
    assert bench.accepted().read_all()["row_no"].to_pylist() == [1]
    assert bench.quarantined().read_all()["reasons"].to_pylist() == [["SI-003"], ["SI-003"]]
