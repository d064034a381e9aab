"""What the DAG files share: the assets that join them, the business date of a run, and how a step is run.

No I/O at import but the names of the files in schemas/ (no network, no database, no secret).
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset

from pipelines.night import agreements, feeds
from pipelines.settings import Settings

FEEDS = feeds(Settings())
AGREEMENTS = agreements(Settings())
FEED_ASSETS = {feed: Asset(name=f"feed.{feed}", uri=f"sanche://landed/{feed}") for feed in FEEDS}
DECISIONS = Asset(name="decisions", uri="sanche://decisions")
PARAMS = {"business_date": None}
DEFAULTS = {"owner": "data-engineering", "retries": 2, "retry_exponential_backoff": True}


def business_date(context: dict[str, Any]) -> str:
    """The run's partition key, else params.business_date, else the day before a scheduled run's date.

    A run started by hand that has neither of the first two is refused.
    """
    from datetime import timedelta

    from pipelines.calendar import parse_business_date, shanghai_date
    from pipelines.errors import Usage

    dag_run = context["dag_run"]
    key = dag_run.partition_key or context["params"].get("business_date")
    if not key and dag_run.run_type == "scheduled":
        key = (shanghai_date(dag_run.logical_date) - timedelta(days=1)).isoformat()
    if not key:
        raise Usage(
            "this run has no business date",
            why="a night always works on a named date, never on today",
            do='trigger with a partition key, or with {"business_date": "2026-08-20"}',
        )
    return parse_business_date(key).isoformat()


def run(*step: str, context: dict[str, Any]) -> dict[str, Any]:
    """Run one sanche step as its own process; its receipt (ids, counts, hashes) is all that XCom sees.

    Raises: the step's own error; one that a retry cannot mend fails the task at once.
    """
    import json

    from airflow.sdk.exceptions import AirflowFailException

    from pipelines.errors import SancheError, Transient
    from pipelines.launch import run_step

    try:
        receipt = run_step(*step, "--date", business_date(context))
    except Transient:
        raise
    except SancheError as error:
        raise AirflowFailException(str(error)) from None
    answer: dict[str, Any] = json.loads(receipt.to_json())
    return answer
