"""The province's live agencies: real protocols on loopback ports, for the demo, the tests and the benchmarks.

Promises: platforms (OAuth2 and NDJSON over HTTP), social insurance (PostgreSQL) and banks (SFTP), each a process
          of its own that ends with its starter; `connections()` in the shape of Airflow's file of connections.
Refuses:  any address but 127.0.0.1.
Not here: the data that they serve (pipelines/province), the hub's side (pipelines/sources).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncssh

from pipelines.province.servers.child import LOOPBACK, Child, free_port

AGENCIES = ("platforms", "social_insurance", "banks")
LOGIN = "sanche_hub"


class Agencies:
    """The running agencies. One may be stopped and started again, at the same address."""

    def __init__(self, world_dir: Path, run_dir: Path, options: dict[str, Any]) -> None:
        run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        host_key = asyncssh.generate_private_key("ssh-ed25519")
        self._host_key = " ".join(host_key.export_public_key().decode().split()[:2])
        self._children: dict[str, Child] = {}
        for name in AGENCIES:
            config = {
                "world_dir": str(world_dir.resolve()),
                "run_dir": str(run_dir.resolve()),
                "port": free_port(),
                "login": LOGIN,
                "password": secrets.token_urlsafe(24),
            }
            if name == "banks":
                config["host_key"] = host_key.export_private_key().decode()
            self._children[name] = Child(name, config | options, run_dir / f"{name}.log")

    def start(self, names: Iterable[str] = AGENCIES) -> None:
        """Start these agencies side by side and wait until each answers."""
        names = list(names)
        for name in names:
            self._children[name].launch()
        for name in names:
            self._children[name].wait_ready()

    def stop(self, names: Iterable[str] = AGENCIES) -> None:
        for name in names:
            self._children[name].stop()

    def pids(self) -> dict[str, int | None]:
        return {name: agency.pid for name, agency in self._children.items()}

    def connections(self) -> dict[str, Any]:
        """What the hub needs to reach each agency (contains the passwords: write it 0600)."""
        particulars: dict[str, dict[str, Any]] = {
            "platforms": {
                "conn_type": "http",
                # Compression only costs time on loopback; a real agency's connection leaves this out.
                "extra": {"token_path": "/oauth/token", "accept_encoding": "identity"},
            },
            "social_insurance": {
                "conn_type": "postgres",
                "schema": "si",
                "extra": {"database": "social_insurance", "sslmode": "disable"},
            },
            "banks": {"conn_type": "sftp", "extra": {"host_key": self._host_key, "path": "/outgoing"}},
        }
        return {
            name: {
                "conn_type": particulars[name]["conn_type"],
                "host": LOOPBACK,
                "port": agency.config["port"],
                "login": agency.config["login"],
                "password": agency.config["password"],
                **particulars[name],
            }
            for name, agency in self._children.items()
        }


@contextmanager
def serve(
    world_dir: Path, *, run_dir: Path, agencies: Iterable[str] = AGENCIES, **options: Any
) -> Iterator[Agencies]:
    """Run the agencies of the world in `world_dir` (feeds/*.parquet, world.json) until the block ends.

    run_dir: where they keep their own files (0700). options: token_life_s for the platforms' tokens.
    """
    running = Agencies(world_dir, run_dir, options)
    try:
        running.start(agencies)
        yield running
    finally:
        running.stop()
