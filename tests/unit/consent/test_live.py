"""Who is covered by a consent, and which attribute says no."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from pipelines.consent import check, live, live_sql
from pipelines.errors import NoConsent
from tests.unit.consent.world import BANK, CUT, INSURER, NIGHT, BareLake, person_id

LATER = datetime(2026, 8, 20, 4, tzinfo=UTC)


@pytest.fixture
def lake() -> BareLake:
    return BareLake()


def covered(lake: BareLake, agreement: Any = BANK, **how: Any) -> set[Any]:
    when = {"at": CUT, "known_at": NIGHT} | how
    rows = lake.query(f"select * from ({live_sql(agreement, **when)})").to_pylist()
    assert len({row["person_id"] for row in rows}) == len(rows)  # one live consent per person
    return {row["person_id"] for row in rows}


def reasons(lake: BareLake, **how: Any) -> list[list[str]]:
    when: dict[str, Any] = {"at": CUT, "known_at": NIGHT} | how
    return check(lake, BANK, **when)["reasons"].to_pylist()  # type: ignore[arg-type]


def test_a_complete_consent_is_live(lake: BareLake) -> None:
    wang = lake.given_person("Wang")
    lake.given_consent("Wang")
    assert covered(lake) == {wang}
    assert reasons(lake) == [[]]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"purpose_text_hash": "00" * 32}, "purpose_text_hash"),
        ({"notice_version_hash": "00" * 32}, "notice_version_hash"),
        ({"data_categories": ["income", "identity"]}, "data_categories"),
        ({"data_categories": None}, "data_categories"),
        ({"legal_basis": "contract"}, "legal_basis"),
        ({"separate_consent": False}, "separate_consent"),
        ({"separate_consent": None}, "separate_consent"),
        ({"adverse_consequence_notice": False}, "adverse_consequence_notice"),
        ({"automated_decision_notice": None}, "automated_decision_notice"),
        ({"granted_at": CUT + timedelta(seconds=1)}, "granted_at"),
        ({"granted_at": None}, "granted_at"),
        ({"expires_at": CUT}, "expires_at"),
        ({"expires_at": None}, "expires_at"),
        ({"withdrawn_at": CUT}, "withdrawn_at"),
        ({"op": "D"}, "op"),
    ],
)
def test_X22_each_attribute_denies_alone_and_is_named(lake: BareLake, change: dict[str, Any], named: str) -> None:
    lake.given_person("Wang")
    lake.given_consent("Wang", **change)
    assert covered(lake) == set()
    assert reasons(lake) == [[named]]


def test_every_broken_attribute_is_named(lake: BareLake) -> None:
    lake.given_consent("Wang", separate_consent=False, expires_at=CUT)
    assert reasons(lake) == [["separate_consent", "expires_at", "person"]]


def test_X22_expiring_at_midnight_is_over_at_midnight(lake: BareLake) -> None:
    lake.given_person("Wang")
    lake.given_consent("Wang", expires_at=CUT)
    assert covered(lake, at=CUT - timedelta(seconds=1)) == {person_id("Wang")}
    assert covered(lake, at=CUT) == set()


def test_another_recipient_or_purpose_is_no_consent(lake: BareLake) -> None:
    lake.given_person("Wang")
    lake.given_consent("Wang", recipient_institution="insurer_b")
    lake.given_consent("Wang", consent_id="x", purpose_code="insurance_accident")
    assert covered(lake) == set()
    assert covered(lake, INSURER) == set()


def test_the_insurer_needs_no_warning_of_adverse_consequences(lake: BareLake) -> None:
    wang = lake.given_person("Wang")
    lake.given_consent("Wang", INSURER, adverse_consequence_notice=False)
    assert covered(lake, INSURER) == {wang}


def test_L1_a_withdrawal_ends_a_consent_from_its_instant_and_not_before(lake: BareLake) -> None:
    wang = lake.given_person("Wang")
    lake.given_consent("Wang")
    lake.given_consent("Wang", version=2, withdrawn_at=LATER, source_updated_at=LATER, known_on=NIGHT, op="U")
    assert covered(lake, at=LATER - timedelta(hours=1)) == {wang}
    assert covered(lake) == set()
    assert covered(lake, known_at=NIGHT - timedelta(days=1)) == {wang}  # replay of what was known then


def test_X22_at_publish_a_withdrawal_counts_whatever_its_instant(lake: BareLake) -> None:
    wang = lake.given_person("Wang")
    lake.given_consent("Wang", version=2, withdrawn_at=CUT + timedelta(hours=3), known_on=date(2026, 8, 21))
    assert covered(lake, known_at=date.max) == {wang}
    assert covered(lake, known_at=date.max, any_withdrawal=True) == set()


def test_a_later_version_cannot_take_a_withdrawal_back(lake: BareLake) -> None:
    lake.given_person("Wang")
    lake.given_consent("Wang", version=2, withdrawn_at=LATER)
    lake.given_consent("Wang", version=3, withdrawn_at=None)
    assert reasons(lake) == [["withdrawn_at"]]


def test_the_higher_version_wins_whatever_the_order_of_arrival(lake: BareLake) -> None:
    lake.given_person("Wang")
    lake.given_consent("Wang", version=2, separate_consent=False, row_no=1)
    lake.given_consent("Wang", version=1, row_no=2, source_updated_at=LATER)
    assert covered(lake) == set()


def test_granted_again_is_live_again_and_the_latest_grant_stands(lake: BareLake) -> None:
    wang = lake.given_person("Wang")
    lake.given_consent("Wang", withdrawn_at=LATER - timedelta(days=9))
    lake.given_consent("Wang", consent_id="second", granted_at=LATER - timedelta(days=5))
    lake.given_consent("Wang", consent_id="third", granted_at=LATER - timedelta(days=1))
    assert covered(lake) == {wang}
    assert lake.query(live_sql(BANK, at=CUT, known_at=NIGHT))["consent_id"].to_pylist() == ["third"]
    assert ["a_later_consent"] in reasons(lake)


def test_an_identifier_that_leads_to_two_persons_covers_neither(lake: BareLake) -> None:
    lake.given_person("Wang")
    lake.con.execute("insert into marts.person_link select * replace (uuid() as person_id) from marts.person_link")
    lake.given_consent("Wang")
    assert reasons(lake) == [["person"]]


def test_no_agreement_no_consent(lake: BareLake) -> None:
    lake.given_person("Wang")
    lake.given_consent("Wang")
    found = live(lake, recipient="bank_a", purpose_code="credit_working_capital", at=CUT, known_at=NIGHT)  # type: ignore[arg-type]
    assert lake.query(found).num_rows == 1
    with pytest.raises(NoConsent):
        live(lake, recipient="bank_a", purpose_code="marketing", at=CUT, known_at=NIGHT)  # type: ignore[arg-type]
