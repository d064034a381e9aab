"""The ledger's copy outside the lake: one file a stream, only ever appended to, one canonical JSON line an entry.

Promises: after every commit the file holds what the table holds; a line that a crash cut is completed from the
          table at the next append.
Refuses:  a file that says more than the table, or something else (VerificationFailed): either of them was changed.
Not here: what a line says (chain.py, head.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import Refused, VerificationFailed

TAIL_BYTES = 64 * 1024  # a line has some hundred bytes, with a gate's summary a few thousand

Lines = Callable[[int], Iterator[bytes]]  # the table's lines after a number, in order


@dataclass(frozen=True, slots=True)
class Tail:
    """number: of the last whole line (0: none); rest: bytes of a cut line; whole_bytes: what stands before it."""

    number: int
    line: bytes
    rest: bytes
    whole_bytes: int


class AppendedFile:
    """ledger/<name>.jsonl. number: the field that counts its lines from 1."""

    def __init__(self, folder: Path, name: str, *, number: str) -> None:
        self.name = name
        self.path = folder / f"{name}.jsonl"
        self._number = number

    def check(self, lines: Lines) -> None:
        """Raises VerificationFailed unless the file is a prefix of the table's lines, Refused if not writable."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600))
        except OSError as error:
            raise Refused(
                "the ledger cannot be written, so nothing is",
                where=str(self.path),
                why=error.strerror or "the system refused",
                do="mend the folder's rights or space, then run it again",
            ) from None
        self._agreeing_tail(lines)

    def catch_up(self, lines: Lines) -> None:
        """Write the lines that the table has and the file lacks; durable when this returns."""
        tail = self._agreeing_tail(lines)
        with self.path.open("r+b") as file:
            file.truncate(tail.whole_bytes)
            file.seek(tail.whole_bytes)
            for line in lines(tail.number):
                file.write(line)
            file.flush()
            os.fsync(file.fileno())
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def fault(self, lines: Lines) -> str:
        """Read the whole file against the table: '' if it is the table's prefix, else what is wrong."""
        if not self.path.exists():
            return ""
        expected = lines(0)
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                wanted = next(expected, None)
                if wanted is None:
                    return f"line {number} is not in the table"
                if line != wanted and (line.endswith(b"\n") or not wanted.startswith(line)):
                    return f"line {number} is not what the table holds"
        return ""

    def whole_lines(self) -> int:
        """How many whole lines the file has."""
        if not self.path.exists():
            return 0
        with self.path.open("rb") as file:
            return sum(line.endswith(b"\n") for line in file)

    def _agreeing_tail(self, lines: Lines) -> Tail:
        tail = self._tail()
        if tail.number and next(lines(tail.number - 1), None) != tail.line:
            raise self._differs(f"line {tail.number} is not what the table holds")
        if tail.rest and not next(lines(tail.number), b"").startswith(tail.rest):
            raise self._differs(f"the cut line after {tail.number} is not what the table holds")
        return tail

    def _tail(self) -> Tail:
        if not self.path.exists():
            return Tail(0, b"", b"", 0)
        size, want = self.path.stat().st_size, TAIL_BYTES
        with self.path.open("rb") as file:
            while True:
                start = max(0, size - want)
                file.seek(start)
                block = file.read()
                whole_end = block.rfind(b"\n") + 1
                line_start = block.rfind(b"\n", 0, whole_end - 1) + 1 if whole_end else 0
                if start == 0 or line_start > 0:
                    break
                want *= 2
        line, rest = block[line_start:whole_end], block[whole_end:]
        return Tail(self._number_of(line) if line else 0, line, rest, start + whole_end)

    def _number_of(self, line: bytes) -> int:
        try:
            number = json.loads(line)[self._number]
        except (ValueError, KeyError, TypeError):
            number = None
        if not isinstance(number, int) or number < 1:
            raise self._differs("its last line cannot be read")
        return number

    def _differs(self, why: str) -> VerificationFailed:
        return VerificationFailed(
            f"the ledger's file and table differ in stream {self.name}",
            where=str(self.path),
            why=why,
            do="sanche verify; one was changed, or restored from an older copy: keep both, ask the auditor",
        )
