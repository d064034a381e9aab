"""Land one feed's batch of one business date.

Promises: one commit with every record's fate, or none; run again, nothing changes; a batch that the gate holds
          leaves a line in control.batch and in the ledger, and no record.
Refuses:  to begin without what was pulled, to end without the sealer's trailer.
Not here: starting the sealer (launch gives `open_sealed`), pages about the checks (checks.datadocs).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import date
from typing import BinaryIO

from pipelines.checks import Bench, datadocs
from pipelines.contracts import Contract
from pipelines.errors import BatchHeld, Bug
from pipelines.lake import Lake
from pipelines.landing import batch as batches
from pipelines.landing.batch import PulledBatch
from pipelines.landing.sealed_stream import SealedStream
from pipelines.landing.writing import Judged, write_held, write_landed
from pipelines.privacy import Keyring
from pipelines.receipt import Receipt
from pipelines.settings import Settings

STEP = "land"
OpenSealed = Callable[[bytes], AbstractContextManager[BinaryIO]]


def land(
    feed: str,
    *,
    contract: Contract,
    settings: Settings,
    lake: Lake,
    keyring: Keyring,
    business_date: date,
    open_sealed: OpenSealed,
    gx: bool = True,
) -> Receipt:
    """Check the batch pulled for a business date and land it.

    keyring: the open land keyring. open_sealed: the seal request's bytes to the sealed stream; leaving its context
    raises what the sealer ended with. gx: False judges without Great Expectations (same gate, no Data Docs).
    Returns: fate "landed" or "unchanged". Raises: BatchHeld, TotalsDiffer, Refused, KeyUnavailable, Transient.
    """
    if contract.feed != feed:
        raise Bug(f"the contract of {contract.feed} was brought to a landing of {feed}")
    done = batches.landed_for(lake, feed, business_date)
    if done is not None:
        return _receipt(feed, business_date, done.batch_id, "unchanged", done.counts, contract)
    batch = batches.find(lake, feed, business_date)
    held = batches.held_before(lake, batch, contract)
    if held is not None:
        raise _held(batch, held.reasons)
    with Bench(
        contract,
        settings,
        window_end=batch.window.end,
        business_date=business_date,
        first_load=batch.is_first,
        usual_rows=batches.usual_rows(lake, batch),
    ) as bench:
        outer_key = keyring.key("identifier_outer").material
        judged = _judge(batch, contract, lake, bench, outer_key, open_sealed, gx=gx)
        if gx:
            # Before the commit: what a crash between the two leaves, the rerun writes again, byte for byte.
            datadocs.store(settings, judged.gate, business_date)
        if judged.gate.held:
            write_held(lake, judged)
            raise _held(batch, list(judged.gate.reasons))
        written = write_landed(lake, judged)
    counts = {
        "physical": judged.trailer.physical_records,
        "control_records": judged.trailer.control_records,
        "landed": written.landed,
        "quarantined": written.quarantined,
        "duplicates": written.duplicates,
    }
    return _receipt(feed, business_date, batch.batch_id, "landed", counts, contract)


def _judge(
    batch: PulledBatch,
    contract: Contract,
    lake: Lake,
    bench: Bench,
    outer_key: bytes,
    open_sealed: OpenSealed,
    *,
    gx: bool,
) -> Judged:
    """Read the sealed stream to its end, look up what is known, give each row its fate, ask the gate."""
    windows_seen = batches.windows_landed(lake, contract.feed)
    stream = SealedStream(contract, batch, outer_key)
    with open_sealed(batch.seal_request()) as source:
        reader = stream.reader(source)
        try:
            bench.load(reader)
        finally:
            if stream.failure is not None:
                raise stream.failure from None
        trailer = stream.proven()
    # Here the sealer has ended, and well: leaving its context raises otherwise.
    bench.mark_known(batches.known_versions(lake, contract.feed, bench.keys()))
    for field in contract.reference_fields:
        target_feed, _, target_field = str(field.references).partition(".")
        tokens = bench.references(field.name)
        bench.mark_reference(field.name, batches.known_tokens(lake, target_feed, target_field, tokens))
    bench.scan()
    return Judged(batch, contract, trailer, bench, bench.judge(gx=gx), stream.fen, windows_seen)


def _held(batch: PulledBatch, reasons: list[str]) -> BatchHeld:
    return BatchHeld(
        f"HELD {batch.feed} {batch.business_date}: nothing landed, other feeds go on",
        where=f"batch {batch.batch_id}",
        why="; ".join(reasons),
        do="a person decides: ask the agency for a resend, or change the contract; then pull and land again",
    )


def _receipt(
    feed: str, business_date: date, batch_id: str, fate: str, counts: dict[str, int], contract: Contract
) -> Receipt:
    return Receipt(
        step=STEP,
        subject=feed,
        business_date=business_date,
        fate=fate,
        batch_id=batch_id,
        counts=counts,
        hashes={"contract": contract.sha256},
    )
