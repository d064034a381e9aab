"""One package per agreement, then the night's page and the Data Docs.

When red
- extract: Refused (77) means that a key, a consent or a file's checksum was missing and nothing left; the message
  says which. Clearing the task after mending it publishes once: a rerun of a published package is a no-op.
- report: the page could not be written; packages are not affected.
"""

from __future__ import annotations

from airflow.sdk import DAG, PartitionedAssetTimetable, get_current_context, task

from pipelines.schedule import AGREEMENTS, DECISIONS, DEFAULTS, PARAMS, run

with DAG(
    dag_id="extracts",
    schedule=PartitionedAssetTimetable(assets=DECISIONS),
    doc_md=__doc__,
    default_args=DEFAULTS,
    params=PARAMS,
    catchup=False,
    max_active_runs=1,
    tags=["extracts", "tier-1"],
):

    @task(map_index_template="{{ agreement }}")
    def extract(agreement: str) -> dict:
        context = get_current_context()
        context["agreement"] = agreement
        return run("extract", agreement, context=context)

    @task(trigger_rule="all_done")
    def report() -> dict:
        return run("report", context=get_current_context())

    @task
    def confirm() -> str:
        """Airflow judges a run by its leaves: with this one, a package that did not leave makes the run red."""
        return "every package is out"

    packages = extract.expand(agreement=AGREEMENTS)
    packages >> report()
    packages >> confirm()
