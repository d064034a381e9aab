"""Errors that a newcomer meets say what is wrong, where, and what to do; never a traceback."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from datetime import date
from pathlib import Path

import asyncssh
import pytest

from pipelines.lake import Lake
from pipelines.privacy import init_keyrings
from pipelines.settings import REPOSITORY, Settings

DAY = ["--date", "2026-08-20"]


def sanche(*arguments: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *arguments],
        env=os.environ | {"SANCHE_HOME": str(home), "SANCHE_SOURCE_ATTEMPTS": "1", "COLUMNS": "160"} | variables,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def ready(tmp_path_factory) -> Path:
    """A hub with keys, whose agencies are down."""
    home = tmp_path_factory.mktemp("ready") / "hub"
    init_keyrings(Settings(home=home), valid_from=date(2026, 8, 19))
    with socket.socket() as closed:  # a port on which nobody listens once this block ends
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    down = {"host": "127.0.0.1", "port": port, "login": "hub", "password": "x", "extra": {}}
    host_key = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    connections = {
        "platforms": down | {"conn_type": "http"},
        "social_insurance": down | {"conn_type": "postgres", "schema": "si"},
        "banks": down | {"conn_type": "sftp", "extra": {"host_key": host_key, "path": "/outgoing"}},
    }
    (home / "connections.json").write_text(json.dumps(connections))
    (home / "connections.json").chmod(0o600)
    return home


def expect_error(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "\ndo " in done.stderr, done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def test_no_key(tmp_path):
    expect_error(
        sanche("pull", "platform_order", *DAY, home=tmp_path / "empty"), 77, "keyring", "sanche keys init"
    )


def test_wrong_passphrase(ready, tmp_path):
    home = tmp_path / "hub"
    shutil.copytree(ready, home)
    passphrase = home / "secrets" / "pull.passphrase"
    passphrase.chmod(0o600)
    passphrase.write_text("not it")
    passphrase.chmod(0o400)
    expect_error(sanche("pull", "platform_order", *DAY, home=home), 77, "passphrase", "pull.passphrase")


@pytest.mark.parametrize("feed", ["platform_order", "si_person", "bank_txn"])
def test_agency_down(ready, feed):
    done = sanche("pull", feed, *DAY, home=ready)
    expect_error(done, 75, feed)
    assert "password" not in done.stderr.lower()


def test_unknown_feed(ready):
    expect_error(sanche("pull", "platform_ordr", *DAY, home=ready), 64, "platform_ordr", "platform_order")


def test_a_date_that_is_none(ready):
    expect_error(sanche("marts", "--date", "20/08/2026", home=ready), 64, "YYYY-MM-DD")


def test_malformed_contract(ready, tmp_path):
    schemas = tmp_path / "schemas"
    shutil.copytree(REPOSITORY / "schemas", schemas)
    broken = schemas / "feeds" / "consent.odcs.yaml"
    broken.write_text(broken.read_text().replace("required:", "reqired:", 1))
    done = sanche("pull", "consent", *DAY, home=ready, SANCHE_SCHEMAS=str(schemas))
    expect_error(done, 65, "consent.odcs.yaml", "reqired")


def test_malformed_product(ready, tmp_path):
    schemas = tmp_path / "schemas"
    shutil.copytree(REPOSITORY / "schemas", schemas)
    product = schemas / "products" / "c1.yaml"
    product.write_text(product.read_text() + "\nlimmit: 3\n")
    expect_error(sanche("decide", *DAY, home=ready, SANCHE_SCHEMAS=str(schemas)), 65, "c1.yaml", "limmit")


def test_port_taken(tmp_path):
    from pipelines.demo import free_port
    from pipelines.errors import Usage

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(Usage, match="is taken") as refused:
            free_port(taken.getsockname()[1])
    assert "--port" in refused.value.do


def test_no_connections_file(tmp_path):
    home = tmp_path / "hub"
    init_keyrings(Settings(home=home), valid_from=date(2026, 8, 19))
    expect_error(sanche("pull", "platform_order", *DAY, home=home), 77, "connections.json")


def test_a_setting_that_does_not_exist(ready):
    done = sanche("marts", *DAY, home=ready, SANCHE_THREADS="many")
    expect_error(done, 64, "threads")


def test_json_errors_can_be_read_by_a_script(ready):
    done = sanche("pull", "platform_ordr", *DAY, "--json", home=ready)
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["exit_code"] == done.returncode == 64
    assert told["error"]["kind"] == "Usage"


def test_every_command_has_help_that_teaches(tmp_path):
    listed = sanche("--help", home=tmp_path).stdout
    commands = [line.split()[0] for line in listed.partition("Commands:")[2].splitlines() if line.strip()]
    assert set(commands) >= {
        "demo", "province", "pull", "night", "marts", "decide", "extract", "receive", "verify", "report", "sql",
        "explain", "doctor",
    }  # fmt: skip
    for command in commands:
        told = sanche(command, "--help", home=tmp_path)
        assert told.returncode == 0
        assert len(told.stdout) > 200, command


@pytest.mark.parametrize(
    "arguments", [(), ("nope",), ("sql",), ("pull", "platform_order"), ("province",), ("demo", "--persons", "2")]
)
def test_a_mistyped_command_is_the_askers_and_not_a_bug(tmp_path, arguments):
    done = sanche(*arguments, home=tmp_path)
    assert done.returncode == 64, done.stderr
    assert "BUG" not in done.stderr
    assert "Usage" in done.stdout + done.stderr


def test_a_question_to_a_hub_that_is_not_there_makes_none(tmp_path):
    expect_error(sanche("sql", "from control.batch", home=tmp_path / "typo"), 77, "no lake")
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize(
    "query",
    [
        "select content from read_text('/etc/passwd')",
        "copy (select 1) to '{home}/out.csv'",
        "attach '{home}/x.db'",
        "select 1; select 2",
        "from ducklake_cleanup_old_files('lake')",
        "from __ducklake_metadata_lake.ducklake_file_column_stats",
        "from glob('{home}/**')",
        "set memory_limit = '1GB'",
        "selec 1",
        "",
    ],
)
def test_X11_sql_reads_the_lake_and_nothing_else(tmp_path_factory, query):
    home = tmp_path_factory.mktemp("asked")
    with Lake.attach(Settings(home=home)):
        pass
    before = {p for p in home.rglob("*") if "tmp" not in p.parts}
    done = sanche("sql", query.format(home=home), home=home)
    assert done.returncode == 64, done.stdout + done.stderr
    assert {p for p in home.rglob("*") if "tmp" not in p.parts} == before
