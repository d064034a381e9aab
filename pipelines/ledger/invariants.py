"""What must be true of every night ("What the ledger proves"): 1, 2, 3, 5, 7, 8, counted again from the rows.

Promises: counts and sums of control.* and of the ledger are compared with the rows of the tables, not only with
          each other; each finding names its batch, package or feed.
Refuses:  to pass money that could not be read in full, or a window that nothing covers: those are unprovable.
Not here: chains, heads and files (verify.py, artefacts.py); 4, 6, 10 (marts, extracts).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from pipelines.lake import Lake
from pipelines.ledger import chain
from pipelines.ledger.findings import Finding, Findings, judged

BATCHES = """
select batch_id, feed, business_date, window_from, window_to, physical, control_records, landed, quarantined,
       duplicates, not_kept, fen_declared, fen_landed, fen_quarantined, fen_duplicates, fen_provable, fate
from control.batch where $day is null or business_date = $day order by business_date, feed, batch_id, fate
"""

# one row per (batch, object): how many rows of each fate are there, and how much money is in them
ROWS = """
with fate as (
    select batch_id, object_address, row_no, 'landed' as fate, {money}::bigint as fen, false as unexplained
    from {landed} where batch_id in (select unnest($batches))
    union all
    select batch_id, object_address, row_no, 'quarantined', money_fen, len(reasons) = 0
    from quarantine.record where batch_id in (select unnest($batches))
    union all
    select batch_id, object_address, row_no, 'duplicate', money_fen, false
    from quarantine.duplicate where batch_id in (select unnest($batches))
), record as (
    select batch_id, object_address, row_no, count(*) as fates,
           count_if(fate = 'landed') as landed, count_if(fate = 'quarantined') as quarantined,
           count_if(fate = 'duplicate') as duplicates, bool_or(unexplained) as unexplained,
           sum(fen) filter (fate = 'landed') as fen_landed,
           sum(fen) filter (fate = 'quarantined') as fen_quarantined,
           sum(fen) filter (fate = 'duplicate') as fen_duplicates
    from fate group by batch_id, object_address, row_no
)
select batch_id, object_address, count(*)::bigint, sum(landed)::bigint, sum(quarantined)::bigint,
       sum(duplicates)::bigint, count_if(fates > 1)::bigint, count_if(unexplained)::bigint,
       coalesce(sum(fen_landed), 0), coalesce(sum(fen_quarantined), 0), coalesce(sum(fen_duplicates), 0)
from record group by batch_id, object_address
"""

# duplicates whose original is in neither set
LOST_ORIGINALS = """
select d.batch_id, count(*)::bigint from quarantine.duplicate d
where d.batch_id in (select unnest($batches))
  and not exists (select 1 from {landed} l where l.batch_id = d.original_batch_id
                  and l.object_address = d.original_object_address and l.row_no = d.original_row_no)
  and not exists (select 1 from quarantine.record q where q.batch_id = d.original_batch_id
                  and q.object_address = d.original_object_address and q.row_no = d.original_row_no)
group by all
"""

PULLED = """
select batch_id, feed, business_date, window_from, window_to,
       list({'address': address, 'records': declared_records, 'fen': declared_fen} order by object_no) as objects
from control.pulled where $day is null or business_date = $day group by all order by business_date, feed, batch_id
"""

WINDOWS = "select feed, from_date, to_date, batch_id from control.window where fate = 'landed' order by all"

EXTRACTS = """
select e.agreement, e.sequence, e.rows, e.in_scope, e.withheld, e.manifest_sha256, e.previous_manifest_sha256,
       count(r.person_id)::bigint, count(distinct r.person_id)::bigint,
       count_if(r.person_id is not null and r.withheld_reason is null)::bigint,
       list(r.withheld_reason) filter (r.withheld_reason is not null)
from control.extract e left join control.extract_row r using (agreement, recipient, sequence)
where $day is null or e.business_date = $day
group by e.agreement, e.sequence, e.rows, e.in_scope, e.withheld, e.manifest_sha256, e.previous_manifest_sha256
order by e.agreement, e.sequence
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """One row of control.batch: what was said of it."""

    batch_id: str
    feed: str
    business_date: date
    window_from: date
    window_to: date
    physical: int
    control_records: int
    landed: int
    quarantined: int
    duplicates: int
    not_kept: int
    fen_declared: int | None
    fen_landed: int | None
    fen_quarantined: int | None
    fen_duplicates: int | None
    fen_provable: bool
    fate: str


@dataclass(slots=True)
class Seen:
    """What the tables' rows say of a batch. objects: address -> number of its rows."""

    objects: dict[str, int]
    landed: int = 0
    quarantined: int = 0
    duplicates: int = 0
    twice: int = 0
    unexplained: int = 0
    lost_originals: int = 0
    fen_landed: int = 0
    fen_quarantined: int = 0
    fen_duplicates: int = 0


def all_of(lake: Lake, business_date: date | None) -> Findings:
    """Every invariant, of one business date or of all."""
    day = {"day": business_date}
    batches = [Batch(*row) for row in lake.rows(BATCHES, day)]
    pulled = {row[0]: row for row in lake.rows(PULLED, day)}
    said = _said(lake, {batch.feed for batch in batches})
    for feed in sorted({batch.feed for batch in batches}):
        of_feed = [batch for batch in batches if batch.feed == feed]
        seen = _seen(lake, feed, of_feed, said)
        landed_later = {batch.batch_id for batch in of_feed if batch.fate == "landed"}
        for batch in of_feed:
            rows = seen.get(batch.batch_id, Seen({}))
            objects = pulled[batch.batch_id][5] if batch.batch_id in pulled else []
            yield _is_in_the_ledger(lake, batch, said.get((batch.batch_id, batch.fate)))
            if batch.fate == "landed":
                yield _every_record_has_a_fate(batch, rows, objects)
                yield _fates_are_explained(batch, rows, objects)
                yield _money_is_conserved(batch, rows, objects)
            elif batch.batch_id not in landed_later:
                yield _held_is_outside(batch, rows)
    yield from _pulled_is_landed(lake, pulled, batches)
    yield from _windows_are_unbroken(lake)
    yield from _extracts_add_up(lake, day)


def _every_record_has_a_fate(batch: Batch, seen: Seen, objects: list[dict[str, Any]]) -> Finding:
    """1: physical = landed + quarantined + duplicates + not kept + control records = what the sender declared."""
    faults = [
        f"{name}: {said} said, {found} found"
        for name, said, found in (
            ("landed", batch.landed, seen.landed),
            ("quarantined", batch.quarantined, seen.quarantined),
            ("duplicates", batch.duplicates, seen.duplicates),
        )
        if said != found
    ]
    accounted = batch.landed + batch.quarantined + batch.duplicates + batch.not_kept + batch.control_records
    if batch.physical != accounted:
        faults.append(f"{batch.physical} physical records, {accounted} accounted for")
    for item in objects:
        found = seen.objects.get(item["address"], 0)
        if item["records"] not in (None, found) and not batch.not_kept:
            faults.append(f"object {item['address']}: {item['records']} records declared, {found} found")
    return judged("invariant 1", batch.batch_id, faults)


def _held_is_outside(batch: Batch, seen: Seen) -> Finding:
    """1, for a batch that the gate held: none of its records is in the lake."""
    return judged("invariant 1", batch.batch_id, ["a held batch has rows in the lake"] if seen.objects else [])


def _fates_are_explained(batch: Batch, seen: Seen, objects: list[dict[str, Any]]) -> Finding:
    """2: quarantined rows have reasons and an origin, duplicates an original; no record has two fates."""
    strangers = seen.objects.keys() - {item["address"] for item in objects}
    faults = [
        f"{count} {what}"
        for count, what in (
            (seen.twice, "records have two fates"),
            (seen.unexplained, "quarantined records have no reason"),
            (seen.lost_originals, "duplicates name no record that exists"),
            (len(strangers), "objects that were never pulled"),
        )
        if count
    ]
    return judged("invariant 2", batch.batch_id, faults)


def _money_is_conserved(batch: Batch, seen: Seen, objects: list[dict[str, Any]]) -> Finding:
    """3: declared = landed + quarantined + duplicates + not kept, in fen; else unprovable."""
    if batch.fen_provable and batch.fen_landed is None:
        return Finding("invariant 3", batch.batch_id, "holds", "no money in it")
    faults = [
        f"fen {name}: {said} said, {found} found"
        for name, said, found in (
            ("landed", batch.fen_landed, seen.fen_landed),
            ("quarantined", batch.fen_quarantined, seen.fen_quarantined),
            ("duplicate", batch.fen_duplicates, seen.fen_duplicates),
        )
        if said not in (None, found)
    ]
    total = seen.fen_landed + seen.fen_quarantined + seen.fen_duplicates
    declared = [item["fen"] for item in objects]
    if batch.fen_provable and not batch.not_kept:
        if batch.fen_declared is not None and batch.fen_declared != total:
            faults.append(f"{batch.fen_declared} fen declared, {total} found")
        if declared and None not in declared and sum(declared) != total:
            faults.append(f"{sum(declared)} fen declared by the sender, {total} found")
    if not faults and not batch.fen_provable:
        return Finding("invariant 3", batch.batch_id, "unprovable", "some amounts could not be read")
    return judged("invariant 3", batch.batch_id, faults)


def _is_in_the_ledger(lake: Lake, batch: Batch, said: dict[str, Any] | None) -> Finding:
    """What control.batch says is what the chained entry says."""
    if said is None:
        return Finding("ledger entry", batch.batch_id, "broken", f"no entry says that it was {batch.fate}")
    names = [*said["counts"], *(f"fen_{name}" for name in said["fen"] if name != "field")]
    told = said["counts"] | {f"fen_{name}": value for name, value in said["fen"].items()}
    # A sum beyond 2^53 is text in the ledger.
    faults = [
        f"{name} is not what the ledger says" for name in names if str(told[name]) != str(getattr(batch, name))
    ]
    if "files_sha256" in said and said["files_sha256"] != _files_of(lake, batch.batch_id):
        faults.append("its data files are not those that the ledger speaks of")
    if said["window"] != [batch.window_from.isoformat(), batch.window_to.isoformat()]:
        faults.append("its window is not what the ledger says")
    return judged("ledger entry", batch.batch_id, faults)


def _files_of(lake: Lake, batch_id: str) -> str:
    """Digest over path and hash of every data file that a batch brought, as control.file has them now."""
    listed = lake.rows(
        "select path, sha256 from control.file where batch_id = $batch order by path", {"batch": batch_id}
    )
    return hashlib.sha256("".join(f"{path} {sha256}\n" for path, sha256 in listed).encode()).hexdigest()


def _pulled_is_landed(lake: Lake, pulled: dict[str, Any], batches: list[Batch]) -> Findings:
    """The guarantee: every pulled record gets a fate; a batch that has none yet is named."""
    judged_batches = {batch.batch_id for batch in batches}
    covered = {(row[0], row[1], row[2]) for row in lake.rows(WINDOWS)}
    for batch_id, feed, _, start, end, _ in pulled.values():
        is_covered = any(f == feed and a <= start and end <= b for f, a, b in covered)
        if batch_id not in judged_batches and not is_covered:
            yield Finding("fate", batch_id, "unprovable", "pulled, and neither landed nor held yet")
    for batch in batches:
        if batch.batch_id not in pulled:
            yield Finding("fate", batch.batch_id, "broken", "landed, but never pulled")


def _windows_are_unbroken(lake: Lake) -> Findings:
    """7: the watermark is the end of windows that have landed, each with its batch; a hole is unproven."""
    known = {
        row[0]: row[1:]
        for row in lake.rows(
            "select batch_id, feed, window_from, window_to from control.batch where fate = 'landed'"
        )
    }
    windows: dict[str, list[tuple[date, date, str]]] = {}
    for feed, start, end, batch_id in lake.rows(WINDOWS):
        windows.setdefault(feed, []).append((start, end, batch_id))
    for feed, spans in windows.items():
        faults = [f"{b}: its window has no batch" for a, z, b in spans if known.get(b) != (feed, a, z)]
        yield judged("invariant 7", feed, faults)
        yield from _holes(feed, spans)
    with_window = {batch_id for spans in windows.values() for _, _, batch_id in spans}
    for batch_id in sorted(known.keys() - with_window):
        yield Finding("invariant 7", batch_id, "broken", "landed, but its window is not recorded")


def _holes(feed: str, spans: list[tuple[date, date, str]]) -> Iterator[Finding]:
    reached = spans[0][0]
    for start, end, _ in spans:
        if start > reached:
            yield Finding("invariant 7", feed, "unprovable", f"nothing has landed for {reached} to {start}")
        reached = max(reached, end)


def _extracts_add_up(lake: Lake, day: dict[str, date | None]) -> Findings:
    """5 and 8: in scope = sent + withheld, one reason each; sequences have no gap and name the one before."""
    before: dict[str, tuple[int, str]] = {}
    for (
        agreement,
        sequence,
        rows,
        in_scope,
        withheld,
        sha256,
        previous,
        listed,
        persons,
        sent,
        reasons,
    ) in lake.rows(EXTRACTS, day):
        held_back: dict[str, int] = json.loads(withheld)
        counted = {reason: list(reasons or []).count(reason) for reason in set(reasons or [])}
        faults = []
        if in_scope != rows + sum(held_back.values()):
            faults.append(f"{in_scope} in scope, {rows} sent, {sum(held_back.values())} withheld")
        if listed != in_scope or sent != rows:
            faults.append(f"{listed} rows listed of {in_scope} in scope, {sent} of {rows} sent")
        if persons != listed:
            faults.append("a person is listed twice")
        if counted != {reason: count for reason, count in held_back.items() if count}:
            faults.append("the reasons of the withheld rows are not those that were counted")
        last = before.get(agreement)
        if last is not None and (sequence, previous) != (last[0] + 1, last[1]):
            faults.append("it does not follow the package before it")
        before[agreement] = (sequence, sha256)
        yield judged("invariant 5", f"{agreement}-{sequence:06d}", faults)


def _said(lake: Lake, feeds: set[str]) -> dict[tuple[str, str], dict[str, Any]]:
    """(batch, fate) -> the body of the ledger's entry about it."""
    said: dict[tuple[str, str], dict[str, Any]] = {}
    for feed in sorted(feeds):
        for entry in chain.entries(lake, f"feed.{feed}"):
            if entry.kind in ("landed", "held"):
                body = json.loads(entry.body)
                said[body["batch_id"], entry.kind] = body
    return said


def _seen(
    lake: Lake, feed: str, batches: list[Batch], said: dict[tuple[str, str], dict[str, Any]]
) -> dict[str, Seen]:
    """Count a feed's rows again, from the tables."""
    landed = f"landed.{feed}"
    if not lake.has_table(landed):
        return {}
    named = {body["fen"]["field"] for (batch_id, _), body in said.items() if body["fen"].get("field")
             and any(batch.batch_id == batch_id for batch in batches)}  # fmt: skip
    money = next((f'"{name}"' for name in sorted(named) if name in lake.columns(landed)), "null")
    ids = {"batches": [batch.batch_id for batch in batches]}
    seen: dict[str, Seen] = {}
    for batch_id, address, count, *sums in lake.rows(ROWS.format(money=money, landed=landed), ids):
        of_batch = seen.setdefault(batch_id, Seen({}))
        of_batch.objects[address] = count
        for name, value in zip(
            ("landed", "quarantined", "duplicates", "twice", "unexplained",
             "fen_landed", "fen_quarantined", "fen_duplicates"), sums, strict=True,
        ):  # fmt: skip
            setattr(of_batch, name, getattr(of_batch, name) + value)
    for batch_id, count in lake.rows(LOST_ORIGINALS.format(landed=landed), ids):
        seen.setdefault(batch_id, Seen({})).lost_originals = count
    return seen
