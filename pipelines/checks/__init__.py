"""Hold a sealed batch against its contract: accepted, quarantined, duplicate, and whether it may land at all.

Promises: one fate per row with all its reasons; a gate by Great Expectations that runs inside DuckDB; Data Docs.
Refuses:  rules that reach beyond the row (contracts/), batches that nobody could judge.
Not here: reading the stream, keys, the commit (landing/).
"""

from pipelines.checks.bench import Bench, Counts
from pipelines.checks.gate import Gate

__all__ = ["Bench", "Counts", "Gate"]
