"""The province's agencies themselves: what they refuse, and that they leave with their starter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import small_world
from asking import PARAMETERS, connection, request

from pipelines.errors import SourceBusy
from pipelines.sources import sql_database
from pipelines.sources.sql_database import SqlDatabase

WINDOW = {"updated_since": "2026-08-01T00:00:00+08:00", "updated_before": "2026-08-20T00:00:00+08:00"}


@pytest.fixture
def client(agencies):
    entry = agencies.connections()["platforms"]
    with httpx.Client(base_url=f"http://127.0.0.1:{entry['port']}") as http:
        login = {"client_id": entry["login"], "client_secret": entry["password"]}
        token = http.post("/oauth/token", data={"grant_type": "client_credentials", **login}).json()
        http.headers["Authorization"] = f"Bearer {token['access_token']}"
        yield http


@pytest.mark.parametrize(
    "change", [{"Authorization": ""}, {"Authorization": "Bearer x"}, {"Authorization": "Basic eA=="}]
)
def test_without_a_good_token_nothing_is_said(client, change):
    assert client.get("/v1/platform_order", params=WINDOW, headers=change).status_code == 401


def test_what_was_never_given_out_is_refused(client):
    assert client.get("/v1/si_person", params=WINDOW).status_code == 404
    first = client.get("/v1/platform_order", params=WINDOW | {"limit": "40"})
    cursor = first.headers["x-next-cursor"]
    for wrong in (
        {"updated_since": "yesterday"},
        {"updated_since": "2026-08-01T00:00:00"},  # an instant without an offset
        {"updated_before": WINDOW["updated_since"]},
        {"limit": "0"},
        {"limit": "1000000"},
        {"cursor": cursor, "updated_since": "2026-08-02T00:00:00+08:00"},  # of another window
        {"cursor": cursor[:-2]},
        {"cursor": "§"},
    ):
        assert client.get("/v1/platform_order", params=WINDOW | wrong).status_code == 400, wrong
    assert client.post("/oauth/token", data={"grant_type": "password"}).status_code == 400


def test_nulls_and_instants_and_lists_are_written_as_agreed(client):
    order, *_ = client.get("/v1/platform_order", params=WINDOW | {"limit": "1"}).text.splitlines()
    assert '"customer_paid_fen":9000' in order
    assert '"updated_at":"2026-08-06T15:00:00+08:00"' in order
    assert "visible_on" not in order
    consent = client.get("/v1/consent", params=WINDOW).json()
    assert consent["data_categories"] == ["income", "identity"]
    assert '"customer_paid_fen":null' in client.get("/v1/platform_order", params=WINDOW).text


def test_S21_a_database_that_restarts_in_mid_window_gives_the_same_window_afterwards(agencies, monkeypatch):
    monkeypatch.setattr(sql_database, "OBJECT_ROWS", 70)
    asked = request(PARAMETERS, connection(agencies, "social_insurance"))
    clean = [item.content for item in SqlDatabase(asked).objects()]
    started = SqlDatabase(asked).objects()
    next(started)
    agencies.stop(["social_insurance"])
    try:
        with pytest.raises(SourceBusy):
            list(SqlDatabase(asked).objects())
        started.close()
    finally:
        agencies.start(["social_insurance"])
    assert [item.content for item in SqlDatabase(asked).objects()] == clean


def test_agencies_leave_with_a_starter_that_was_killed(tmp_path):
    world = small_world.write(tmp_path / "out")
    program = (
        "import sys, time; from pathlib import Path; from pipelines.province.servers import serve\n"
        "with serve(Path(sys.argv[1]), run_dir=Path(sys.argv[2])) as running:\n"
        "    print(*running.pids().values(), flush=True); time.sleep(60)"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", program, str(world), str(tmp_path / "run")], stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    pids = [int(pid) for pid in starter.stdout.readline().split()]
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    starter.stdout.close()
    deadline = time.monotonic() + 30
    while (alive := [pid for pid in pids if is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert (len(pids), alive) == (3, [])


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]
    except (ProcessLookupError, FileNotFoundError):
        return False
