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

import json
import multiprocessing
import os
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

    os.environ.clear()
    os.environ.update(variables)
    text = io.StringIO()
    with redirect_stdout(text):
        exit_code = run(command)
    answer.send((exit_code, text.getvalue()))
    answer.close()


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


@contextmanager
def sealed_stream(request: bytes, *, settings: Settings) -> Iterator[BinaryIO]:
    """The Arrow stream of a `sanche seal` process that was given this request on its standard input.

    Raises on leaving: the sealer's own error if it ended with one. The landing commits only after that.
    """
    sealer = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "seal", "--json"],
        env=environment(settings),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert sealer.stdin is not None
    assert sealer.stdout is not None
    assert sealer.stderr is not None
    try:
        sealer.stdin.write(request)
        sealer.stdin.close()
        try:
            yield cast(BinaryIO, sealer.stdout)
        except errors.SancheError:
            # The reader saw a cut stream; what the sealer says about it, if anything, is the cause.
            sealer.stdout.close()
            _raise_from_sealer(sealer)
            raise
        sealer.stdout.close()
        _raise_from_sealer(sealer)
    finally:
        if sealer.poll() is None:
            sealer.kill()
        sealer.wait()
        for pipe in (sealer.stdout, sealer.stderr):
            pipe.close()


def _raise_from_sealer(sealer: subprocess.Popen[bytes]) -> None:
    assert sealer.stderr is not None
    said = sealer.stderr.read().decode("utf-8", "replace")
    if sealer.wait() not in (0, -13):  # -13: it was still writing when we stopped reading (SIGPIPE)
        _understand(("seal",), sealer.returncode or 70, said)
