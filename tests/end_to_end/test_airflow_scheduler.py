"""The same DAGs on the real scheduler: `airflow standalone`, triggered through the REST API."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from pipelines import demo
from pipelines.night import feeds

pytestmark = [pytest.mark.slow, pytest.mark.timeout(540)]
DAY = demo.FIRST_DATE.isoformat()
PATIENCE_S = 300


@dataclass
class Scheduler:
    url: str
    stage: demo.Stage
    client: httpx.Client

    def patch(self, dag: str, **body: object) -> None:
        self.client.patch(f"/api/v2/dags/{dag}", json=body).raise_for_status()

    def trigger(self, dag: str, day: str) -> None:
        answer = self.client.post(f"/api/v2/dags/{dag}/dagRuns", json={"logical_date": None, "partition_key": day})
        answer.raise_for_status()

    def runs(self, dag: str) -> list[dict[str, str]]:
        answer = self.client.get(f"/api/v2/dags/{dag}/dagRuns")
        answer.raise_for_status()
        found: list[dict[str, str]] = answer.json()["dag_runs"]
        return found

    def tasks(self, dag: str, run_id: str) -> list[dict[str, str]]:
        answer = self.client.get(f"/api/v2/dags/{dag}/dagRuns/{run_id}/taskInstances")
        answer.raise_for_status()
        found: list[dict[str, str]] = answer.json()["task_instances"]
        return found


@pytest.fixture(scope="module")
def scheduler(world_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scheduler]:
    stage = demo.Stage(tmp_path_factory.mktemp("airflow"))
    stage.world.symlink_to(world_dir)
    demo.prepare(stage)
    port = demo.free_port(0)
    with demo.agencies(stage):
        demo.migrate_airflow(stage)
        log = (stage.airflow / "standalone.log").open("wb")
        standalone = subprocess.Popen(
            [demo.executable("airflow"), "standalone"],
            env=demo.airflow_environment(stage, **demo.api_address(port)),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield Scheduler(f"http://127.0.0.1:{port}", stage, log_in(stage, port))
        finally:
            demo.stop_group(standalone)
            log.close()


def log_in(stage: demo.Stage, port: int) -> httpx.Client:
    """A client with a token, once the API server and the scheduler are healthy."""
    url = f"http://127.0.0.1:{port}"
    passwords = stage.airflow / "simple_auth_manager_passwords.json.generated"
    until = time.monotonic() + 150
    while time.monotonic() < until:
        try:
            health = httpx.get(f"{url}/api/v2/monitor/health", timeout=5).json()
            if health["scheduler"]["status"] == "healthy" and passwords.exists():
                break
        except (httpx.HTTPError, ValueError, KeyError):
            pass
        time.sleep(1)
    password = json.loads(passwords.read_text())["admin"]
    token = httpx.post(f"{url}/auth/token", json={"username": "admin", "password": password}, timeout=30)
    token.raise_for_status()
    bearer = {"Authorization": f"Bearer {token.json()['access_token']}"}
    return httpx.Client(base_url=url, headers=bearer, timeout=30)


def test_night_triggered_through_the_api_succeeds_in_every_task(scheduler: Scheduler):
    dags = [f"pull_{feed}" for feed in feeds(scheduler.stage.settings())]
    wait_until(lambda: known(scheduler) >= {*dags, "marts", "extracts"}, "the DAGs are parsed", scheduler)
    for dag in [*dags, "marts", "extracts"]:
        scheduler.patch(dag, is_paused=False)
    for dag in dags:
        scheduler.trigger(dag, DAY)
    # Nobody triggers marts and extracts: the assets do, once, with the date as their partition key.
    wait_until(lambda: finished(scheduler, "extracts"), "the extracts are published", scheduler)

    for dag in [*dags, "marts", "extracts"]:
        runs = [run for run in scheduler.runs(dag) if run["partition_key"] == DAY]
        assert [run["state"] for run in runs] == ["success"], dag
        tasks = scheduler.tasks(dag, runs[0]["dag_run_id"])
        assert {task["state"] for task in tasks} == {"success"}, dag
    assert {p.name for p in scheduler.stage.settings().outbox_dir.iterdir()} >= set(demo.INSTITUTIONS)


def known(scheduler: Scheduler) -> set[str]:
    answer = scheduler.client.get("/api/v2/dags", params={"limit": 100})
    return {dag["dag_id"] for dag in answer.json()["dags"]} if answer.is_success else set()


def finished(scheduler: Scheduler, dag: str) -> bool:
    return any(run["state"] in ("success", "failed") for run in scheduler.runs(dag) if run["partition_key"] == DAY)


def wait_until(condition, what: str, scheduler: Scheduler) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        states = {}
        if time.monotonic() > until:
            states = {dag: [run["state"] for run in scheduler.runs(dag)] for dag in sorted(known(scheduler))}
        assert time.monotonic() < until, f"not within {PATIENCE_S} s: {what}; {states}"
        time.sleep(2)
