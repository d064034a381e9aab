"""One hash chain per stream: append, and recompute.

Promises: an entry is canonical JSON (RFC 8785); its hash covers the hash before it, its stream, number, date, kind
          and body, so that an edit, a deletion or a new order anywhere breaks every later hash.
          An entry becomes visible in the same commit as the rows that it speaks of.
Refuses:  wall time (a body has it only if the caller put it there); a ledger that cannot be written, and one whose
          appended file is not the table's prefix (VerificationFailed): then the commit is rolled back.
Not here: the appended files (appended.py), the nightly head (head.py).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import rfc8785

from pipelines.errors import Bug
from pipelines.lake import Commit, Lake
from pipelines.ledger.appended import AppendedFile

GENESIS = "0" * 64  # the "hash before" of a stream's first entry
MOST_EXACT = 2**53 - 1
_STREAM = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)?")

LAST = "select seq, hash from ledger.entry where stream = $stream order by seq desc limit 1"
READ = """
select stream, seq, business_date, kind, body, previous_hash, hash from ledger.entry
where stream = $stream and seq > $after order by seq
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a stream. body: canonical JSON."""

    stream: str
    seq: int
    business_date: date
    kind: str
    body: str
    previous_hash: str
    hash: str

    def recomputed_hash(self) -> str:
        """What the hash must be, from everything else."""
        return hash_of(
            self.previous_hash,
            stream=self.stream,
            seq=self.seq,
            business_date=self.business_date,
            kind=self.kind,
            body=self.body,
        )

    def line(self) -> bytes:
        """This entry as a line of the stream's appended file: the body as the text that was hashed."""
        record = {name: getattr(self, name) for name in self.__slots__}
        return rfc8785.dumps(record | {"business_date": self.business_date.isoformat()}) + b"\n"


def hash_of(previous_hash: str, *, stream: str, seq: int, business_date: date, kind: str, body: str) -> str:
    """SHA-256 over the hash before and the canonical JSON of the rest."""
    said = rfc8785.dumps(
        {"stream": stream, "seq": seq, "business_date": business_date.isoformat(), "kind": kind, "body": body}
    )
    return hashlib.sha256(previous_hash.encode() + said).hexdigest()


def append(commit: Commit, *, stream: str, kind: str, business_date: date, body: dict[str, Any]) -> Entry:
    """Add one entry to a stream, within a commit; returns it.

    body: ids, counts, hashes made by us; never a value of a record, never a hash of one without a key.
    Raises: VerificationFailed, Refused (ledger folder not writable).
    """
    if not _STREAM.fullmatch(stream) or stream == "head":
        raise Bug(f"not a name for a ledger stream: {stream!r}")
    keep_up(commit, stream)
    last = commit.execute(LAST, {"stream": stream}).fetchone()
    seq, previous = (last[0] + 1, last[1]) if last else (1, GENESIS)
    text = rfc8785.dumps(_plain(body)).decode()
    hashed = hash_of(previous, stream=stream, seq=seq, business_date=business_date, kind=kind, body=text)
    entry = Entry(stream, seq, business_date, kind, text, previous, hashed)
    values = [getattr(entry, name) for name in Entry.__slots__]
    commit.execute("insert into ledger.entry values (?, ?, ?, ?, ?, ?, ?)", values)
    return entry


def keep_up(commit: Commit, stream: str) -> None:
    """Check that the stream's file is the table's prefix now, and complete it once the commit has succeeded."""
    file = AppendedFile(commit.settings.ledger_dir, stream, number="seq")

    def lines(after: int) -> Iterator[bytes]:
        return (entry.line() for entry in entries(commit, stream, after=after))

    if commit.after_commit(lambda: file.catch_up(lines), key=f"ledger {stream}"):
        file.check(lines)  # before anything is committed: a ledger that is not whole must not grow


def _plain(value: Any) -> Any:
    """JSON numbers are exact up to 2^53 only (RFC 8785, appendix B): a larger sum is said as text."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MOST_EXACT:
        return str(value)
    return value


def entries(source: Commit | Lake, stream: str, *, after: int = 0) -> Iterator[Entry]:
    """A stream's entries in order, from the table."""
    read = source.con.execute(READ, {"stream": stream, "after": after})
    for row in read.fetchall():
        yield Entry(*row)


def streams(source: Commit | Lake) -> list[str]:
    """The names of all streams that have an entry."""
    return [row[0] for row in source.con.execute("select distinct stream from ledger.entry order by 1").fetchall()]
