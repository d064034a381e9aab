"""What becomes of a batch: one fate for every record, one commit, the same again for the same."""

from __future__ import annotations

import dataclasses
import json
import uuid
from datetime import date, timedelta

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from pipelines.errors import BatchHeld, Bug, CatalogLocked, Refused, SourceBroken, TotalsDiffer, Transient
from pipelines.lake import Lake
from pipelines.ledger import entries, verify

from .sealed_world import CONTRACT, FEED, NIGHT, OUTER_KEY, Agency, Hub, Line, token

NEXT = NIGHT + timedelta(days=1)


def assert_nothing_landed(hub: Hub) -> None:
    assert hub.fates() == {"quarantined": [], "duplicate": []}
    for table in ("control.batch", "control.window", "ledger.entry"):
        assert hub.rows(f"select count(*) from {table}") == [(0,)], table


def test_every_record_has_one_fate_and_the_counts_are_told(hub: Hub) -> None:
    receipt = hub.night(
        [Line("a1"), Line("a2", fen="-30"), Line("a3", fen="12.5"), Line("a1")],
        [
            Line("b1", line_type="nonsense"),
            Line("b2", fen=None),
            Line("b3", reverses="a1"),
            Line("b4", reverses="zz"),
        ],
    )
    assert receipt.fate == "landed"
    assert receipt.counts == {
        "physical": 8, "control_records": 0, "landed": 3, "quarantined": 4, "duplicates": 1,
    }  # fmt: skip
    assert hub.fates() == {"landed": [1, 2, 3], "quarantined": [3, 1, 2, 4], "duplicate": [4]}
    reasons = dict(hub.rows("select row_no || ' of ' || right(object_address, 1), reasons from quarantine.record"))
    assert reasons == {
        "3 of 0": ["amount_fen.type"],
        "1 of 1": ["line_type.enum"],
        "2 of 1": ["amount_fen.required"],
        "4 of 1": ["reverses_line_id.reference"],
    }
    original = hub.rows(
        "select original_batch_id, original_object_address, original_row_no from quarantine.duplicate"
    )
    assert original == [(f"b-{NIGHT}", "0" * 64, 1)]


def test_what_landed_is_typed_points_into_the_vault_and_has_both_keys_on_its_tokens(hub: Hub) -> None:
    hub.night([Line("a1", fen="+7", memo="x", updated="2026-08-20T23:30:00Z")])
    (row,) = hub.lake.query(f"from landed.{FEED}").to_pylist()
    cipher = Cipher(algorithms.AES(OUTER_KEY), modes.ECB())
    for column, inner in (
        ("line_id_token", token("line", "a1")),
        ("record_key", token("key", "a1")),
        ("platform_worker_id_token", token("worker", "a")),
    ):
        assert uuid.UUID(row[column]).bytes == cipher.encryptor().update(inner), column
    assert row["reverses_line_id_token"] is None
    assert (row["amount_fen"], row["memo"], row["row_no"]) == (7, "x", 1)
    assert (row["batch_id"], row["object_address"]) == (f"b-{NIGHT}", "0" * 64)
    assert row["source_updated_at"].isoformat() == "2026-08-20T23:30:00+00:00"


def test_history_is_known_from_its_own_clock_and_a_night_from_its_date(hub: Hub) -> None:
    # 23:30 UTC is the next morning in Shanghai; a clock that runs ahead is capped at the night that brought it.
    hub.night([Line("a1", updated="2026-03-01T23:30:00Z"), Line("a2", updated="2026-08-25T00:00:00Z")])
    hub.night([Line("a3", updated="2026-07-01T00:00:00Z"), Line("a4", updated="2026-08-21T01:00:00Z")], night=NEXT)
    known = hub.rows(f"select known_on, known_assumed from landed.{FEED} order by known_on, known_assumed desc")
    assert known == [(date(2026, 3, 2), True), (NIGHT, True), (NEXT, False), (NEXT, False)]
    assert hub.rows("select kind from control.batch order by business_date") == [("first_load",), ("nightly",)]


def test_a_record_of_an_earlier_night_is_a_duplicate_a_newer_version_lands_other_content_is_a_conflict(
    hub: Hub,
) -> None:
    hub.night([Line("a1"), Line("a2"), Line("a3")])
    hub.night(
        [
            Line("a1"),
            Line("a2", fen="7", updated="2026-08-21T10:00:00+08:00"),
            Line("a3", fen="999"),
            Line("a4", reverses="a1", updated="2026-08-21T10:00:00+08:00"),
        ],
        night=NEXT,
    )
    assert hub.rows("select row_no, original_batch_id, original_row_no from quarantine.duplicate") == [
        (1, f"b-{NIGHT}", 1)
    ]
    assert hub.rows("select row_no, reasons from quarantine.record") == [(3, ["record.conflict"])]
    assert hub.rows(f"select row_no from landed.{FEED} where batch_id = 'b-{NEXT}' order by 1") == [(2,), (4,)]


def test_a_rerun_changes_nothing(hub: Hub) -> None:
    agency = Agency([[Line("a1"), Line("a2")]])
    hub.pulled(agency)
    first = hub.land(agency)
    snapshot = hub.lake.snapshot()
    again = hub.land(agency)
    assert again.fate == "unchanged"
    assert (again.batch_id, again.counts) == (first.batch_id, first.counts)
    assert hub.lake.snapshot() == snapshot


def test_the_night_is_in_the_ledger_and_verifies(hub: Hub) -> None:
    hub.night([Line("a1"), Line("a2", fen="x")], [Line("a1"), Line("b1", fen="-5")])
    (entry,) = entries(hub.lake, f"feed.{FEED}")
    said = json.loads(entry.body)
    assert entry.kind == "landed"
    assert said["counts"]["landed"] == 2
    sums = {"declared": None, "landed": 95, "quarantined": 0, "duplicates": 100}
    assert said["fen"] == {"field": "amount_fen", "provable": False} | sums
    assert said["contract_sha256"] == CONTRACT.sha256
    report = verify(hub.lake, hub.settings)
    broken = [finding for finding in report.broken if finding.check != "vault objects"]
    assert broken == [], "the vault is not part of this world"
    assert ("invariant 3", f"b-{NIGHT}") in {(f.check, f.subject) for f in report.unprovable}


def test_money_is_conserved_and_provable_when_every_amount_reads(hub: Hub) -> None:
    hub.night(
        [Line("a1", fen="999999999999999999"), Line("a2", fen="999999999999999999")], [Line("b1", fen="1", op="")]
    )
    said = "select fen_declared, fen_landed, fen_quarantined, fen_duplicates, fen_provable from control.batch"
    assert hub.rows(said) == [(1_999_999_999_999_999_999, 1_999_999_999_999_999_998, 1, 0, True)]
    assert {finding.check for finding in verify(hub.lake, hub.settings).broken} <= {"vault objects"}


def test_amounts_that_add_up_to_more_than_a_number_can_hold_land_and_stay_unproven(hub: Hub) -> None:
    receipt = hub.night([Line(f"a{n}", fen="999999999999999999") for n in range(12)])
    assert receipt.counts["landed"] == 12
    assert hub.rows("select fen_landed, fen_provable from control.batch") == [(None, False)]
    report = verify(hub.lake, hub.settings)
    assert {finding.check for finding in report.broken} <= {"vault objects"}
    assert ("invariant 3", f"b-{NIGHT}") in {(f.check, f.subject) for f in report.unprovable}


def test_a_batch_that_the_gate_holds_leaves_a_line_and_no_record_and_is_not_judged_twice(hub: Hub) -> None:
    agency = Agency([[Line(f"a{n}", line_type="nonsense") for n in range(300)]])
    hub.pulled(agency)
    with pytest.raises(BatchHeld, match=f"HELD {FEED} 2026-08-20") as held:
        hub.land(agency)
    assert "line_type.enum" in held.value.why
    assert hub.fates() == {"quarantined": [], "duplicate": []}
    assert hub.rows("select fate, physical, landed from control.batch") == [("held", 300, 0)]
    assert hub.rows("select count(*) from control.window") == [(0,)]
    assert [entry.kind for entry in entries(hub.lake, f"feed.{FEED}")] == ["held"]
    snapshot = hub.lake.snapshot()
    with pytest.raises(BatchHeld, match="HELD"):
        hub.land(agency)
    assert hub.lake.snapshot() == snapshot
    report = verify(hub.lake, hub.settings)
    assert {finding.check for finding in report.broken} <= {"vault objects"}


def test_a_held_batch_lands_when_the_contract_is_changed(hub: Hub) -> None:
    agency = Agency([[Line(f"a{n}", line_type="nonsense" if n < 30 else "tip") for n in range(300)]])
    hub.pulled(agency)
    with pytest.raises(BatchHeld):
        hub.land(agency)
    patient = dataclasses.replace(CONTRACT, max_rejected_share=0.2, sha256="f" * 64)
    assert hub.land(agency, contract=patient).counts["landed"] == 270
    assert hub.rows("select fate from control.batch order by 1") == [("held",), ("landed",)]
    report = verify(hub.lake, hub.settings)
    assert {finding.check for finding in report.broken} <= {"vault objects"}


def test_great_expectations_holds_the_same_batch_and_leaves_a_page(hub: Hub) -> None:
    agency = Agency([[Line(f"a{n}", line_type="nonsense") for n in range(300)]])
    hub.pulled(agency)
    with pytest.raises(BatchHeld):
        hub.land(agency, gx=True)
    stored = json.loads((hub.settings.docs_dir / "validations" / "2026-08-20" / f"{FEED}.json").read_text())
    assert stored["held"]


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        ({"hash": "0" * 64}, "not those that were sealed"),
        ({"rows": 3}, "do not add up"),
        ({"physical_records": 3}, "do not add up"),
        ({"fen": 201}, "sum of the amounts"),
        ({"batch_id": "other"}, "another batch"),
        ({"feed": "other"}, "another batch"),
        ({"object.address": "f" * 64}, "other objects"),
        ({"object.rows": 1}, "missing or came twice"),
        ({"object.physical_records": 3}, "missing or came twice"),
        ({"objects": []}, "other objects"),
    ],
)
def test_a_trailer_that_says_anything_else_lands_nothing(hub: Hub, lie: dict[str, object], why: str) -> None:
    with pytest.raises(Refused) as refused:
        hub.night([Line("a1"), Line("a2")], bent=lie)
    assert why in refused.value.why
    assert_nothing_landed(hub)


def test_a_stream_without_its_trailer_lands_nothing(hub: Hub) -> None:
    with pytest.raises(Refused) as refused:
        hub.night([Line("a1"), Line("a2")], has_trailer=False)
    assert "trailer" in refused.value.why
    assert_nothing_landed(hub)


def test_F2_a_stream_cut_anywhere_lands_nothing(hub: Hub) -> None:
    agency = Agency([[Line("a1")], [Line("a2")]])
    hub.pulled(agency)
    whole = len(agency.stream(f"b-{NIGHT}"))
    end_mark = 8  # the stream's own end; the trailer is whole without it
    for cut in [0, 100, *range(900, whole - end_mark, whole // 4), whole - end_mark - 1]:
        agency.cut_at = cut
        with pytest.raises(Refused):
            hub.land(agency)
    assert_nothing_landed(hub)
    agency.cut_at = None
    assert hub.land(agency).fate == "landed"


@pytest.mark.parametrize(
    ("declared", "why"),
    [
        ({"declared_records": [3]}, "3 records declared, 2 came"),
        ({"declared_fen": [199]}, "199 fen declared, 200 came"),
        ({"bent": {"object.declared_records": 1}}, "1 records declared, 2 came"),
        ({"bent": {"object.declared_fen": 0}}, "0 fen declared, 200 came"),
    ],
)
def test_F3_totals_other_than_the_senders_land_nothing(hub: Hub, declared: dict[str, object], why: str) -> None:
    with pytest.raises(TotalsDiffer) as differ:
        hub.night([Line("a1"), Line("a2")], **declared)
    assert differ.value.why == why
    assert "page 1" in differ.value.where
    assert_nothing_landed(hub)


def test_control_records_are_counted_and_totals_that_agree_land(hub: Hub) -> None:
    receipt = hub.night([Line("a1"), Line("a2")], control=3, declared_records=[2], declared_fen=[200])
    assert (receipt.counts["physical"], receipt.counts["control_records"]) == (5, 3)
    assert hub.rows("select fen_declared, fen_provable from control.batch") == [(200, True)]


def test_a_sealer_that_ends_with_an_error_lands_nothing_and_its_own_words_are_told(hub: Hub) -> None:
    with pytest.raises(SourceBroken, match="the sealer's words"):
        hub.night([Line("a1")], fails_with=SourceBroken("the sealer's words"))
    assert_nothing_landed(hub)


def test_a_column_that_is_not_agreed_stays_outside_and_one_that_is_missing_stops_the_landing(hub: Hub) -> None:
    wider = dataclasses.replace(CONTRACT, fields=(*CONTRACT.fields, CONTRACT.by_name["memo"].__class__(
        name="later", type="string", required=False, label_zh="后", description="d", cls="P1")))  # fmt: skip
    agency = Agency([[Line("a1")]])
    hub.pulled(agency)
    with pytest.raises(Refused, match="nothing landed") as refused:
        hub.land(agency, contract=wider)
    assert "column later" in refused.value.why
    hub.land(agency)


def test_a_broken_record_is_kept_in_quarantine_with_what_broke_it(hub: Hub) -> None:
    hub.night([Line("a1"), Line("a2", parse_error="ragged")])
    assert hub.rows("select row_no, reasons, money_fen from quarantine.record") == [(2, ["record.ragged"], None)]
    assert hub.rows("select fen_provable from control.batch") == [(False,)]


def test_S19_more_bad_rows_than_any_list_shows_are_each_quarantined_once(hub: Hub) -> None:
    agency = Agency([[Line(f"a{n}", fen="x" if n < 201 else "1") for n in range(1000)]])
    hub.pulled(agency)
    generous = dataclasses.replace(CONTRACT, max_rejected_share=0.5)
    receipt = hub.land(agency, contract=generous)
    assert (receipt.counts["quarantined"], receipt.counts["landed"]) == (201, 799)
    assert hub.rows("select count(distinct row_no) from quarantine.record") == [(201,)]


def test_A4_a_run_that_wakes_after_its_successor_is_fenced_off(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    step = importlib.import_module("pipelines.landing.land")
    agency = Agency([[Line("a1")]])
    hub.pulled(agency)
    write_landed = step.write_landed

    def overtaken(lake: Lake, judged: object) -> object:
        monkeypatch.setattr(step, "write_landed", write_landed)
        with Lake.attach(hub.settings) as other:
            Hub(hub.settings, other).land(agency)
        return write_landed(lake, judged)

    monkeypatch.setattr(step, "write_landed", overtaken)
    with pytest.raises(Transient, match="another run landed"):
        hub.land(agency)
    assert hub.fates()["landed"] == [1]
    assert hub.land(agency).fate == "unchanged"


def test_an_error_in_the_commit_leaves_nothing_and_the_rerun_is_whole(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.landing import writing

    agency = Agency([[Line("a1"), Line("a2", fen="x")]])
    hub.pulled(agency)

    def full(*args: object, **more: object) -> None:
        raise CatalogLocked("disk full")

    monkeypatch.setattr(writing, "_say", full)
    with pytest.raises(CatalogLocked):
        hub.land(agency)
    assert_nothing_landed(hub)
    monkeypatch.undo()
    assert hub.land(agency).counts["landed"] == 1


def test_a_newer_contract_widens_the_table_and_older_rows_have_null(hub: Hub) -> None:
    older = dataclasses.replace(CONTRACT, fields=tuple(f for f in CONTRACT.fields if f.name != "memo"))
    agency = Agency([[Line("a1")]])
    hub.pulled(agency)
    hub.land(agency, contract=older)
    assert "memo" not in hub.lake.columns(f"landed.{FEED}")
    hub.night([Line("a2", memo="new", updated="2026-08-21T01:00:00Z")], night=NEXT)
    assert hub.rows(f"select memo from landed.{FEED} order by known_on") == [(None,), ("new",)]


def test_a_date_that_was_not_pulled_has_nothing_to_land(hub: Hub) -> None:
    with pytest.raises(Refused, match="nothing to land") as refused:
        hub.land(Agency([]), NIGHT)
    assert refused.value.do == f"sanche pull {FEED} --date 2026-08-20"


def test_two_contracts_are_not_confused(hub: Hub) -> None:
    with pytest.raises(Bug):
        hub.land(Agency([]), contract=dataclasses.replace(CONTRACT, feed="other"))


def test_an_error_while_landing_shows_no_cell(hub: Hub) -> None:
    secret = "430102199003078515"
    with pytest.raises(BatchHeld) as held:
        hub.night([Line(f"a{n}", line_type=secret, memo=secret, fen=secret + "x") for n in range(300)])
    assert secret not in str(held.value)
    assert hub.rows(f"select count(*) from control.batch where contains(gate, '{secret}')") == [(0,)]
