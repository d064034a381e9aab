"""A whole night without Airflow, in the order that dags/ has: pulls, marts, decisions, head, extracts, page.

Promises: the same steps, as the same processes, as the DAGs run; a feed that fails does not stop the others;
          stopped anywhere and run again, the result is that of an undisturbed night.
Refuses:  to decide anything itself.
Not here: schedules, retries, what to do when red (dags/).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date

from pipelines.errors import SancheError
from pipelines.launch import run_step
from pipelines.receipt import Receipt
from pipelines.settings import Settings

PARALLEL_FEEDS = 2  # one feed is sealed while another lands; more only adds memory on a two-core machine


@dataclass
class Outcome:
    """What a night came to. fate: 'complete', or 'incomplete' when a step failed."""

    receipts: list[Receipt] = field(default_factory=list)
    errors: list[SancheError] = field(default_factory=list)

    @property
    def fate(self) -> str:
        return "incomplete" if self.errors else "complete"


def feeds(settings: Settings) -> list[str]:
    """Names of all feeds, by their contract's file name; consents first, for others may depend on them."""
    names = sorted(p.name.removesuffix(".odcs.yaml") for p in (settings.schemas / "feeds").glob("*.odcs.yaml"))
    return sorted(names, key=lambda name: name != "consent")


def agreements(settings: Settings) -> list[str]:
    """Ids of all agreements, by file name."""
    return sorted(path.stem for path in (settings.schemas / "agreements").glob("*.yaml"))


def run_night(business_date: date, *, settings: Settings, tell: Callable[[str], None] | None = None) -> Outcome:
    """Run every step of one business date. Errors are collected, and told as they come."""
    hub = settings.model_copy(update={"processes": "forkserver"})
    on = ("--date", business_date.isoformat())
    outcome = Outcome()

    def step(*arguments: str) -> bool:
        try:
            receipt = run_step(*arguments, *on, settings=hub)
        except SancheError as error:
            outcome.errors.append(error)
            if tell:
                tell(f"{' '.join(arguments)}: failed\n{error}")
            return False
        outcome.receipts.append(receipt)
        if tell:
            tell(f"{' '.join(arguments)}: {receipt.fate}")
        return True

    def ingest(feed: str) -> None:
        if step("pull", feed):
            step("land", feed)

    with ThreadPoolExecutor(PARALLEL_FEEDS) as pool:
        list(pool.map(ingest, feeds(settings)))
    # Marts run with what is there: a feed that failed shows in the report as missing (freshness in the features).
    if step("marts") and step("decide") and step("head"):
        with ThreadPoolExecutor(PARALLEL_FEEDS) as pool:
            list(pool.map(lambda agreement: step("extract", agreement), agreements(settings)))
    step("report")
    return outcome


def closed_feeds(business_date: str, *, settings: Settings) -> set[str]:
    """Feeds whose batch of this business date has a fate (landed or held) in the lake."""
    from pipelines.lake import Lake

    with Lake.attach(settings, read_only=True) as lake:
        rows = lake.query(
            "select distinct feed from control.batch where business_date = $day", {"day": business_date}
        )
    return {str(feed) for feed in rows["feed"].to_pylist()}
