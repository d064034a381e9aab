"""Marts, decisions and the signed ledger head, once every feed of the date is done (landed, held or missing).

When red
- marts: a mart could not be built from what landed. Nothing was written (all marts are one commit). The message
  names the mart; after mending it, clear the task.
- decide: a product is malformed (ContractBroken, with file and place), or the marts of the date are missing.
- head: the release keyring or the hub's signing key is unavailable; without a head no package leaves.
"""

from __future__ import annotations

from functools import reduce
from operator import and_

from airflow.sdk import DAG, PartitionedAssetTimetable, get_current_context, task

from pipelines.schedule import DECISIONS, DEFAULTS, FEED_ASSETS, PARAMS, run

with DAG(
    dag_id="marts",
    schedule=PartitionedAssetTimetable(assets=reduce(and_, FEED_ASSETS.values())),
    doc_md=__doc__,
    default_args=DEFAULTS,
    params=PARAMS,
    catchup=False,
    max_active_runs=1,
    tags=["marts", "tier-1"],
):

    @task
    def marts() -> dict:
        return run("marts", context=get_current_context())

    @task
    def decide() -> dict:
        return run("decide", context=get_current_context())

    @task(outlets=[DECISIONS])
    def head() -> dict:
        return run("head", context=get_current_context())

    marts() >> decide() >> head()
