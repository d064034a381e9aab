"""Every injected fault meets the fate that the label file says, and no clean record is quarantined."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.end_to_end.conftest import Shown

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def labels(shown: Shown) -> list[dict[str, Any]]:
    rows = pq.read_table(shown.stage.world / "labels.parquet").to_pylist()
    return [row for row in rows if row["business_date"] in shown.stage.dates()]


def tally(labels: list[dict[str, Any]], fate: str, *columns: str) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(row[c] for c in columns) for row in labels if row["expected_fate"] == fate)


def counted(rows: list[dict[str, Any]], *columns: str) -> Counter[tuple[Any, ...]]:
    return Counter({tuple(row[c] for c in columns): row["n"] for row in rows})


def test_each_quarantined_record_is_a_labelled_one_with_its_rule(shown: Shown, labels: list[dict[str, Any]]):
    found = shown.query(
        "select feed, business_date, reason, count(*) as n from "
        "(select feed, business_date, unnest(reasons) as reason from quarantine.record) group by all"
    )
    by_rule = counted(found, "feed", "business_date", "reason")
    expected = tally(labels, "quarantined", "feed", "business_date", "expected_rule")
    # A record may break more rules than the one it was made for; that no other record does is the next test.
    assert {rule: by_rule[rule] for rule in expected} == dict(expected)


def test_no_clean_record_is_quarantined(shown: Shown, labels: list[dict[str, Any]]):
    found = shown.query("select feed, business_date, count(*) as n from quarantine.record group by all")
    assert counted(found, "feed", "business_date") == tally(labels, "quarantined", "feed", "business_date")


def test_each_duplicate_is_a_labelled_one_and_names_its_original(shown: Shown, labels: list[dict[str, Any]]):
    found = shown.query(
        "select feed, business_date, count(original_object_address) as n from quarantine.duplicate group by all"
    )
    assert counted(found, "feed", "business_date") == tally(labels, "duplicate", "feed", "business_date")


def test_each_warning_is_a_labelled_one(shown: Shown, labels: list[dict[str, Any]]):
    found: Counter[tuple[Any, ...]] = Counter()
    for feed in {row["feed"] for row in labels}:
        rows = shown.query(
            f"select '{feed}' as feed, b.business_date, warning, count(*) as n from "
            f"(select batch_id, unnest(warnings) as warning from landed.{feed}) "
            "join control.batch as b using (batch_id) group by all"
        )
        found += counted(rows, "feed", "business_date", "warning")
    assert found == tally(labels, "flag", "feed", "business_date", "expected_rule")


def test_late_records_land_and_say_when_they_became_known(shown: Shown, labels: list[dict[str, Any]]):
    found = shown.query(
        "select known_on, count(*) as n from landed.platform_order where not known_assumed "
        "and known_on - (created_at at time zone 'Asia/Shanghai')::date > 7 and op <> 'D' group by all"
    )
    late = [row for row in labels if row["fault_kind"] == "late_record"]
    for day, expected in tally(late, "landed", "business_date").items():
        assert {row["known_on"]: row["n"] for row in found}.get(day[0], 0) >= expected


def test_corrected_and_deleted_records_supersede_what_stood_before(shown: Shown, labels: list[dict[str, Any]]):
    changed = {row["key"] for row in labels if row["fault_kind"] in ("corrected_record", "deleted_record")}
    gone = {row["key"] for row in labels if row["fault_kind"] == "deleted_record"}
    (found,) = shown.query(
        "select count(*) filter (versions > 1) as changed, count(*) filter (last_op = 'D') as gone from "
        "(select record_key, count(*) as versions, arg_max(op, (source_updated_at, known_on, row_no)) as last_op "
        " from landed.platform_order group by 1)"
    )
    assert (found["changed"], found["gone"]) == (len(changed), len(gone))


def test_an_identifier_in_free_text_is_removed_before_it_lands(shown: Shown, labels: list[dict[str, Any]]):
    for feed, column, kind in (
        ("bank_txn", "summary", "id_in_summary"),
        ("platform_earning_line", "memo", "id_in_memo"),
    ):
        (found,) = shown.query(f"select count(*) as n from landed.{feed} where {column} like '%[removed]%'")
        assert found["n"] == sum(row["fault_kind"] == kind for row in labels)


def test_a_shared_phone_is_flagged_and_merges_nobody(shown: Shown, labels: list[dict[str, Any]]):
    sharing = sum(row["fault_kind"] == "phone_shared" for row in labels)
    (found,) = shown.query("select count(*) as n from marts.person where shared_phone_n >= 3")
    assert found["n"] >= sharing >= 3


def test_two_names_under_one_number_are_a_conflict(shown: Shown, labels: list[dict[str, Any]]):
    (found,) = shown.query("select count(*) as n from marts.person where name_conflict")
    assert found["n"] >= sum(row["fault_kind"] == "name_conflict" for row in labels) >= 1


def test_the_nights_hold_the_faults_that_the_issue_names(labels: list[dict[str, Any]]):
    assert {row["fault_kind"] for row in labels} >= {
        "bad_check_digit", "id_15_digits", "id_full_width", "id_lower_case_x", "exact_duplicate", "late_record",
        "corrected_record", "orphan_reversal", "mojibake_name", "phone_shared",
    }  # fmt: skip
    assert {row["business_date"] for row in labels} >= {date(2026, 8, 20), date(2026, 8, 21)}
