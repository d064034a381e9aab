"""Sealing: the only step that sees a raw identifier, a process of its own between the vault and the landing.

Promises: what it writes holds tokens, verdicts and what may be derived; a trailer proves that it is whole.
Refuses:  an object that does not open, totals that differ, a file that is not what its contract says.
Not here: whether a record is good (checks/), where it lands (landing/).
"""

from pipelines.sealing.request import ObjectRequest, SealRequest
from pipelines.sealing.sealer import seal

__all__ = ["ObjectRequest", "SealRequest", "seal"]
