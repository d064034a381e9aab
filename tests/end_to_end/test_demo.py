"""What `make demo` shows: every outcome, packages that institutions can open, a ledger that proves it; a rerun."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines import demo
from pipelines.calendar import as_of
from pipelines.lake import Lake
from pipelines.launch import environment
from pipelines.ledger import verify
from pipelines.night import feeds
from pipelines.privacy import cms_verifier
from tests.end_to_end import oracle
from tests.end_to_end.conftest import Shown

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_every_feed_landed_on_every_date(shown: Shown):
    rows = shown.query("select feed, business_date, fate from control.batch")
    landed = {(row["feed"], row["business_date"]) for row in rows if row["fate"] == "landed"}
    assert landed == {(feed, day) for feed in feeds(shown.stage.settings()) for day in shown.stage.dates()}


def test_every_outcome_of_both_products_occurs(shown: Shown):
    rows = shown.query(
        "select distinct product, outcome, coalesce(tier, variant) as detail from decisions.decision"
    )
    outcomes = {product: {row["outcome"] for row in rows if row["product"] == product} for product in ("C1", "I1")}
    every = {"ELIGIBLE", "ELIGIBLE_WITH_CONDITIONS", "REVIEW", "INSUFFICIENT_DATA", "INELIGIBLE"}
    assert outcomes["C1"] >= every
    assert outcomes["I1"] >= every
    assert {row["detail"] for row in rows if row["product"] == "C1"} >= {"A", "B", "C"}


def test_every_reason_that_is_foretold_is_given(shown: Shown):
    foretold = pq.read_table(shown.stage.world / "truth" / "expected.parquet").to_pylist()
    rows = shown.query("select product, unnest(reason_codes) as code from decisions.decision")
    given = {(row["product"], row["code"]) for row in rows}
    dates = set(shown.stage.dates())
    assert {(f["product"], f["reason"]) for f in foretold if f["reason"] and f["business_date"] in dates} <= given


def test_outcomes_are_those_of_the_known_truth(shown: Shown):
    """Each application's outcome, found by the institution's own reference, is what its archetype was made for."""
    foretold = pq.read_table(shown.stage.world / "truth" / "expected.parquet").to_pylist()
    told: dict[tuple[str, object], str] = {}
    for name in demo.INSTITUTIONS:
        for file in (shown.stage.institution(name) / "received").rglob("*.parquet"):
            for row in pq.read_table(file).to_pylist():
                told[(row["recipient_ref"], str(row["as_of"]))] = row["outcome"]
    assert told
    wrong, compared = [], 0
    for expected in foretold:
        if expected["business_date"] not in shown.stage.dates() or not expected["outcome"]:
            continue
        day = str(as_of(expected["business_date"]))
        got = told.get((expected["recipient_ref"], day))
        if expected["outcome"] == "NO_LIVE_CONSENT":
            assert got is None or not got.startswith("ELIGIBLE"), expected
        elif got != expected["outcome"]:
            wrong.append((expected["archetype"], expected["product"], day, expected["outcome"], got))
        compared += 1
    assert compared > 100
    assert wrong == []


def test_a_consent_withdrawn_during_the_nights_leaves_no_row_afterwards(shown: Shown):
    withdrawn = shown.query(
        "select consent_id, min(withdrawn_at) as at from landed.consent where withdrawn_at is not null group by 1"
    )
    sent = shown.query(
        "select consent_id, max(e.business_date) as last from control.extract_row "
        "join control.extract as e using (agreement, sequence) where withheld_reason is null group by 1"
    )
    last = {row["consent_id"]: row["last"] for row in sent}
    inside = [row for row in withdrawn if row["at"].date() >= demo.FIRST_DATE]
    assert inside, "no consent was withdrawn during the nights: this proves nothing"
    for row in withdrawn:
        if row["consent_id"] in last:
            assert last[row["consent_id"]] <= row["at"].date()


def test_no_person_is_known_to_both_institutions_by_one_token(shown: Shown):
    tokens = {
        name: {
            token
            for file in (shown.stage.institution(name) / "received").rglob("*.parquet")
            for token in pq.read_table(file)["person_token"].to_pylist()
        }
        for name in demo.INSTITUTIONS
    }
    assert all(tokens.values())
    assert not set.intersection(*tokens.values())


def test_the_ledger_proves_the_night(shown: Shown):
    hub = shown.stage.settings()
    with Lake.attach(hub, read_only=True) as lake:
        report = verify(lake, hub, verify_signature=cms_verifier(hub))
    assert [finding for finding in report.findings if not finding.ok] == []
    kinds = " ".join(sorted({finding.check for finding in report.findings}))
    for invariant in "1235":
        assert invariant in kinds


def test_nothing_that_was_written_is_open_to_others(shown: Shown):
    paths = [p for p in shown.stage.hub.rglob("*") if not p.is_symlink()]
    assert [p for p in paths if stat.S_IMODE(p.stat().st_mode) & 0o077] == []


def test_running_it_again_changes_nothing(shown: Shown):
    before = oracle.contents(shown.stage.settings())
    packages = {p: p.stat().st_mtime_ns for p in shown.stage.settings().outbox_dir.rglob("*")}
    with demo.agencies(shown.stage):
        receipts = demo.run_dags(shown.stage, [shown.stage.dates()[0]], show_progress=False)
    changed = {(r.step, r.subject, r.fate) for r in receipts if r.step != "report"}
    assert {fate for _, _, fate in changed} == {"unchanged"}, sorted(c for c in changed if c[2] != "unchanged")
    assert oracle.differences(before, oracle.contents(shown.stage.settings())) == []
    assert packages == {p: p.stat().st_mtime_ns for p in shown.stage.settings().outbox_dir.rglob("*")}
    assert demo.receive_all(shown.stage) == {}


def test_a_clerk_can_ask_why(shown: Shown):
    (row,) = shown.query(
        "select decision_no, business_date from decisions.decision "
        "where outcome = 'INELIGIBLE' and product = 'C1' order by decision_no limit 1"
    )
    asked = ["explain", "--decision-no", str(row["decision_no"]), "--date", str(row["business_date"])]
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *asked],
        env=environment(shown.stage.settings()),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "R2" in done.stdout or "R1" in done.stdout


def test_data_docs_open_without_a_network(shown: Shown):
    site = shown.stage.settings().docs_dir / "site"
    pages = [p for p in site.rglob("*.html") if p.is_file()]
    assert len(pages) > len(feeds(shown.stage.settings()))
    assert (site / "index.html").exists()
    asked = [p for p in pages if any(f'{a}="{s}://' in p.read_text() for a in ("src",) for s in ("http", "https"))]
    assert asked == []


def test_paths_that_the_demo_names_exist(shown: Shown):
    from pipelines.cli.summary import paths

    for told in paths(shown.stage).values():
        assert Path(told.split("   ")[0]).exists()
