"""Where an agency is and how the hub logs in there: one JSON file, in the shape of Airflow's file of connections.

Promises: a Connection whose password never shows in its repr.
Refuses:  a file that others than its owner may read, and a name that is not in it.
Not here: keys of the hub (privacy/); they never lie in connections.
"""

from __future__ import annotations

import json
import stat
from dataclasses import dataclass, field
from typing import Any

from pipelines.errors import Refused
from pipelines.settings import Settings

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class Connection:
    """One agency. extra: what only its protocol needs (token_path, database, host_key, path, …)."""

    conn_id: str
    host: str
    port: int
    login: str = ""
    password: str = field(default="", repr=False)
    extra: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_loopback(self) -> bool:
        return self.host in _LOOPBACK


def load(settings: Settings, conn_id: str) -> Connection:
    """Read one connection. Raises Refused if file or name is missing, or others may read the file."""
    path = settings.connections_file
    if not path.is_file():
        raise Refused(
            "no connections.json",
            where=str(path),
            why="it says where the agencies are and how the hub logs in there",
            do="`sanche demo` or `sanche province serve` writes it; in production it is Airflow's file of "
            "connections (LocalFilesystemBackend), mode 0600",
        )
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise Refused(
            "connections.json may be read by others",
            where=str(path),
            why="it holds the agencies' passwords",
            do=f"chmod 600 {path}; if others use this machine, have the passwords changed",
        )
    try:
        entry = json.loads(path.read_text())[conn_id]
        extra = entry.get("extra") or {}
        return Connection(
            conn_id=conn_id,
            host=str(entry["host"]),
            port=int(entry["port"]),
            login=str(entry.get("login") or ""),
            password=str(entry.get("password") or ""),
            extra=json.loads(extra) if isinstance(extra, str) else dict(extra),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Refused(
            f"connections.json does not describe {conn_id}",
            where=str(path),
            why="an entry needs conn_type, host, port, login, password, and extra as an object",
            do="write it in the form of Airflow's LocalFilesystemBackend",
        ) from None
