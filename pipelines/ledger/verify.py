"""Everything that the ledger says, shown to hold or named as broken. Reads only.

Promises: looks at every chain, every appended file, every head and signature, every data file, vault object and
          package, and at the invariants of every night, or of one; a broken thing does not stop the others.
Refuses:  to repair anything.
Not here: what each invariant says (invariants.py), the files (artefacts.py), who may sign (privacy/).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date

from pipelines.errors import SancheError
from pipelines.lake import Lake
from pipelines.ledger import artefacts, chain, invariants
from pipelines.ledger.appended import AppendedFile
from pipelines.ledger.findings import Finding, Findings, VerifyReport, judged
from pipelines.ledger.head import Head, Leaf, blinded_id, head_lines, heads, statement_of
from pipelines.settings import Settings


def verify(
    lake: Lake,
    settings: Settings,
    *,
    business_date: date | None = None,
    verify_signature: artefacts.CheckSignature | None = None,
) -> VerifyReport:
    """All checks; never raises for what it finds.

    business_date: only this date's vault objects, packages and invariants (chains, heads, data files: all).
    verify_signature: without it heads are recomputed, but their signatures stay unprovable.
    """
    looks: list[Callable[[], Findings]] = [
        lambda: _chains(lake, settings),
        lambda: _heads(lake, settings, verify_signature),
        lambda: artefacts.data_files(lake),
        lambda: artefacts.vault_objects(lake, settings, business_date),
        lambda: artefacts.packages(lake, settings, business_date, verify_signature),
        lambda: invariants.all_of(lake, business_date),
    ]
    return VerifyReport([finding for look in looks for finding in _told(look)])


def _told(look: Callable[[], Findings]) -> Findings:
    try:
        yield from look()
    except SancheError as error:
        # A table or file so broken that it cannot be read is a finding too, not the end of the verification.
        yield Finding("readable", error.where or "the lake", "broken", f"{error.what} {error.why}".strip())
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield Finding("readable", "the home folder", "broken", f"{type(error).__name__} (values withheld)")


def _chains(lake: Lake, settings: Settings) -> Findings:
    covered = _covered_lengths(lake)
    named = set(chain.streams(lake)) | covered.keys() | _streams_on_disk(settings)
    for stream in sorted(named):
        entries = list(chain.entries(lake, stream))
        yield judged("chain", stream, _chain_faults(entries, covered.get(stream, 0)))
        file = AppendedFile(settings.ledger_dir, stream, number="seq")

        def lines(after: int, entries: list[chain.Entry] = entries) -> Iterator[bytes]:
            return (entry.line() for entry in entries if entry.seq > after)

        yield _file_finding(file, lines, length=len(entries), covered=covered.get(stream, 0))


def _chain_faults(entries: list[chain.Entry], covered: int) -> list[str]:
    faults, previous = [], chain.GENESIS
    for position, entry in enumerate(entries, start=1):
        if entry.seq != position:
            faults.append(f"number {entry.seq} stands where {position} should")
        if entry.previous_hash != previous:
            faults.append(f"entry {entry.seq} does not follow the entry before it")
        if entry.recomputed_hash() != entry.hash:
            faults.append(f"entry {entry.seq} is not what was hashed")
        previous = entry.hash
    if len(entries) < covered:
        faults.append(f"{covered - len(entries)} entries that a signed head covers are gone")
    return faults


def _file_finding(
    file: AppendedFile, lines: Callable[[int], Iterator[bytes]], *, length: int, covered: int
) -> Finding:
    """A file may lag behind the table by what no head covers yet: a crash between the two leaves it so."""
    fault, whole = file.fault(lines), file.whole_lines()
    if not fault and whole < covered:
        fault = f"{covered - whole} lines that a signed head covers are gone"
    if fault:
        return Finding("appended file", file.name, "broken", fault)
    behind = f"{length - whole} lines behind the table; the next append writes them" if whole < length else ""
    return Finding("appended file", file.name, "holds", behind)


def _heads(lake: Lake, settings: Settings, verify_signature: artefacts.CheckSignature | None) -> Findings:
    stored = list(heads(lake))
    before: Head | None = None
    for position, head in enumerate(stored, start=1):
        subject = f"head {head.head_no}"
        yield judged("head", subject, _head_faults(lake, head, before=before, position=position))
        yield _signature_finding(subject, head, verify_signature)
        before = head
    file = AppendedFile(settings.ledger_dir, "head", number="head_no")
    if stored or file.path.exists():
        # A head is what others have been shown: its file may lag by the newest one only (a crash after COMMIT).
        covered = max(0, len(stored) - 1)
        yield _file_finding(file, lambda after: head_lines(lake, after), length=len(stored), covered=covered)


def _head_faults(lake: Lake, head: Head, *, before: Head | None, position: int) -> list[str]:
    faults = [] if head.head_no == position else [f"it stands where head {position} should"]
    leaves = [_recomputed(lake, leaf) for leaf in head.leaves]
    faults += [
        f"stream {said.stream} is not what it was"
        for said, found in zip(head.leaves, leaves, strict=True)
        if said != found
    ]
    number = head.head_no
    said = statement_of(leaves, head_no=number, business_date=head.business_date, previous=before)
    if json.loads(head.statement) != said:
        faults.append("its statement does not follow from the streams and the head before")
    if (head.root, head.streams) != (said["root"], said["streams"]):
        faults.append("its root is not the root of the streams")
    return faults


def _recomputed(lake: Lake, leaf: Leaf) -> Leaf:
    rows = lake.rows(
        "select seq, hash from ledger.entry where stream = $stream and seq in (1, $length) order by seq",
        {"stream": leaf.stream, "length": leaf.length},
    )
    if not rows or rows[-1][0] != leaf.length:
        return Leaf(leaf.stream, "", 0, "")
    return Leaf(leaf.stream, blinded_id(leaf.stream, rows[0][1]), leaf.length, rows[-1][1])


def _signature_finding(subject: str, head: Head, verify_signature: artefacts.CheckSignature | None) -> Finding:
    if verify_signature is None:
        return Finding("head signature", subject, "unprovable", "no certificate was given")
    try:
        verify_signature(head.statement, head.signature)
    except SancheError as error:
        return Finding("head signature", subject, "broken", error.what)
    return Finding("head signature", subject, "holds")


def _covered_lengths(lake: Lake) -> dict[str, int]:
    """How many entries of each stream a signed head speaks of."""
    covered: dict[str, int] = {}
    for head in heads(lake):
        for leaf in head.leaves:
            covered[leaf.stream] = max(leaf.length, covered.get(leaf.stream, 0))
    return covered


def _streams_on_disk(settings: Settings) -> set[str]:
    return {path.stem for path in settings.ledger_dir.glob("*.jsonl")} - {"head"}
