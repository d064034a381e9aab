"""The gate: which batches a person must decide about, and that Great Expectations says the same as plain SQL."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from sealed_rows import LINE, NOBODY

from pipelines.checks import Bench, Gate

BenchOf = Callable[..., Bench]
BAD = {"completed_at": "2026-08-19T09:00:00+08:00"}


def held_for(gate: Gate) -> set[str]:
    return {reason.partition(":")[0] for reason in gate.reasons}


@pytest.mark.parametrize(
    ("rows", "more", "held"),
    [
        pytest.param([{}] * 200, {}, set(), id="all well"),
        pytest.param([BAD] * 10 + [{}] * 190, {}, set(), id="as many bad rows as allowed"),
        pytest.param([BAD] * 11 + [{}] * 189, {}, {"record.accepted", "O-001"}, id="one more"),
        pytest.param([BAD] * 60 + [{}] * 60, {}, set(), id="half is bad, but of a small batch"),
        pytest.param([{"status": None}] * 20, {}, {"status.required"}, id="S13: a column is gone"),
        pytest.param([{"task_count": "one"}] * 20, {}, {"task_count.type"}, id="S13: a column changed its type"),
        pytest.param([{"parse_error": "bad_json"}] * 20, {}, {"record.readable"}, id="S13: another format"),
        pytest.param([], {}, {"volume.rows"}, id="S22: nothing came"),
        pytest.param([], {"first_load": True}, set(), id="a new feed may be empty"),
        pytest.param([{}] * 50, {"usual_rows": 1_000}, {"volume.rows"}, id="S22: -95 %"),
        pytest.param([{}] * 2_000, {"usual_rows": 200}, {"volume.rows"}, id="S22: x10"),
        pytest.param([{}] * 150, {"usual_rows": 1_000}, set(), id="a quiet night"),
        pytest.param(
            [{"customer_paid_fen": "0", "electronic_fen": "0"}] * 20,
            {},
            {"volume.money"},
            id="S22: all amounts zero",
        ),
        pytest.param([{"customer_paid_fen": None}] * 20, {}, set(), id="nothing charged yet is not zero"),
        pytest.param([{"updated_at": "2026-08-10T10:30:00+08:00"}] * 200, {}, {"volume.fresh"}, id="nothing new"),
        pytest.param([{"distance_m": "90000"}] * 300, {}, set(), id="warnings hold nothing"),
    ],
)
def test_what_is_held(bench_of: BenchOf, rows: list[dict[str, Any]], more: dict[str, Any], held: set[str]) -> None:
    gate = bench_of(rows, **more).judge(gx=False)
    assert (gate.held, held_for(gate)) == (bool(held), held)


def test_a_feed_that_may_be_quiet_may_be_empty(bench_of: BenchOf) -> None:
    assert not bench_of([], feed="si_person").judge(gx=False).held


def test_a_reason_says_what_and_how_much(bench_of: BenchOf) -> None:
    gate = bench_of([BAD] * 30 + [{}] * 170).judge(gx=False)
    assert (
        "O-001: An order cannot end before it begins. 30 of 200 rows (15.0 %) do not; the contract allows 5 %"
        in gate.reasons
    )
    stale = bench_of([{"updated_at": "2026-08-10T10:30:00+08:00"}] * 200).judge(gx=False)
    assert stale.reasons == ("volume.fresh: nothing in the batch is newer than 2 days before the window's end",)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{}],
        [BAD] * 10 + [{}] * 190,
        [BAD] * 11 + [{}] * 189,
        [BAD | {"sector": "drone"}] * 12 + [{"distance_m": "90000"}] * 100 + [{}] * 100,
        [
            {"plate_no": "x", "plate_no_verdict": "bad_format"},
            {"plate_no": "x", "plate_no_verdict": "ok_full_width"},
            {"parse_error": "ragged"},
            {"key": "A", "hash": "1"},
            {"key": "A", "hash": "2"},
        ],
    ],
)
def test_great_expectations_agrees_with_plain_sql(bench_of: BenchOf, rows: list[dict[str, Any]]) -> None:
    bench = bench_of(rows)
    by_gx, by_sql = bench.judge(), bench.judge(gx=False)
    assert (by_gx.held, by_gx.reasons, by_gx.results) == (by_sql.held, by_sql.reasons, by_sql.results)
    assert by_gx.validation["statistics"]["evaluated_expectations"] == by_gx.results["evaluated"]
    # the bench works on after the library had its connection, and judges the same again
    assert bench.scan() == bench.counts
    assert bench.judge() == by_gx


def test_every_rule_of_the_contract_is_judged_with_its_sentence(bench_of: BenchOf) -> None:
    bench = bench_of([{}], feed="platform_earning_line", good=LINE, referenced=NOBODY)
    judged = {
        one["expectation_config"]["meta"]["rule"]: one["expectation_config"]
        for one in bench.judge().validation["results"]
    }
    checks = bench.contract.row_checks()
    between = {"record.accepted", "record.conflict", "reverses_line_id.reference"}
    assert set(judged) == {c.id for c in checks} | between | {"volume.rows", "volume.money", "volume.fresh"}
    for check in checks:
        assert judged[check.id]["description"] == f"{check.id}: {check.description}"
        assert judged[check.id]["severity"] == ("warning" if check.severity == "warn" else "critical")


def test_X10_no_value_of_a_record_is_in_what_the_gate_says(bench_of: BenchOf) -> None:
    secret = "湘A99999机密"
    gate = bench_of([{"sector": secret, "order_type": secret, "customer_paid_fen": "31337"}] * 30).judge()
    said = json.dumps([gate.results, gate.validation, gate.reasons], ensure_ascii=False)
    assert secret not in said
    assert "31337" not in said
    assert not any(one["result"].get("partial_unexpected_list") for one in gate.validation["results"])
