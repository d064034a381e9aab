"""What leaves, what does not, and why: the package as its recipient sees it."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import pytest

from pipelines.errors import KeyUnavailable, Refused
from pipelines.extracts import extract
from pipelines.ledger import check_path, verify
from tests.unit.consent.world import person_id
from tests.unit.extracts.world import BANK, INSURER, NIGHT, World, manifest_of, rows_of

NEXT = NIGHT + timedelta(days=1)


def test_a_row_is_the_agreements_fields_and_nothing_else(world: World) -> None:
    decision_no = world.given("Wang", tier="B")
    received = world.receive(world.publish())
    (row,) = rows_of(received)
    assert list(row) == list(BANK.fields)
    assert row["decision_no"] == decision_no
    assert row["recipient_ref"] == "APPL-00WANG"
    assert row["reason_codes"] == ["R201", "R202", "R203", "R204"]
    assert row["limit_fen"] == 1_200_000
    assert row["key_version"] == 1
    assert row["delete_by"] == date(2026, 9, 20)
    assert "feature-hash" not in str(row)
    assert person_id("Wang").replace("-", "") != row["person_token"]


def test_X24_a_new_column_changes_nothing(world: World) -> None:
    with world.lake.commit(step="draw", business_date=None) as commit:
        commit.execute("alter table decisions.decision add column secret_score bigint default 712")
    world.given("Wang")
    received = world.receive(world.publish())
    assert list(rows_of(received)[0]) == list(BANK.fields)


def test_tokens_of_two_recipients_share_nothing_and_rows_are_sorted_by_them(world: World) -> None:
    for name in ("Wang", "Li", "Zhang", "Liu", "Chen"):
        world.given(name)
        world.given(name, INSURER)
    at_bank = rows_of(world.receive(world.publish()))
    at_insurer = rows_of(world.receive(world.publish(INSURER), "insurer_b"))
    ours, theirs = ([row["person_token"] for row in rows] for rows in (at_bank, at_insurer))
    assert len(set(ours)) == len(set(theirs)) == 5
    assert not set(ours) & set(theirs)
    assert ours == sorted(ours)
    assert theirs == sorted(theirs)


def test_the_same_person_keeps_the_token_from_night_to_night(world: World) -> None:
    world.given("Wang")
    world.given("Wang", on=NEXT)
    first = rows_of(world.receive(world.publish()))
    second = rows_of(world.receive(world.publish(on=NEXT)))
    assert first[0]["person_token"] == second[0]["person_token"]


def test_X22_withdrawn_between_decide_and_publish_is_absent_with_the_reason(world: World) -> None:
    world.given("Wang")
    world.given("Li")
    world.withdraw("Li")
    receipt = world.publish()
    assert {row["recipient_ref"] for row in rows_of(world.receive(receipt))} == {"APPL-00WANG"}
    assert manifest_of(receipt)["totals"] == {
        "in_scope": 2, "sent": 1, "withheld": {"consent.withdrawn_at": 1}, "deletions": 0,
    }  # fmt: skip
    kept = world.lake.query("select withheld_reason, consent_version from control.extract_row order by all")
    assert kept["withheld_reason"].to_pylist() == ["consent.withdrawn_at", None]


def test_X22_a_withdrawal_dated_after_the_night_counts_as_soon_as_it_has_landed(world: World) -> None:
    world.given("Wang")
    world.withdraw("Wang", withdrawn_at="2026-08-21 03:00:00+08", known_on=NEXT)
    assert rows_of(world.receive(world.publish())) == []


def test_X22_later_withdrawal_brings_one_deletion_notice(world: World) -> None:
    world.given("Wang")
    world.given("Li")
    first = rows_of(world.receive(world.publish()))
    token = {row["recipient_ref"]: row["person_token"] for row in first}["APPL-0000LI"]
    world.withdraw("Li", withdrawn_at="2026-08-21 10:00:00+08", known_on=NEXT)
    for name in ("Wang", "Li"):
        world.decided(name, on=NEXT)
    received = world.receive(world.publish(on=NEXT))
    assert received.deletions == 1
    notice = next(file for file in received.files if file.name == "deletions.json")
    assert json.loads(notice.read_text()) == {
        "deletions": [
            {"person_token": token, "key_version": 1, "recipient_ref": "APPL-0000LI",
             "reason": "consent_withdrawn", "withdrawn_on": "2026-08-21"}
        ]
    }  # fmt: skip
    world.decided("Wang", on=NEXT + timedelta(days=1))
    again = world.receive(world.publish(on=NEXT + timedelta(days=1)))
    assert (again.rows, again.deletions) == (1, 0)


def test_X22_granted_again_is_sent_again_without_a_notice(world: World) -> None:
    world.given("Wang")
    world.receive(world.publish())
    world.withdraw("Wang", withdrawn_at="2026-08-21 10:00:00+08", known_on=NEXT)
    world.consent("Wang", consent_id="again", granted_at="2026-08-21 11:00:00+08", known_on=NEXT)
    world.decided("Wang", on=NEXT)
    received = world.receive(world.publish(on=NEXT))
    assert (received.rows, received.deletions) == (1, 0)
    kept = world.lake.query("select consent_id from control.extract_row where sequence = 2")
    assert kept["consent_id"].to_pylist() == ["again"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"expires_at": "2026-08-21 00:00:00+08"}, "consent.expires_at"),
        ({"purpose_text_hash": "00" * 32}, "consent.purpose_text_hash"),
        ({"recipient_institution": "insurer_b"}, "consent.missing"),
        ({"separate_consent": False}, "consent.separate_consent"),
    ],
)
def test_X22_every_refusal_is_named(world: World, change: dict[str, object], reason: str) -> None:
    world.given("Wang")
    world.consent("Wang", version=2, op="U", **change)
    assert manifest_of(world.publish())["totals"]["withheld"] == {reason: 1}


def test_two_applicants_with_one_reference_are_both_withheld(world: World) -> None:
    for name in ("Wang", "Li"):
        world.consent(name, ref="SAME-REF-001")
        world.given(name)
    world.consent("Chen", ref="a b")
    world.given("Chen")
    totals = manifest_of(world.publish())["totals"]
    assert totals["withheld"] == {"recipient_ref.malformed": 1, "recipient_ref.shared": 2}
    assert totals["in_scope"] == totals["sent"] + sum(totals["withheld"].values())


def test_a_night_without_applicants_still_has_its_package(world: World) -> None:
    received = world.receive(world.publish())
    assert (received.rows, received.sequence) == (0, 1)


def test_a_rerun_changes_nothing(world: World) -> None:
    world.given("Wang")
    first = world.publish()
    again = world.publish()
    assert (first.fate, again.fate) == ("published", "unchanged")
    assert (first.hashes, first.counts) == (again.hashes, again.counts)
    assert world.lake.query("select count(*) as n from control.extract")["n"].to_pylist() == [1]


def test_late_data_supersede_within_the_days_quota(world: World) -> None:
    old = world.given("Wang")
    world.receive(world.publish())
    world.decided("Wang", decision_no="C1-Wang-late", supersedes=old, change_reason="LATE_DATA")
    (row,) = rows_of(world.receive(world.publish()))
    assert (row["decision_no"], row["supersedes"]) == ("C1-Wang-late", old)
    status = world.lake.query("select status from control.extract order by sequence")["status"].to_pylist()
    assert status == ["superseded", "published"]
    world.decided("Wang", decision_no="C1-Wang-later", supersedes="C1-Wang-late")
    with pytest.raises(Refused) as caught:
        world.publish()
    assert "pulls_per_day" in caught.value.where


def test_outside_its_dates_an_agreement_moves_nothing(world: World) -> None:
    with pytest.raises(Refused) as caught:
        world.publish(on=date(2029, 1, 1))
    assert "valid_to" in caught.value.where


def test_a_night_that_was_never_decided_is_not_published_as_empty(world: World) -> None:
    with pytest.raises(Refused, match="nothing was decided"):
        extract(BANK.id, settings=world.hub, lake=world.lake, keyring=world.keyring, business_date=NIGHT)


def test_without_the_nights_signed_head_nothing_leaves(world: World) -> None:
    world.given("Wang")
    world.head(NIGHT - timedelta(days=1))
    with world.lake.commit(step="draw", business_date=NIGHT) as commit:
        commit.execute("insert into control.build values ('decide', ?, 'by hand', 1)", [NIGHT])
    with pytest.raises(Refused, match="no signed head"):
        extract(BANK.id, settings=world.hub, lake=world.lake, keyring=world.keyring, business_date=NIGHT)
    assert world.lake.query("select count(*) as n from control.extract")["n"].to_pylist() == [0]
    assert not list(world.hub.outbox_dir.glob("bank_a/*"))


def test_without_the_recipients_key_nothing_leaves(world: World) -> None:
    world.given("Wang")
    (world.hub.recipients_dir / "bank_a.cert.pem").unlink()
    with pytest.raises(KeyUnavailable):
        world.publish()
    (world.hub.recipients_dir / "bank_a.cert.pem").write_text("not a certificate")
    with pytest.raises(KeyUnavailable):
        world.publish()
    assert not list(world.hub.outbox_dir.glob("bank_a/*"))


def test_packages_are_private_and_quote_the_ledger(world: World) -> None:
    world.given("Wang")
    receipt = world.publish()
    for path in [*Path(receipt.paths["package"]).iterdir()]:
        assert path.stat().st_mode & 0o777 == 0o600
    quote = manifest_of(receipt)["ledger_head"]
    check_path(quote)
    assert quote["statement"]["head_no"] == 1
    ((said,),) = world.lake.rows("select body from ledger.entry where stream = 'agreement.bank_a_c1'")
    assert json.loads(said)["manifest_sha256"] == receipt.hashes["manifest"]


def test_the_ledgers_own_verification_agrees(world: World) -> None:
    world.given("Wang")
    world.given("Li")
    world.withdraw("Li")
    world.publish()
    world.publish(INSURER)
    findings = verify(world.lake, world.hub).findings
    broken = [f for f in findings if f.check in ("invariant 5", "package", "data files", "chain") and not f.ok]
    assert broken == []
