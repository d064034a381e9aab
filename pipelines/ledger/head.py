"""The nightly head: one signed root over all streams, which packages quote.

Promises: the root is the RFC 6962 tree over (blinded stream id, length, last hash), streams in name order; heads
          are numbered from 1, each names the hash of the one before, and lies in the table and in head.jsonl.
          A stream's blinded id tells its name to nobody who has not its first entry.
Refuses:  a head over an empty ledger; a quote for a stream that the head does not cover.
Not here: making and checking signatures (privacy/): `sign` and `check` are given.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import rfc8785

from pipelines.errors import Refused
from pipelines.lake import Commit, Lake
from pipelines.ledger import merkle
from pipelines.ledger.appended import AppendedFile
from pipelines.ledger.chain import keep_up

Sign = Callable[[bytes], bytes]

NO_HEAD = "0" * 64  # "previous" of the first head
LEAVES = """
select stream, max(seq) as length, arg_max(hash, seq) as last_hash, arg_min(hash, seq) as first_hash
from ledger.entry group by stream order by stream
"""
HEADS = """
select head_no, business_date, root, streams, body, signature from ledger.head
where head_no > $after order by head_no
"""

# Written after the head of their night, by those who quote it: they alone do not ask for a new one.
AFTER_THE_HEAD = ("agreement.", "night")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A stream as a head sees it."""

    stream: str
    blinded: str
    length: int
    last_hash: str

    def to_bytes(self) -> bytes:
        return leaf_bytes(self.blinded, self.length, self.last_hash)


@dataclass(frozen=True, slots=True)
class Head:
    """body: canonical JSON of {"head": what is signed, "leaves": [[stream, blinded, length, last hash], …]}."""

    head_no: int
    business_date: date
    root: str
    streams: int
    body: str
    signature: bytes

    @property
    def statement(self) -> bytes:
        """The bytes that the signature is over."""
        return rfc8785.dumps(json.loads(self.body)["head"])

    @property
    def leaves(self) -> list[Leaf]:
        return [Leaf(*leaf) for leaf in json.loads(self.body)["leaves"]]

    def line(self) -> bytes:
        record: dict[str, Any] = {
            "head_no": self.head_no,
            "business_date": self.business_date.isoformat(),
            "root": self.root,
            "streams": self.streams,
            "body": self.body,
            "signature": base64.b64encode(self.signature).decode(),
        }
        return rfc8785.dumps(record) + b"\n"

    def quote(self, stream: str) -> dict[str, Any]:
        """What a package says of this head: the signed statement, and the proof that a stream is under it.

        Raises: Refused if the head does not cover the stream.
        """
        leaves = self.leaves
        index = next((n for n, leaf in enumerate(leaves) if leaf.stream == stream), None)
        if index is None:
            raise Refused(
                f"ledger head {self.head_no} does not cover stream {stream}",
                do="sanche head --date … after the stream has an entry",
            )
        leaf = leaves[index]
        return {
            "statement": json.loads(self.statement),
            "signature": base64.b64encode(self.signature).decode(),
            "leaf": {"stream": leaf.blinded, "length": leaf.length, "last_hash": leaf.last_hash},
            "index": index,
            "path": [step.hex() for step in merkle.path_of([leaf.to_bytes() for leaf in leaves], index)],
        }


def leaf_bytes(blinded: str, length: int, last_hash: str) -> bytes:
    return rfc8785.dumps([blinded, length, last_hash])


def blinded_id(stream: str, first_hash: str) -> str:
    return hashlib.sha256(b"sanche ledger stream\x00" + first_hash.encode() + stream.encode()).hexdigest()


def close_head(lake: Lake, *, business_date: date, sign: Sign) -> Head:
    """Sign and store the root over all streams; the date's own head again if nothing came since the last one.

    sign: the statement's bytes to a detached signature. Raises: Refused on an empty ledger, VerificationFailed.
    """
    with lake.commit(step="head", business_date=business_date) as commit:
        last = _latest(commit)
        leaves = _leaves(commit)
        mine = _of_date(commit, business_date)
        if last is not None and mine is not None and not _has_grown(last, leaves):
            return mine
        if not leaves:
            raise Refused("no ledger head", why="the ledger has no entry", do="pull and land a feed first")
        file = AppendedFile(lake.settings.ledger_dir, "head", number="head_no")
        file.check(lambda after: head_lines(commit, after))
        for leaf in leaves:
            # A run that died after its commit left its lines unwritten; what a head covers must be in the files.
            keep_up(commit, leaf.stream)
        head = _signed(last, leaves, business_date=business_date, sign=sign)
        commit.execute(
            "insert into ledger.head values (?, ?, ?, ?, ?, ?)",
            [head.head_no, head.business_date, head.root, head.streams, head.body, head.signature],
        )
        commit.after_commit(lambda: file.catch_up(lambda after: head_lines(commit, after)))
    return head


def latest_head(lake: Lake) -> Head | None:
    return _latest(lake)


def audit_path(lake: Lake, head_no: int, stream: str) -> dict[str, Any]:
    """The quote of a stream under a numbered head (see Head.quote)."""
    for head in heads(lake, after=head_no - 1):
        return head.quote(stream)
    raise Refused(f"there is no ledger head {head_no}")


def check_path(quote: dict[str, Any]) -> None:
    """Raises VerificationFailed unless the quoted leaf is under the quoted statement's root."""
    leaf, statement = quote["leaf"], quote["statement"]
    merkle.check_path(
        leaf_bytes(leaf["stream"], leaf["length"], leaf["last_hash"]),
        index=quote["index"],
        count=statement["streams"],
        path=[bytes.fromhex(step) for step in quote["path"]],
        root=bytes.fromhex(statement["root"]),
    )


def heads(source: Commit | Lake, *, after: int = 0) -> Iterator[Head]:
    """All heads after a number, in order, from the table."""
    for row in source.con.execute(HEADS, {"after": after}).fetchall():
        yield Head(*row)


def head_lines(source: Commit | Lake, after: int) -> Iterator[bytes]:
    return (head.line() for head in heads(source, after=after))


def statement_of(
    leaves: list[Leaf], *, head_no: int, business_date: date, previous: Head | None
) -> dict[str, Any]:
    """What is signed. previous_statement chains the heads: no head can be dropped or exchanged unseen."""
    before = NO_HEAD if previous is None else hashlib.sha256(previous.statement).hexdigest()
    return {
        "head_no": head_no,
        "business_date": business_date.isoformat(),
        "root": merkle.root_of([leaf.to_bytes() for leaf in leaves]).hex(),
        "streams": len(leaves),
        "previous_statement": before,
    }


def _signed(last: Head | None, leaves: list[Leaf], *, business_date: date, sign: Sign) -> Head:
    number = 1 if last is None else last.head_no + 1
    said = statement_of(leaves, head_no=number, business_date=business_date, previous=last)
    listed = [[leaf.stream, leaf.blinded, leaf.length, leaf.last_hash] for leaf in leaves]
    told: dict[str, Any] = {"head": said, "leaves": listed}
    body = rfc8785.dumps(told).decode()
    signature = sign(rfc8785.dumps(said))
    return Head(number, business_date, said["root"], len(leaves), body, signature)


def _latest(source: Commit | Lake) -> Head | None:
    row = source.con.execute(f"{HEADS} desc limit 1", {"after": 0}).fetchone()
    return Head(*row) if row else None


def _of_date(commit: Commit, business_date: date) -> Head | None:
    """The last head of this business date: a rerun of an older night finds it again."""
    return next((head for head in reversed(list(heads(commit))) if head.business_date == business_date), None)


def _leaves(commit: Commit) -> list[Leaf]:
    return [
        Leaf(stream, blinded_id(stream, first_hash), length, last_hash)
        for stream, length, last_hash, first_hash in commit.execute(LEAVES).fetchall()
    ]


def _has_grown(last: Head, leaves: list[Leaf]) -> bool:
    seen = {leaf.stream: leaf.length for leaf in last.leaves}
    return any(
        leaf.length != seen.get(leaf.stream) for leaf in leaves if not leaf.stream.startswith(AFTER_THE_HEAD)
    )
