"""Commands around the hub: the demo, the made-up province, the Airflow UI."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import Home, Json, business_date

Root = Annotated[Path, typer.Option("--root", help="Folder for the province, the hub, Airflow and the rest.")]
Persons = Annotated[int, typer.Option(min=40, help="How many workers the province has (40 or more).")]


def register(app: typer.Typer) -> None:
    """Add this module's commands to the application."""
    province = typer.Typer(
        no_args_is_help=True, help="A made-up province with known truth, and its live agencies."
    )
    province.command("generate")(province_generate)
    province.command("serve")(province_serve)
    app.command("demo")(demo)
    app.add_typer(province, name="province")
    app.command("airflow")(airflow)


def demo(
    root: Root = Path(".demo"),
    persons: Persons = 160,
    json: Json = False,
) -> None:
    """Run three business dates on embedded agencies with the real DAGs, and show what happened.

    First load (thirteen months), then two nights with late, corrected and withdrawn records. Everything lies
    below --root. Run it again: nothing changes.
    """
    from pipelines import demo as stagehand
    from pipelines.cli.summary import demo_summary

    started = time.monotonic()

    def say(text: str) -> None:
        if not json:
            print(f"[{time.monotonic() - started:5.1f} s] {text}", flush=True)

    stage = stagehand.Stage(root)
    say(f"a province of {persons} workers, keys, two institutions")
    stagehand.prepare(stage, persons=persons)
    say("agencies: platforms (HTTP), social insurance (PostgreSQL), banks (SFTP); Airflow's database")
    with stagehand.agencies(stage):
        stagehand.migrate_airflow(stage)
        say("the nights, as Airflow DAGs")
        receipts = stagehand.run_dags(stage, stage.dates(), show_progress=not json)
    say("the institutions open their packages")
    received = stagehand.receive_all(stage)
    demo_summary(stage, receipts, received, as_json=json)
    say("done")


def province_generate(
    out: Annotated[Path, typer.Option(help="Folder to write to.")],
    persons: Persons = 160,
    nights: Annotated[int, typer.Option(min=0, help="Business dates after the first load.")] = 3,
    first: Annotated[str, typer.Option("--first-date", help="Business date of the first load.")] = "2026-08-19",
    seed: Annotated[int, typer.Option(help="Same seed, same province.")] = 20260819,
) -> None:
    """Generate a province: workers, orders, earnings, insurance, banks, consents, and labelled faults."""
    from pipelines.province import generate

    generate(seed=seed, persons=persons, first_date=business_date(first), nights=nights, out=out)
    print(
        f"{out}: feeds/*.parquet as the agencies hold them, labels.parquet and truth/ as the truth to compare with"
    )


def province_serve(
    root: Root = Path(".demo"),
    persons: Persons = 160,
) -> None:
    """Serve the province's agencies on free loopback ports until stopped, with their addresses in the hub's
    connections.json."""
    from pipelines import demo as stagehand

    stage = stagehand.Stage(root)
    stagehand.prepare(stage, persons=persons)
    with stagehand.agencies(stage):
        print(f"agencies are up; addresses in {stage.settings().connections_file}; stop with Ctrl-C", flush=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("stopping")


def airflow(
    root: Root = Path(".demo"),
    persons: Persons = 160,
    port: Annotated[int, typer.Option(help="Port of the Airflow UI on loopback; 0 takes a free one.")] = 8080,
    home: Home = None,
) -> None:
    """Open the same DAGs in the Airflow UI, with the agencies running, until Ctrl-C.

    The DAGs start paused. Unpause `marts`, `extracts` and the pulls, then trigger the pulls with the partition
    key of a business date: 2026-08-19 to 2026-08-22.
    """
    from pipelines import demo as stagehand

    stage = stagehand.Stage(root)
    stagehand.prepare(stage, persons=persons)
    port = stagehand.free_port(port)
    with stagehand.agencies(stage):
        stagehand.migrate_airflow(stage)
        standalone = subprocess.Popen(
            [stagehand.executable("airflow"), "standalone"],
            env=stagehand.airflow_environment(stage, **stagehand.api_address(port)),
            start_new_session=True,  # SIGTERM to `standalone` alone leaves its children; its group goes together
        )
        passwords = stage.airflow / "simple_auth_manager_passwords.json.generated"
        print(f"Airflow: http://127.0.0.1:{port}  user admin, password in {passwords}", flush=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            standalone.wait()
        except KeyboardInterrupt:
            print("stopping")
        finally:
            stagehand.stop_group(standalone)
