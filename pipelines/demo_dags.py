"""Run the DAGs of dags/ for some business dates through Airflow's own `dag.test()`; print receipts.

A process of its own, started by demo.py with Airflow's environment: `python -m pipelines.demo_dags DATE …`.
The pulls of a date run in two lanes (two processes), then marts, then extracts, as their assets order them;
`dag.test()` follows no assets, so that order is written here once more and a test compares the two.
Prints lines for the parent: `dag …` for people, `receipt …` for the summary. Exits 1 if a DAG did not succeed.
"""

from __future__ import annotations

import json
import subprocess
import sys

from pipelines.night import feeds
from pipelines.settings import Settings

LANES = 2  # DAG runs side by side: one seals while the other lands


def main(arguments: list[str]) -> int:
    """arguments: business dates, or one date and the names of the DAGs to run for it (a lane)."""
    if len(arguments) > 1 and not arguments[1][:1].isdigit():
        return run_lane(arguments[0], arguments[1:])
    publish_dags()
    for day in arguments:
        pulls = [f"pull_{feed}" for feed in feeds(Settings())]
        lanes = [pulls[lane::LANES] for lane in range(LANES)]
        running = [
            subprocess.Popen([sys.executable, "-m", "pipelines.demo_dags", day, *lane]) for lane in lanes[1:]
        ]
        failed = run_lane(day, lanes[0])
        failed += sum(process.wait() for process in running)
        failed = failed or run_lane(day, ["marts", "extracts"])
        if failed:
            return 1
    return 0


def publish_dags() -> None:
    """Write all DAGs to Airflow's database once, before two lanes do so at the same moment and collide."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db

    manager = DagBundlesManager()
    manager.sync_bundles_to_db()
    for bundle in manager.get_all_dag_bundles():
        bundle.initialize()
        bag = BundleDagBag(dag_folder=bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
        sync_bag_to_db(bag, bundle.name, bundle.version)


def run_lane(day: str, dag_ids: list[str]) -> int:
    """Run the named DAGs one after the other; 1 if one of them did not succeed."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag()
    if bag.import_errors:
        print(json.dumps(bag.import_errors), file=sys.stderr)
        return 1
    for dag_id in dag_ids:
        run = bag.dags[dag_id].test(run_conf={"business_date": day})
        tasks = run.get_task_instances()
        fates = []
        for instance in sorted(tasks, key=lambda task: (task.start_date is None, task.start_date)):
            value = instance.xcom_pull(task_ids=instance.task_id, map_indexes=instance.map_index)
            if isinstance(value, dict) and "step" in value:
                print("receipt " + json.dumps(value, ensure_ascii=False), flush=True)
                fates.append(f"{value['step']} {value['fate']}")
        print(f"dag {day}  {dag_id:<30} {run.state}  {', '.join(fates)}", flush=True)
        if run.state != "success":
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
