"""Run the DAGs of dags/ for some business dates through Airflow's own `dag.test()`; print receipts.

A process of its own, started by demo.py with Airflow's environment: `python -m pipelines.demo_dags DATE …`.
The pulls of a date run in two lanes (two processes, each takes the next feed), then marts, then extracts, as their
assets order them; `dag.test()` follows no assets, so that order is written here once more, and a test compares.
Prints lines for the parent: `dag …` for people, `receipt …` for the summary. Exits 1 if a DAG did not succeed.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from concurrent.futures import Executor, ProcessPoolExecutor
from itertools import repeat

from pipelines.night import feeds
from pipelines.settings import Settings

LANES = 2  # one feed is pulled while another lands; more only adds memory on a two-core machine
LONG_FEEDS = ("platform_order", "platform_earning_line", "bank_txn")  # first, so that no lane ends on one


def main(days: list[str]) -> int:
    """days: business dates, in the order in which to run them."""
    pulls = sorted(feeds(Settings()), key=lambda feed: (feed != "consent", feed not in LONG_FEEDS))
    with ProcessPoolExecutor(LANES, mp_context=multiprocessing.get_context("spawn")) as lanes:
        lanes.submit(publish_dags).result()
        return 0 if all(run_date(day, pulls, lanes) for day in days) else 1


def run_date(day: str, pulls: list[str], lanes: Executor) -> bool:
    """All DAGs of one business date. A red pull does not keep the others or the marts from running."""
    pulled = list(lanes.map(run_dag, repeat(day), [f"pull_{feed}" for feed in pulls]))
    went_on = all(lanes.submit(run_dag, day, dag_id).result() for dag_id in ("marts", "extracts"))
    return all(pulled) and went_on


def publish_dags() -> None:
    """Write all DAGs to Airflow's database once, before two lanes do so at the same moment and collide."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db

    manager = DagBundlesManager()  # type: ignore[no-untyped-call]
    manager.sync_bundles_to_db()
    for bundle in manager.get_all_dag_bundles():
        bundle.initialize()
        bag = BundleDagBag(dag_folder=bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
        sync_bag_to_db(bag, bundle.name, bundle.version)


def run_dag(day: str, dag_id: str) -> bool:
    """Run one DAG for one business date, print its receipts; did it succeed?"""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag()
    if bag.import_errors:
        print(json.dumps(bag.import_errors), file=sys.stderr)
        return False
    run = bag.dags[dag_id].test(run_conf={"business_date": day})
    fates = []
    for instance in sorted(run.get_task_instances(), key=lambda ti: (ti.start_date is None, ti.start_date)):
        value = instance.xcom_pull(task_ids=instance.task_id, map_indexes=instance.map_index)
        if isinstance(value, dict) and "step" in value:
            print("receipt " + json.dumps(value, ensure_ascii=False), flush=True)
            fates.append(f"{value['step']} {value['fate']}")
    print(f"dag {day}  {dag_id:<30} {run.state}  {', '.join(fates)}", flush=True)
    return bool(run.state == "success")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
