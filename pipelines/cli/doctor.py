"""What `sanche doctor` looks at: machine, folders, keys, lake, agencies; or one feed's last batches.

Promises: reads only; names no value and no credential; each thing that is wrong comes with what to do.
Refuses:  to repair anything.
Not here: whether the ledger holds (sanche verify).
"""

from __future__ import annotations

import json
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import SancheError
from pipelines.settings import Settings

LOW_DISK_BYTES = 2 * 2**30  # a night of a province needs about this much room for spill and the new files
ROLES = ("pull", "seal", "land", "release")


@dataclass(frozen=True)
class Finding:
    """One thing looked at. told: what was seen; do: the next step when it is not well."""

    subject: str
    ok: bool
    told: str
    do: str = ""


def examine(hub: Settings) -> list[Finding]:
    """Look at everything but the feeds' contents."""
    return [*_machine(hub), *_folders(hub), *_contracts(hub), *_keys(hub), *_agencies(hub), *_lake(hub)]


def _machine(hub: Settings) -> Iterator[Finding]:
    place = hub.home if hub.home.exists() else Path()
    free = shutil.disk_usage(place).free
    yield Finding("disk", free > LOW_DISK_BYTES, f"{free / 2**30:.1f} GiB free", "make room below the hub's home")
    try:
        version = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=True).stdout.strip()
        yield Finding("openssl", version.split()[1] >= "3", version, "install OpenSSL 3 (CMS with AES-GCM)")
    except (OSError, subprocess.CalledProcessError):
        yield Finding("openssl", False, "not found", "apt-get install openssl (CMS packages need it)")


def _folders(hub: Settings) -> Iterator[Finding]:
    if not hub.home.exists():
        yield Finding("home", False, f"{hub.home} does not exist", "sanche demo, or sanche keys init --date …")
        return
    yield Finding("home", True, str(hub.home.resolve()))
    names = ("keys", "secrets", "lake", "vault", "outbox", "ledger", "tmp")
    open_ones = [
        n for n in names if (hub.home / n).exists() and stat.S_IMODE((hub.home / n).stat().st_mode) & 0o077
    ]
    told = "closed to others" if not open_ones else f"open to others: {', '.join(open_ones)}"
    yield Finding("folders", not open_ones, told, f"chmod -R go= {hub.home}")


def _contracts(hub: Settings) -> Iterator[Finding]:
    from pipelines.contracts import load_all

    try:
        yield Finding("contracts", True, f"{len(load_all(hub))} feeds")
    except SancheError as error:
        yield Finding("contracts", False, f"{error.what} {error.where}: {error.why}", error.do)


def _keys(hub: Settings) -> Iterator[Finding]:
    from pipelines.privacy import open_keyring

    # Opened one after the other, for this look only; no step of the night opens two (ARCHITECTURE, Keys).
    for role in ROLES:
        try:
            open_keyring(hub, role)
            yield Finding(f"keyring {role}", True, "opens")
        except SancheError as error:
            yield Finding(f"keyring {role}", False, error.what, error.do)


def _agencies(hub: Settings) -> Iterator[Finding]:
    try:
        connections = json.loads(hub.connections_file.read_text())
    except (OSError, ValueError):
        yield Finding(
            "connections", False, f"{hub.connections_file} cannot be read", "sanche province serve, or write it"
        )
        return
    for name, connection in connections.items():
        host, port = connection.get("host") or "127.0.0.1", int(connection.get("port") or 0)
        try:
            with socket.create_connection((host, port), timeout=3):
                yield Finding(f"agency {name}", True, f"{host}:{port} answers")
        except OSError:
            yield Finding(
                f"agency {name}", False, f"{host}:{port} does not answer", "start it, or mend connections.json"
            )


def _lake(hub: Settings) -> Iterator[Finding]:
    from pipelines.lake import Lake

    if not (hub.lake_dir / "catalog.sqlite").exists():
        yield Finding("lake", True, "empty: no night has run yet")
        return
    try:
        with Lake.attach(hub, read_only=True) as lake:
            batches = lake.query(
                "select count(*) as n, count(*) filter (fate = 'held') as held from control.batch"
            )
            held = batches["held"][0].as_py()
            yield Finding("lake", True, f"{batches['n'][0].as_py()} batches")
            yield Finding(
                "held batches", held == 0, str(held), "sanche doctor --feed FEED says which rule held it"
            )
    except SancheError as error:
        yield Finding("lake", False, error.what, error.do)


def examine_feed(hub: Settings, feed: str) -> list[Finding]:
    """The feed's watermark and its last batches, with the gate's reasons for a held one."""
    from pipelines.cli.steps import contract_of
    from pipelines.lake import Lake

    contract_of(feed, hub)
    with Lake.attach(hub, read_only=True) as lake:
        marks = lake.query("select watermark from control.watermark where feed = $feed", {"feed": feed})
        batches = lake.query(
            "select business_date, fate, physical, landed, quarantined, duplicates, gate from control.batch "
            "where feed = $feed order by business_date desc limit 7",
            {"feed": feed},
        )
    watermark = marks["watermark"][0].as_py() if marks.num_rows else None
    findings = [
        Finding(
            "watermark", watermark is not None, str(watermark or "never pulled"), f"sanche pull {feed} --date …"
        )
    ]
    for row in batches.to_pylist():
        told = f"{row['fate']}: {row['physical']:,} came, {row['landed']:,} landed"
        told += f", {row['quarantined']:,} quarantined, {row['duplicates']:,} duplicates"
        held = row["fate"] == "held"
        if held:
            told += f"; {'; '.join(json.loads(row['gate'] or '{}').get('reasons', []))}"
        findings.append(Finding(str(row["business_date"]), not held, told, "ask the agency for a resend"))
    return findings
