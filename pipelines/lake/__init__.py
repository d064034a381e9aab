"""The lake: one DuckLake catalog that several processes share, one commit per step.

Promises: `Lake.attach` gives a connection with the lake's tables; `lake.commit` makes a step's writes, its ledger
          entries and its file hashes one commit, or nothing.
Refuses:  a second writer (CatalogLocked, after settings.lock_wait_s); files that are not what was written.
Not here: what is written (the steps), what the ledger says (ledger/), retention and compaction (upkeep).
"""

from pipelines.lake.commit import Commit
from pipelines.lake.door import door
from pipelines.lake.lake import Lake

__all__ = ["Commit", "Lake", "door"]
