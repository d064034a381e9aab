"""At 06:00 the night goes on without the feeds that are still missing: their assets are emitted as "missing".

So marts run once for every date, with what is there; features say "as of", and a feed that comes later is
superseded into the marts of its date by triggering the DAG `marts` with that partition key.

When red: the lake could not be read; `sanche doctor`.
"""

from __future__ import annotations

from airflow.sdk import DAG, CronTriggerTimetable, get_current_context, task

from pipelines.schedule import DEFAULTS, FEED_ASSETS, FEEDS, PARAMS, business_date

with DAG(
    dag_id="night_deadline",
    # A plain schedule on purpose: outlets without a partition key of their own then trigger nothing, so only
    # the feeds that are missing reach the marts.
    schedule=CronTriggerTimetable("0 6 * * *", timezone="Asia/Shanghai"),
    doc_md=__doc__,
    default_args=DEFAULTS,
    params=PARAMS,
    catchup=False,
    tags=["deadline", "tier-1"],
):

    @task(outlets=list(FEED_ASSETS.values()))
    def emit_missing() -> list[str]:
        from pipelines.night import closed_feeds
        from pipelines.settings import Settings

        context = get_current_context()
        day = business_date(context)
        missing = sorted(set(FEEDS) - closed_feeds(day, settings=Settings()))
        for feed in missing:
            event = context["outlet_events"][FEED_ASSETS[feed]]
            event.extra = {"fate": "missing"}
            event.add_partitions(day)
        return missing

    emit_missing()
