"""Everything that `make demo` needs around the hub: a province, its agencies, two institutions, Airflow's home.

Promises: below one folder and nowhere else; on free loopback ports; the same seed gives the same nights; run
          again, every step answers "unchanged".
Refuses:  to run the steps itself: the real DAGs do, through Airflow's own `dag.test()` in a process of its own.
Not here: the steps (dags/, pipelines/), the made-up people (province/).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pipelines.errors import SancheError, Usage
from pipelines.launch import environment
from pipelines.receipt import Receipt
from pipelines.settings import REPOSITORY, Settings

SEED = 20260819
FIRST_DATE = date(2026, 8, 19)
NIGHTS = 2
SPARE_NIGHTS = 1  # a further date that the agencies already have, for whoever opens the Airflow UI afterwards
PERSONS = 160
INSTITUTIONS = {"bank_a": "cms", "insurer_b": "age"}


@dataclass(frozen=True)
class Stage:
    """The folders of one demo. hub: what sanche writes; the rest stands for the world outside it."""

    root: Path

    @property
    def hub(self) -> Path:
        return self.root / "hub"

    @property
    def world(self) -> Path:
        return self.root / "province"

    @property
    def airflow(self) -> Path:
        return self.root / "airflow"

    @property
    def agencies(self) -> Path:
        return self.root / "agencies"

    def institution(self, name: str) -> Path:
        return self.root / "institutions" / name

    def settings(self) -> Settings:
        return Settings(home=self.hub)

    def dates(self) -> list[date]:
        return [FIRST_DATE + timedelta(days=n) for n in range(NIGHTS + 1)]


def prepare(stage: Stage, *, persons: int = PERSONS, seed: int = SEED) -> None:
    """Make what is missing: the province, the keyrings, the two institutions and their registered keys."""
    from pipelines.privacy import init_keyrings
    from pipelines.province import generate
    from pipelines.province.institutions import make_institution

    stage.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = stage.world / "world.json"
    if made.exists() and persons not in (PERSONS, there := int(json.loads(made.read_text())["persons"])):
        raise Usage(
            f"the province in {stage.root} has {there} workers",
            why="a province is made once; its nights have been run",
            do="choose another --root, or remove this one",
        )
    if not made.exists():
        generate(seed=seed, persons=persons, first_date=FIRST_DATE, nights=NIGHTS + SPARE_NIGHTS, out=stage.world)
    hub = stage.settings()
    init_keyrings(hub, valid_from=FIRST_DATE)
    hub.recipients_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, envelope in INSTITUTIONS.items():
        for public in make_institution(stage.institution(name), name=name, kind=envelope, valid_from=FIRST_DATE):
            (hub.recipients_dir / public.name).write_bytes(public.read_bytes())


@contextmanager
def agencies(stage: Stage) -> Iterator[None]:
    """The three kinds of agency, live on loopback, with their addresses in the hub's connections file."""
    from pipelines.province.servers import serve

    hub = stage.settings()
    with serve(stage.world, run_dir=stage.agencies) as running:
        write_connections(hub, running.connections())
        yield


def write_connections(hub: Settings, connections: dict[str, object]) -> None:
    """Write connections.json, readable by the owner alone, in one step."""
    hub.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = hub.connections_file.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps(connections, indent=1))
    fresh.rename(hub.connections_file)


def airflow_environment(stage: Stage, **more: str) -> dict[str, str]:
    """Airflow on SQLite below the stage, with this repository's DAGs and the hub's connections file."""
    hub = stage.settings().model_copy(update={"home": stage.hub.resolve()})
    home = stage.airflow.resolve()
    return (
        environment(hub)
        | {
            "AIRFLOW_HOME": str(home),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
            "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
            "AIRFLOW__SECRETS__BACKEND": "airflow.secrets.local_filesystem.LocalFilesystemBackend",
            "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps(
                {"connections_file_path": str(hub.connections_file.resolve())}
            ),
            "PYTHONWARNINGS": "ignore",
            "NO_PROXY": "127.0.0.1,localhost",
        }
        | more
    )


def migrate_airflow(stage: Stage) -> None:
    """Create or upgrade Airflow's metadata database."""
    stage.airflow.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = stage.airflow / "migrate.log"
    with log.open("ab") as out:
        subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"],
            env=airflow_environment(stage),
            stdout=out,
            stderr=out,
            check=True,
        )


def run_dags(stage: Stage, dates: list[date], *, show_progress: bool = True) -> list[Receipt]:
    """Run the real DAGs for each date in order; return every step's receipt.

    Raises: SancheError naming the log when a DAG did not succeed.
    """
    log = stage.airflow / "demo-dags.log"
    receipts: list[Receipt] = []
    with log.open("ab") as errors:
        runner = subprocess.Popen(
            [sys.executable, "-m", "pipelines.demo_dags", *(day.isoformat() for day in dates)],
            env=airflow_environment(stage, SANCHE_PROCESSES="forkserver"),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
        assert runner.stdout is not None
        try:
            for line in runner.stdout:
                if line.startswith("receipt "):
                    receipts.append(Receipt.from_json(line.removeprefix("receipt ")))
                elif line.startswith("dag ") and show_progress:
                    print("  " + line.removeprefix("dag ").rstrip(), flush=True)
            exit_code = runner.wait()
        finally:
            stop_group(runner)  # on Ctrl-C too: its lanes must not go on alone
    if exit_code != 0:
        raise SancheError(
            "the demo's night is red",
            where=str(log),
            why="a DAG did not succeed; the end of that log says which task and why",
            do="mend it and run again: what is done stays done",
        )
    return receipts


def stop_group(process: subprocess.Popen[Any]) -> None:
    """Stop a process that leads a session, and all that it started: asked first, then made."""
    for signal_number, patience_s in ((signal.SIGTERM, 15), (signal.SIGKILL, 5)):
        if process.poll() is not None:
            break
        try:
            os.killpg(process.pid, signal_number)
            process.wait(patience_s)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    # The leader may be gone before its children are.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def receive_all(stage: Stage) -> dict[str, int]:
    """Each institution verifies and opens what is new in its outbox; rows received, by institution."""
    from pipelines.extracts.receiver import receive

    hub = stage.settings()
    opened: dict[str, int] = {}
    for name in INSTITUTIONS:
        home = stage.institution(name)
        for package in sorted((hub.outbox_dir / name).glob("*-*")):
            if (home / "received" / package.name).exists():
                continue
            received = receive(
                package,
                institution_dir=home,
                hub_cert=hub.keys_dir / "hub-signing.cert.pem",
                state_file=home / "state.json",
            )
            opened[name] = opened.get(name, 0) + received.rows
    return opened


def executable(name: str) -> str:
    """Path of a command installed beside this Python."""
    return os.fspath(Path(sys.executable).with_name(name))


def free_port(wanted: int) -> int:
    """The wanted loopback port, or a free one for 0. Raises: Usage when it is taken."""
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            raise Usage(
                f"port {wanted} is taken",
                where="127.0.0.1",
                why="another program listens there",
                do="choose another with --port, or --port 0 for a free one",
            ) from None
        return int(probe.getsockname()[1])


def api_address(port: int) -> dict[str, str]:
    """The Airflow settings that put its API server and execution API on one loopback port."""
    return {
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
    }
