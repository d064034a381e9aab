"""Start a step of the night as a process of its own, and bring back its receipt or its error.

Promises: whoever opens a keyring is its own process (ARCHITECTURE "Sealing"); the caller gets a Receipt, or the
          same SancheError that the step raised; a step's log lines go to the caller's stderr as they come.
          With processes = "forkserver" the step is forked from a template that has loaded the libraries and
          nothing else: no key, no lake, no record. It saves the three seconds that Great Expectations takes
          to import, 42 times in a demo.
Refuses:  to run a step in the caller's own process.
Not here: what a step does (the rooms), in which order (dags/, night).
"""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from typing import BinaryIO, cast

from pipelines import errors
from pipelines.receipt import Receipt
from pipelines.settings import Settings

_TEMPLATE_MODULES = ["pipelines.warm"]


def run_step(*arguments: str, settings: Settings | None = None) -> Receipt:
    """Run `sanche <arguments> --json` and return its receipt.

    Raises: the SancheError of the step (by its kind), or Bug if the process ended without a word.
    """
    settings = settings or Settings()
    command = [*arguments, "--json"]
    if settings.processes == "forkserver":
        exit_code, output = _fork(command, settings)
    else:
        exit_code, output = _spawn(command, settings)
    return _understand(arguments, exit_code, output)


def environment(settings: Settings) -> dict[str, str]:
    """The caller's environment, with this settings object written out as SANCHE_* variables."""
    values = {f"SANCHE_{name.upper()}": str(value) for name, value in settings.model_dump().items()}
    return os.environ | values | {"PYTHONUNBUFFERED": "1"}


def _spawn(command: list[str], settings: Settings) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *command],
        env=environment(settings),
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def _fork(command: list[str], settings: Settings) -> tuple[int, str]:
    context = _forkserver()
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_in_child, args=(theirs, command, environment(settings)))
    child.start()
    theirs.close()
    try:
        exit_code, output = ours.recv()
    except EOFError:  # the child died before it could answer (killed, out of memory)
        exit_code, output = 70, ""
    finally:
        ours.close()
        child.join()
    return exit_code, output


_context: ForkServerContext | None = None


def _forkserver() -> ForkServerContext:
    global _context
    if _context is None:
        _context = multiprocessing.get_context("forkserver")
        _context.set_forkserver_preload(_TEMPLATE_MODULES)
    return _context


def _in_child(answer: Connection, command: list[str], variables: dict[str, str]) -> None:
    import io
    from contextlib import redirect_stdout

    from pipelines.cli import run

    _die_with_parent()
    os.environ.clear()
    os.environ.update(variables)
    text = io.StringIO()
    with redirect_stdout(text):
        exit_code = run(command)
    answer.send((exit_code, text.getvalue()))
    answer.close()


_PR_SET_PDEATHSIG = 1  # prctl(2)


def _die_with_parent() -> None:
    """A step whose night was killed ends with it, and does not run on beside the rerun."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def _understand(arguments: tuple[str, ...], exit_code: int, output: str) -> Receipt:
    lines = output.strip().splitlines()
    if exit_code == 0 and lines:
        return Receipt.from_json(lines[-1])
    step = " ".join(arguments)
    try:
        told = json.loads(lines[-1])["error"]
        kind = getattr(errors, told.pop("kind"))
        raise kind(told.pop("what"), **told)
    except (IndexError, KeyError, ValueError, AttributeError, TypeError):
        raise errors.Bug(
            f"sanche {step} ended without a receipt",
            why=f"exit code {exit_code}"
            + (" (killed: out of memory, or stopped)" if exit_code in (-9, 137) else ""),
            do=f"run it by hand: sanche {step}",
        ) from None


class Sealer:
    """A `sanche seal` process, started before its request is known, so that it loads while the landing does.

    Promises: it is forked (forkserver) or started (spawn) from a process that has opened no key and no lake yet:
              make one first, open things afterwards. Leaving `stream` raises the sealer's own error, if any.
    """

    def __init__(self, settings: Settings) -> None:
        request, self._ask = os.pipe()
        self._answer, stream = os.pipe()
        # What it says on stderr goes to memory, not to a pipe: nobody reads it until the stream has ended.
        self._complaint = os.memfd_create("sealer-stderr")
        if settings.processes == "forkserver":
            self._pid = self._forked(request, stream)
        else:
            command = [sys.executable, "-m", "pipelines.cli", "seal", "--json"]
            child = subprocess.Popen(
                command, env=environment(settings), stdin=request, stdout=stream, stderr=self._complaint
            )
            self._pid, self._child = child.pid, child
        for end in (request, stream):
            os.close(end)
        self._exit_code: int | None = None

    def _forked(self, request: int, stream: int) -> int:
        pid = os.fork()
        if pid:
            return pid
        exit_code = 70
        try:
            _die_with_parent()
            for end in (self._ask, self._answer):
                os.close(end)
            for end, standard in ((request, 0), (stream, 1), (self._complaint, 2)):
                os.dup2(end, standard)
            sys.stdin, sys.stdout = os.fdopen(0, "r"), os.fdopen(1, "w")
            sys.stderr = os.fdopen(2, "w", buffering=1)
            from pipelines.cli import run

            exit_code = run(["seal", "--json"])
            sys.stdout.flush()
        finally:
            os._exit(exit_code)  # never back into the landing's own frames

    @contextmanager
    def stream(self, request: bytes) -> Iterator[BinaryIO]:
        """The sealed Arrow stream that answers this request. Raises on leaving: the sealer's own error."""
        try:
            with os.fdopen(self._ask, "wb") as ask:
                self._ask = -1
                ask.write(request)
        except BrokenPipeError:  # it ended before it was asked: its own error says why
            self._raise_its_error()
        with os.fdopen(self._answer, "rb") as answer:
            self._answer = -1
            try:
                yield cast(BinaryIO, answer)
            except errors.SancheError:
                # The reader saw a cut stream; what the sealer says about it, if anything, is the cause.
                answer.close()
                self._raise_its_error()
                raise
        self._raise_its_error()

    def _raise_its_error(self) -> None:
        exit_code = self._wait()
        with os.fdopen(self._complaint, "rb") as complaint:
            self._complaint = -1
            complaint.seek(0)
            said = complaint.read().decode("utf-8", "replace")
        if exit_code not in (0, -signal.SIGPIPE):  # it may still write when we stop reading
            _understand(("seal",), exit_code, said)

    def _wait(self) -> int:
        if self._exit_code is None:
            _, status = os.waitpid(self._pid, 0)
            self._exit_code = os.waitstatus_to_exitcode(status)
        return self._exit_code

    def close(self) -> None:
        """End the process if it is still there: nothing was asked, or its reader gave up."""
        for end in (self._ask, self._answer, self._complaint):
            if end >= 0:
                os.close(end)
        if self._exit_code is None:
            os.kill(self._pid, signal.SIGKILL)
            self._wait()
