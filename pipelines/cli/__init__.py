"""sanche: the command line, a thin face over the rooms.

Promises: `--help` teaches; every command that does work prints one table for people or, with --json, one line
          for scripts; an error goes to stderr as what / where / why / do, and its exit code says who must act:
          0 done, 64 you asked for something unknown, 65 the sender acts, 70 our own bug, 75 try again,
          77 refused (a key, a consent, a signature is missing).
Refuses:  a traceback for anything but our own bug, and then one without values.
Not here: any work; each command calls one room.
"""

from __future__ import annotations

import json
import os
import sys
import traceback

from pipelines.errors import SancheError

__all__ = ["main", "run"]


def main() -> None:
    """Entry point of the `sanche` command."""
    os.umask(0o077)
    if "--json" in sys.argv:
        _keep_standard_output()
    sys.exit(run(sys.argv[1:]))


def _keep_standard_output() -> None:
    """Only what we print goes to standard output; what a library draws there (a progress bar) goes to stderr.

    A script reads a receipt from it, the landing a sealed stream.
    """
    ours = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = os.fdopen(ours, "w", encoding="utf-8")


def run(arguments: list[str]) -> int:
    """Run one command; return its exit code. Errors are told on stderr, or as JSON on stdout with --json."""
    import typer
    from typer._click import exceptions as click  # typer brings its own copy of click

    from pipelines.cli.app import app

    as_json = "--json" in arguments
    try:
        answer = app(arguments, standalone_mode=False)
        return int(answer) if isinstance(answer, int) else 0
    except SancheError as error:
        _tell(error, as_json=as_json, stream_taken=arguments[:1] == ["seal"])
        return error.exit_code
    except click.NoArgsIsHelpError as error:
        print(error.format_message())
        return 64
    except click.UsageError as error:
        error.show()
        return 64
    except typer.Exit as error:
        return int(error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    except Exception as error:  # our own bug: where it happened, and no text of the error (it may quote a cell)
        _tell_bug(error, as_json=as_json, stream_taken=arguments[:1] == ["seal"])
        return 70


def _tell(error: SancheError, *, as_json: bool, stream_taken: bool) -> None:
    if as_json:
        told = {"kind": type(error).__name__, "what": error.what, "where": error.where}
        told |= {"why": error.why, "do": error.do}
        out = sys.stderr if stream_taken else sys.stdout
        print(json.dumps({"error": told, "exit_code": error.exit_code}, ensure_ascii=False), file=out)
        if stream_taken:
            return
    print(str(error), file=sys.stderr)


def _tell_bug(error: Exception, *, as_json: bool, stream_taken: bool) -> None:
    from pipelines.errors import Bug

    frames = [f for f in traceback.extract_tb(error.__traceback__) if "pipelines" in f.filename]
    last = frames[-1] if frames else traceback.extract_tb(error.__traceback__)[-1]
    where = f"{last.filename.rpartition('/pipelines/')[2]}:{last.lineno} in {last.name}"
    bug = Bug(
        f"BUG {type(error).__name__}: sanche did something it should not",
        where=where,
        why="the text of the error is withheld, it may quote a record",
        do="report it with these lines; SANCHE_DEBUG=1 shows the rest on a terminal that may see records",
    )
    _tell(bug, as_json=as_json, stream_taken=stream_taken)
    if os.environ.get("SANCHE_DEBUG") == "1":
        traceback.print_exception(error)
    else:
        for frame in frames[-6:]:
            place = frame.filename.rpartition("/pipelines/")[2]
            print(f"  at {place}:{frame.lineno} in {frame.name}", file=sys.stderr)
