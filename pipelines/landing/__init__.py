"""The landing: a pulled batch, sealed, checked, and in the lake in one commit, or not at all.

Promises: `land` gives every physical record of a batch exactly one fate, and proves the counts and the fen.
Refuses:  raw identifiers (it only ever sees a sealed stream), half a stream, totals that differ.
Not here: parsing and tokens (sealing/), the rules (contracts/, checks/).
"""

from pipelines.landing.land import land

__all__ = ["land"]
