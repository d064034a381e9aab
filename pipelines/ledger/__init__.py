"""The ledger: what was done, in hash chains, under a signed head each night; and the proof that it holds.

Promises: `append` within the commit that it speaks of; `close_head` once a night; `verify` names what is broken.
Refuses:  to grow when it is not whole.
Not here: the lake's tables themselves (lake/), signatures (privacy/).
"""

from pipelines.ledger.chain import Entry, append, entries, streams
from pipelines.ledger.findings import Finding, VerifyReport
from pipelines.ledger.head import Head, audit_path, check_path, close_head, latest_head
from pipelines.ledger.verify import verify

__all__ = [
    "Entry", "Finding", "Head", "VerifyReport",
    "append", "audit_path", "check_path", "close_head", "entries", "latest_head", "streams", "verify",
]  # fmt: skip
