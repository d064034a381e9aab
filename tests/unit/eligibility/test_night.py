"""Nights: who gets a row, what stands, what changes it, what happens when a night is run again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.eligibility import explain
from pipelines.errors import BadInput, Refused, Usage
from pipelines.settings import Settings

from .world import FIRST, World

DAY = timedelta(days=1)
SECOND, EXPIRED = FIRST + DAY, FIRST + 32 * DAY
POOR: dict[str, Any] = {"inc_cv_6": 0.5}  # row B
BAD: dict[str, Any] = {"active_days_90": 5}  # no row


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty world, made once: making one takes as long as deciding a night."""
    home = tmp_path_factory.mktemp("template") / "hub"
    World(Settings(home=home)).lake.close()
    return home


@pytest.fixture
def world(hub: Settings, template: Path) -> Iterator[World]:
    shutil.copytree(template, hub.home)
    made = World(hub)
    yield made
    made.lake.close()


def said(row: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


def test_each_live_application_has_one_row_and_nobody_else_any(world: World) -> None:
    world.consents("Wang", "Li", "Chen")
    world.consents("Zhao", withdrawn_at="2026-08-18T12:00:00+08:00")
    receipt = world.night(FIRST, Wang={}, Li=BAD, Zhao={}, Other={})
    assert receipt.counts == {
        "bank_a_c1.ELIGIBLE": 1, "bank_a_c1.INELIGIBLE": 1, "bank_a_c1.PENDING": 1,
        "insurer_b_i1.ELIGIBLE": 2, "insurer_b_i1.PENDING": 1,
    }  # fmt: skip
    assert world.rows("Zhao", "C1", FIRST) == world.rows("Other", "C1", FIRST) == []


def test_a_credit_row_says_terms_and_nothing_of_cover(world: World) -> None:
    world.consents("Wang")
    world.night(FIRST, Wang={})
    row = world.row("Wang", "C1", FIRST)
    assert said(row, "outcome", "tier", "limit_fen", "sweep_bp", "payout_cycle", "payout_dom") == (
        "ELIGIBLE", "A", 1_200_000, 2000, "weekly", 5,
    )  # fmt: skip
    assert said(row, "as_of", "decided_on", "valid_until") == (SECOND, SECOND, SECOND + 30 * DAY)
    assert row["delete_by"] == row["valid_until"] + 30 * DAY
    assert row["source_as_of"] == FIRST - DAY, "the stalest source, the bank, last spoke a day before"
    assert said(row, "cover_from", "variant", "premium_basis") == (None, None, None)
    assert len(row["decision_no"]) == 16


def test_an_insured_day_is_declared_until_half_past_one(world: World) -> None:
    world.consents("Wang", "Li")
    world.night(FIRST, Wang={"orders_day": 7}, Li={"orders_day": 0, "occ_injury_in_force": False})
    row = world.row("Wang", "I1", FIRST)
    assert said(row, "variant", "sum_insured_fen", "vehicle") == ("top_up", 30_000_000, "ebike")
    assert row["cover_from"].isoformat() == "2026-08-18T16:00:00+00:00", "midnight in Shanghai"
    assert row["cover_to"].isoformat() == "2026-08-19T17:30:00+00:00", "01:30 of the next day in Shanghai"
    assert row["premium_basis"] == "orders=7;milli_yuan_per_order=120;premium_fen=84"
    rested = world.row("Li", "I1", FIRST)
    assert said(rested, "outcome", "variant", "cover_from", "reason_codes") == ("ELIGIBLE", "full", None, ["R302"])


def test_a_number_follows_from_agreement_consent_product_and_date(world: World) -> None:
    world.consents("Wang")
    world.night(FIRST, Wang={})
    named = hashlib.sha256(b"bank_a_c1|Wang-bank_a|C1|2026-08-20").hexdigest()
    assert world.row("Wang", "C1", FIRST)["decision_no"] == named[:16]


def test_better_at_once_worse_only_at_expiry(world: World) -> None:
    world.consents("Wang")
    world.night(FIRST, Wang=POOR)
    world.night(SECOND, Wang={})
    better = world.row("Wang", "C1", SECOND)
    assert said(better, "tier", "change_type", "change_reason") == ("A", "UP", "DATA")
    assert better["supersedes"] == world.row("Wang", "C1", FIRST)["decision_no"]

    third = SECOND + DAY
    world.night(third, Wang=BAD)
    kept = world.row("Wang", "C1", third)
    assert said(kept, "outcome", "tier", "limit_fen", "change_type", "reason_codes") == (
        "ELIGIBLE", "A", 1_200_000, "SAME", [],
    )  # fmt: skip
    assert said(kept, "decided_on", "valid_until") == said(better, "decided_on", "valid_until")

    world.night(EXPIRED, Wang=BAD)
    lower = world.row("Wang", "C1", EXPIRED)
    assert said(lower, "outcome", "change_type", "change_reason", "reason_codes") == (
        "INELIGIBLE", "DOWN", "EXPIRY", ["R202"],
    )  # fmt: skip


def test_what_goes_on_is_renewed_when_it_expires(world: World) -> None:
    world.consents("Wang")
    world.night(FIRST, Wang={})
    world.night(EXPIRED, Wang={})
    row = world.row("Wang", "C1", EXPIRED)
    assert said(row, "change_type", "change_reason", "decided_on") == ("SAME", "EXPIRY", EXPIRED + DAY)


def test_a_hard_event_ends_it_at_once(world: World) -> None:
    world.consents("Wang", "Li", "Zhao")
    world.night(FIRST, Wang={}, Li={}, Zhao={})
    world.night(SECOND, Wang={"is_deceased": True}, Li={"name_conflict": True}, Zhao={"person_status": "merged"})
    for name, outcome in (("Wang", "INELIGIBLE"), ("Li", "REVIEW"), ("Zhao", "INELIGIBLE")):
        row = world.row(name, "C1", SECOND)
        assert said(row, "outcome", "change_type", "change_reason", "limit_fen") == (
            outcome,
            "DOWN",
            "IDENTITY",
            None,
        )
        assert row["review"] == (outcome == "REVIEW")


def test_a_source_that_falls_silent_takes_nothing_away(world: World) -> None:
    world.consents("Wang")
    world.night(FIRST, Wang={})
    world.night(SECOND, Wang={"freshness_days_platform": 9})
    row = world.row("Wang", "C1", SECOND)
    assert said(row, "outcome", "change_type", "source_as_of") == ("ELIGIBLE", "SAME", FIRST - DAY)


def test_a_withdrawn_consent_leaves_no_row(world: World) -> None:
    world.consents("Wang")
    world.night(FIRST, Wang={})
    world.consents("Wang", on=SECOND, version=2, withdrawn_at="2026-08-20T12:00:00+08:00", op="U", row_no=2)
    world.night(SECOND, Wang={})
    assert world.rows("Wang", "C1", SECOND) == []
    assert len(world.rows("Wang", "C1", FIRST)) == 1, "what was decided before stays"


def test_nobody_known_is_pending_then_unavailable_then_new(world: World) -> None:
    world.consents("Wang")
    nights = [FIRST, FIRST + 9 * DAY, FIRST + 10 * DAY, FIRST + 11 * DAY]
    for night in nights[:3]:
        world.night(night)
    world.night(nights[3], Wang={})
    rows = [world.row("Wang", "C1", night) for night in nights]
    assert [row["outcome"] for row in rows] == ["PENDING", "UNAVAILABLE", "UNAVAILABLE", "ELIGIBLE"]
    assert [row["change_type"] for row in rows] == ["NEW", "NEW", "SAME", "NEW"]


def test_late_data_correct_only_what_differs(world: World) -> None:
    world.consents("Wang", "Li")
    world.night(FIRST, Wang=POOR, Li={})
    world.night(FIRST, Wang={}, Li={})
    first, corrected = world.rows("Wang", "C1", FIRST)
    assert said(corrected, "tier", "change_type", "change_reason") == ("A", "CORRECTED", "LATE_DATA")
    assert corrected["supersedes"] == first["decision_no"] != corrected["decision_no"]
    assert len(world.rows("Li", "C1", FIRST)) == 1
    world.night(SECOND, Wang={}, Li={})
    assert world.row("Wang", "C1", SECOND)["supersedes"] == corrected["decision_no"]


def test_a_consent_that_ends_sooner_ends_the_decision(world: World) -> None:
    world.consents("Wang", expires_at="2026-08-25T10:00:00+08:00")
    world.night(FIRST, Wang={})
    assert world.row("Wang", "C1", FIRST)["valid_until"] == date(2026, 8, 25)


def test_without_marts_nothing_is_decided(world: World) -> None:
    world.consents("Wang")
    with pytest.raises(Refused, match="sanche marts"):
        world.decide(FIRST)


def test_reasons_are_told_in_words_with_a_cure(world: World) -> None:
    world.consents("Wang")
    world.night(FIRST, Wang={"active_days_90": 19, "disp_low3_12_fen": 10_000})
    reason = json.loads(world.row("Wang", "C1", FIRST)["reasons"])[0]
    assert said(reason, "code", "fact", "threshold") == ("R202", "近90天有完单的天数为 19 天", ">= 30")
    assert all(reason[key] for key in ("source", "cure_zh", "cure_en", "appeal"))


def test_explain_shows_every_cell_and_what_stands(world: World) -> None:
    world.consents("Wang")
    world.night(FIRST, Wang={})
    world.night(SECOND, Wang=BAD)
    told = world.explain("Wang", "C1", SECOND)
    cells = {(cell["table_row"], cell["feature"]): cell for cell in told.cells}
    assert said(cells["C", "active_days_90"], "value", "threshold", "result") == ("5", ">= 30", "FAIL")
    assert len(told.cells) == 13 + 17, "13 cells of the gate, 17 of the table"
    page = told.text()
    assert "ELIGIBLE 符合" in page and "12,000.00 yuan" in page
    assert "worse only after 2026-09-19" in page and "would not carry it" in page
    json.dumps(told.to_dict())


def test_explain_knows_only_what_was_decided(world: World) -> None:
    with pytest.raises(BadInput, match="no such decision"):
        world.explain("Wang", "C1", SECOND)
    with pytest.raises(Usage, match="name one decision"):
        explain(world.lake, settings=world.settings, business_date=FIRST)


def test_the_ledger_says_how_many_of_what_once(world: World) -> None:
    world.consents("Wang")
    world.night(FIRST, Wang={})
    kind, body = world.lake.rows("select kind, body from ledger.entry where stream = 'decisions'")[0]
    assert kind == "decided"
    assert json.loads(body)["counts"] == {"bank_a_c1.ELIGIBLE": 1, "insurer_b_i1.ELIGIBLE": 1}
    snapshot = world.lake.snapshot()
    assert world.decide(FIRST).fate == "unchanged"
    assert world.lake.snapshot() == snapshot
