"""One agency, one process: started with its settings on standard input, gone when that pipe closes.

Promises: an agency ends with whoever started it, also after SIGKILL, since the kernel closes the pipe; its
          password travels through the pipe, never through arguments or the environment.
Refuses:  to go on if the agency dies before it says that it is ready (Bug with its last line).
Not here: what an agency serves (platforms, social_insurance, banks).
"""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.errors import Bug

LOOPBACK = "127.0.0.1"
START_WAIT_S = 120.0  # two seconds on an idle machine, twenty beside a full test run
STOP_WAIT_S = 30.0


class Child:
    """A running agency process. `start` again after `stop` gives the same port."""

    def __init__(self, name: str, config: dict[str, Any], log: Path) -> None:
        self.name, self.config, self.log = name, config, log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def launch(self) -> None:
        """Start the process; `wait_ready` says when it serves."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"pipelines.province.servers.{self.name}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(self.config).encode() + b"\n")
        self._process.stdin.flush()

    def wait_ready(self) -> dict[str, Any]:
        """What the agency says of itself once it answers. Raises Bug if it died or stays silent."""
        assert self._process is not None
        assert self._process.stdout is not None
        deadline = time.monotonic() + START_WAIT_S
        while time.monotonic() < deadline:
            if select.select([self._process.stdout], [], [], 0.2)[0]:
                line = self._process.stdout.readline()
                if line:
                    ready: dict[str, Any] = json.loads(line)
                    return ready
                break
        self.stop()
        raise Bug(f"the {self.name} agency did not start", why=_last_line(self.log), do=f"see {self.log.name}")

    def stop(self) -> None:
        if self._process is None:
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()  # the agency's signal to leave
        try:
            self._process.wait(STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._process = None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else "it said nothing"


# --- inside the child -------------------------------------------------------------------------------------


def read_config() -> dict[str, Any]:
    config: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    return config


def say_ready(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


def wait_for_parent() -> None:
    """Block until the parent closes the pipe or is gone."""
    while sys.stdin.buffer.read(4096):
        pass


def when_parent_leaves(leave: Callable[[], None]) -> None:
    """Call `leave` from a thread of its own once the parent has closed the pipe or is gone."""

    def watch() -> None:
        wait_for_parent()
        leave()

    threading.Thread(target=watch, daemon=True).start()
