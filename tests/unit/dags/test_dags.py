"""The DAG files: a page each, importable anywhere, and joined by the assets that the demo's order repeats (A5)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.demo import Stage, airflow_environment
from pipelines.night import agreements, feeds
from pipelines.settings import Settings

ROOT = Path(__file__).resolve().parents[3]

DESCRIBE = """
import json, socket
def refuse(*args, **kwargs): raise RuntimeError("a DAG file opened a socket at import")
socket.socket.connect = refuse
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(collect_dags=True)
def names(condition):
    if condition is None: return []
    return [condition.name] if hasattr(condition, "name") else sum(map(names, condition.objects), [])
print("BAG " + json.dumps({
    "errors": list(bag.import_errors.values()),
    "dags": {
        dag_id: {
            "doc": dag.doc_md or "", "tags": sorted(dag.tags), "paused": True,
            "owner": dag.owner, "order": [task.task_id for task in dag.topological_sort()],
            "outlets": sorted(a.name for task in dag.tasks for a in task.outlets),
            "waits_for": sorted(names(getattr(dag.timetable, "asset_condition", None))),
        } for dag_id, dag in bag.dags.items()
    },
}))
"""


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    stage = Stage(tmp_path_factory.mktemp("dags"))
    told = subprocess.run(
        [sys.executable, "-c", DESCRIBE],
        env=airflow_environment(stage) | {"PYTHONPATH": os.pathsep.join([str(ROOT)])},
        capture_output=True,
        text=True,
        check=True,
    )
    line = next(line for line in told.stdout.splitlines() if line.startswith("BAG "))
    return json.loads(line.removeprefix("BAG "))


def test_A5_dags_import_without_network_database_or_secrets(bag):
    assert bag["errors"] == []


def test_there_is_one_pull_dag_per_contract(bag):
    pulls = {f"pull_{feed}" for feed in feeds(Settings())}
    assert set(bag["dags"]) == pulls | {"marts", "extracts", "night_deadline"}


def test_each_dag_has_owner_tier_and_what_to_do_when_red(bag):
    for dag_id, dag in bag["dags"].items():
        assert dag["owner"] == "data-engineering", dag_id
        assert any(tag.startswith("tier-") for tag in dag["tags"]), dag_id
        assert "When red" in dag["doc"], dag_id


def test_the_assets_join_pulls_to_marts_to_extracts(bag):
    """The demo runs pulls, then marts, then extracts; the assets must order them the same way."""
    every_feed = sorted(f"feed.{feed}" for feed in feeds(Settings()))
    emitted = sorted(a for d, dag in bag["dags"].items() if d.startswith("pull_") for a in dag["outlets"])
    assert emitted == every_feed
    assert bag["dags"]["marts"]["waits_for"] == every_feed
    assert bag["dags"]["marts"]["outlets"] == bag["dags"]["extracts"]["waits_for"] == ["decisions"]
    assert bag["dags"]["night_deadline"]["outlets"] == every_feed


def test_steps_of_a_dag_stand_in_the_order_of_the_night(bag):
    assert bag["dags"]["pull_consent"]["order"] == ["pull", "land", "close", "confirm"]
    assert bag["dags"]["marts"]["order"] == ["marts", "decide", "head"]
    assert bag["dags"]["extracts"]["order"][0] == "extract"
    assert set(bag["dags"]["extracts"]["order"][1:]) == {"report", "confirm"}
    assert len(agreements(Settings())) >= 2
