"""Every row has one fate, with all its reasons; money follows the rows."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sealed_rows import BUSINESS_DATE, LINE, NOBODY, WINDOW_END, block, sealed

from pipelines.checks import Bench
from pipelines.contracts import Contract
from pipelines.errors import Bug
from pipelines.settings import Settings

BenchOf = Callable[..., Bench]
BAD = {"completed_at": "2026-08-19T09:00:00+08:00"}


def reasons(bench: Bench) -> dict[int, list[str]]:
    return {r["row_no"]: r["reasons"] for r in bench.quarantined().read_all().to_pylist()}


def landed(bench: Bench) -> list[int]:
    return sorted(bench.accepted().read_all()["row_no"].to_pylist())


def test_a_good_order_lands_typed(bench_of: BenchOf, contracts: dict[str, Contract]) -> None:
    table = bench_of([{}]).accepted().read_all()
    row = table.to_pylist()[0]
    assert (row["customer_paid_fen"], row["task_count"], row["occ_injury_covered"]) == (1850, 1, True)
    assert row["created_at"].isoformat() == "2026-08-19T02:00:00+00:00"
    assert row["record_key"] == uuid.UUID(bytes=block("key1"))
    assert row["warnings"] == []
    expected = {f.name: f.type for f in contracts["platform_order"].landed_schema()}
    assert {f.name: f.type for f in table.schema if f.name != "object_no"}.items() <= expected.items()
    assert set(expected) - set(table.column_names) == {"batch_id", "object_address", "known_on", "known_assumed"}


def test_S19_three_broken_rules_on_one_row_are_one_row_with_three_reasons(bench_of: BenchOf) -> None:
    bench = bench_of([{}, BAD | {"sector": "drone", "distance_m": "-1"}])
    assert reasons(bench) == {2: ["sector.enum", "distance_m.range", "O-001"]}
    assert landed(bench) == [1]


@pytest.mark.parametrize(("bad", "good"), [(201, 5_000), (1_000, 0)])
def test_S19_no_bad_row_is_lost(bench_of: BenchOf, bad: int, good: int) -> None:
    bench = bench_of([BAD] * bad + [{}] * good)
    assert len(reasons(bench)) == bench.counts.quarantined == bad
    assert (bench.counts.accepted, bench.verdict_counts()["O-001"]) == (good, bad)


@pytest.mark.parametrize("error", ["ragged", "bad_json", "bad_encoding"])
def test_a_record_that_cannot_be_read_has_that_one_reason(bench_of: BenchOf, error: str) -> None:
    bench = bench_of([{"parse_error": error}, {}])
    assert reasons(bench) == {1: [f"record.{error}"]}
    assert (bench.counts.fen, bench.counts.fen_quarantined, bench.counts.fen_accepted) == (None, None, 1850)


def test_identifiers_are_judged_by_the_sealers_verdict(bench_of: BenchOf) -> None:
    bench = bench_of(
        [
            {"plate_no": "x", "plate_no_verdict": "bad_format"},
            {"plate_no": "x", "plate_no_verdict": "ok_full_width"},
            {"platform_worker_id": None},
            {"plate_no": "x", "plate_no_verdict": "'; DROP TABLE judged; --"},
        ]
    )
    assert reasons(bench) == {
        1: ["plate_no.bad_format"],
        3: ["platform_worker_id.required"],
        4: ["plate_no.unreadable"],
    }
    assert bench.accepted().read_all()["warnings"].to_pylist() == [["plate_no.ok_full_width"]]


def test_a_warning_does_not_stop_a_row(bench_of: BenchOf) -> None:
    rows = [{"distance_m": "90000"}, {"cash_fen": "3"}, {"updated_at": "2027-01-01T00:00:00+08:00"}]
    table = bench_of(rows).accepted().read_all()
    assert table["warnings"].to_pylist() == [["O-005"], ["O-006"], ["updated_at.future"]]


def test_a_delete_need_not_repeat_the_record(bench_of: BenchOf) -> None:
    gone = {"op": "D", "status": None, "sector": None, "created_at": None, "pay_state": None}
    assert landed(bench_of([gone, gone | {"segment_no": None}])) == [1]


def test_S11_the_same_content_again_is_a_duplicate_of_the_first(bench_of: BenchOf) -> None:
    same = {"key": "A", "hash": "one"}
    bench = bench_of([{"object_no": 1} | same, same | {"object_no": 0}, same | {"object_no": 1, "row_no": 9}])
    pointers = {
        (d["object_no"], d["row_no"]): (d["original_object_no"], d["original_row_no"], d["original_batch_id"])
        for d in bench.duplicates().read_all().to_pylist()
    }
    assert pointers == {(1, 1): (0, 2, None), (1, 9): (0, 2, None)}
    assert landed(bench) == [2]


def test_S11_one_version_with_two_contents_lands_neither(bench_of: BenchOf) -> None:
    rows = [{"key": "A", "hash": h} for h in ("one", "two", "one")]
    bench = bench_of([*rows, {"key": "B"}])
    assert reasons(bench) == {row: ["record.conflict"] for row in (1, 2, 3)}
    assert landed(bench) == [4]


def test_S11_another_version_is_no_conflict(bench_of: BenchOf) -> None:
    rows = [{"key": "A", "hash": h, "updated_at": f"2026-08-19T{h}:00:00+08:00"} for h in ("12", "11")]
    assert landed(bench_of(rows)) == [1, 2]


def test_S11_what_landed_before_stands(bench_of: BenchOf) -> None:
    known = pa.table(
        {
            "record_key": pa.array([block("keyA"), block("keyB"), block("keyA")], pa.binary(16)),
            "source_updated_at": pa.array(["2026-08-19T02:30:00Z"] * 2 + ["2020-01-01T00:00:00Z"]).cast(
                pa.timestamp("us", "UTC")
            ),
            "record_hash": pa.array([block("hashone"), block("hashone"), block("hashtwo")], pa.binary(16)),
            "batch_id": ["b0", "b0", "old"],
            "object_address": ["a0", "a0", "old"],
            "row_no": [7, 8, 9],
        }
    )
    rows = [{"key": "A", "hash": "one"}, {"key": "B", "hash": "two"}, {"key": "C", "hash": "one"}]
    bench = bench_of(rows, known=known)
    assert reasons(bench) == {2: ["record.conflict"]}
    [twin] = bench.duplicates().read_all().to_pylist()
    assert (twin["row_no"], twin["original_batch_id"], twin["original_object_address"]) == (1, "b0", "a0")
    assert (twin["original_row_no"], twin["original_object_no"]) == (7, None)


def test_E12_a_reversal_points_at_a_line_of_this_batch_or_a_landed_one(bench_of: BenchOf) -> None:
    rows = [
        {"line_id": "L1"},
        {"line_id": "L2", "reverses_line_id": "L1"},
        {"line_id": "L3", "reverses_line_id": "L0"},
        {"line_id": "L4", "reverses_line_id": "nobody's"},
        {"line_id": "L5", "reverses_line_id": "L5"},
    ]
    there = pa.table({"any name": pa.array([block("line_idL0"), None], pa.binary(16))})
    bench = bench_of(rows, feed="platform_earning_line", good=LINE, referenced=there)
    assert reasons(bench) == {4: ["reverses_line_id.reference"], 5: ["E-001"]}
    assert bench.references("reverses_line_id").num_rows == 4


def test_references_that_nobody_looked_up_are_not_passed(hub: Settings, contracts: dict[str, Contract]) -> None:
    contract = contracts["platform_earning_line"]
    with Bench(contract, hub, WINDOW_END, BUSINESS_DATE) as bench:
        bench.load(sealed(contract, [{}], LINE))
        with pytest.raises(Bug, match="nobody said which referenced records exist"):
            bench.scan()


def test_a_stream_that_breaks_off_raises_its_own_error(hub: Settings, contracts: dict[str, Contract]) -> None:
    contract = contracts["platform_order"]
    table = sealed(contract, [{}])

    class Cut(RuntimeError):
        pass

    def batches() -> Any:
        yield from table.to_batches()
        raise Cut

    with Bench(contract, hub, WINDOW_END, BUSINESS_DATE) as bench, pytest.raises(Cut):
        bench.load(pa.RecordBatchReader.from_batches(table.schema, batches()))


def test_a_stream_of_another_shape_is_refused(hub: Settings, contracts: dict[str, Contract]) -> None:
    contract = contracts["platform_order"]
    with Bench(contract, hub, WINDOW_END, BUSINESS_DATE) as bench, pytest.raises(Bug, match="not the contract's"):
        bench.load(sealed(contract, [{}]).drop_columns(["op"]))


money = st.one_of(
    st.none(), st.integers(-(10**15), 10**15).map(str), st.sampled_from(["1,234.50", "12.5", "", "9" * 30])
)
rows_of_orders = st.lists(
    st.fixed_dictionaries(
        {
            "key": st.integers(0, 4),
            "hash": st.integers(0, 2),
            "object_no": st.integers(0, 1),
            "customer_paid_fen": money,
            "electronic_fen": st.none(),
            "sector": st.sampled_from(["trip", "taxi", "drone", None]),
            "completed_at": st.sampled_from(["2026-08-19T10:25:00+08:00", "2026-08-19T01:00:00Z", "soon"]),
            "parse_error": st.sampled_from([None] * 9 + ["ragged"]),
        }
    ),
    max_size=40,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows_of_orders)
def test_S19_fates_are_disjoint_and_no_fen_is_lost(bench_of: BenchOf, rows: list[dict[str, Any]]) -> None:
    bench = bench_of(rows)
    counts = bench.counts
    parts = [r.read_all() for r in (bench.accepted(), bench.quarantined(), bench.duplicates())]
    places = [(r["object_no"], r["row_no"]) for part in parts for r in part.to_pylist()]
    assert len(places) == len(set(places)) == len(rows)
    assert [part.num_rows for part in parts] == [counts.accepted, counts.quarantined, counts.duplicates]
    fates = (counts.fen_accepted, counts.fen_quarantined, counts.fen_duplicates)
    readable = [r["customer_paid_fen"] for r in rows if r["parse_error"] is None]
    numbers = [v for v in readable if v and v.lstrip("-").isdigit() and len(v) < 19]
    if counts.fen_unparsed:
        assert counts.fen is None
        assert None in fates
    else:
        assert counts.fen == sum(map(int, numbers)) == sum(f for f in fates if f is not None)
    unread = sum(v not in numbers and bool(v) for v in readable) + sum(bool(r["parse_error"]) for r in rows)
    assert counts.fen_unparsed == unread
    assert counts == bench.scan()


def test_a_batch_may_be_empty(bench_of: BenchOf) -> None:
    counts = bench_of([]).counts
    assert (counts.rows, counts.fen, counts.fen_accepted) == (0, 0, 0)


def test_references_do_not_care_in_which_order_rows_come(bench_of: BenchOf) -> None:
    rows = [{"line_id": "L2", "reverses_line_id": "L1"}, {"line_id": "L1"}]
    bench = bench_of(rows, feed="platform_earning_line", good=LINE, referenced=NOBODY)
    assert landed(bench) == [1, 2]
