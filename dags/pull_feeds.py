"""One DAG per feed, made from the contracts in schemas/feeds: pull -> land -> close -> confirm.

pull  fetches the window's bytes into the encrypted raw vault
land  seals, checks and lands them in one commit (bad rows go to quarantine, each with its reasons)
close tells the marts that this feed is done for the date, whatever became of it
confirm is red when nothing landed, so that the run is red too although the night went on

When red
- SourceBusy (75): the agency is down or late. The task retries; later, clear it. A rerun changes nothing.
- HELD (65): the batch broke the gate and a person decides; other feeds and later nights go on.
  `sanche doctor --feed FEED` says which rule; the batch's Data Docs page has the counts.
- TotalsDiffer, SourceBroken (65): the agency sent other than it declared; ask it for a resend, clear `pull`.
- KeyUnavailable (77): a keyring or passphrase file is missing; nothing was read. `sanche doctor`.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, CronPartitionTimetable, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from pipelines.schedule import DEFAULTS, FEED_ASSETS, FEEDS, PARAMS, run

# At 01:30 in Shanghai for the business date that has just ended.
NIGHTLY = CronPartitionTimetable("30 1 * * *", timezone="Asia/Shanghai", run_offset=-1, key_format="%Y-%m-%d")


def pull_dag(feed: str) -> DAG:
    """The DAG of one feed."""
    asset = FEED_ASSETS[feed]
    with DAG(
        dag_id=f"pull_{feed}",
        schedule=NIGHTLY,
        doc_md=__doc__,
        default_args=DEFAULTS,
        params=PARAMS,
        catchup=False,
        max_active_runs=1,
        tags=["feed", "tier-1"],
    ) as dag:

        @task(execution_timeout=timedelta(hours=2))
        def pull() -> dict:
            return run("pull", feed, context=get_current_context())

        @task(execution_timeout=timedelta(hours=2))
        def land() -> dict:
            return run("land", feed, context=get_current_context())

        @task(outlets=[asset], trigger_rule="all_done")
        def close() -> str:
            context = get_current_context()
            receipt = context["ti"].xcom_pull(task_ids="land")
            fate = receipt["fate"] if receipt else "failed"
            context["outlet_events"][asset].extra = {"fate": fate}
            return fate

        @task(trigger_rule="all_done", retries=0)
        def confirm() -> str:
            context = get_current_context()
            fate: str = context["ti"].xcom_pull(task_ids="close")
            if fate not in ("landed", "unchanged"):
                raise AirflowFailException(f"{feed}: {fate}; the log of the red task before this one says why")
            return fate

        pull() >> land() >> close() >> confirm()
    return dag


for name in FEEDS:
    globals()[f"pull_{name}"] = pull_dag(name)
