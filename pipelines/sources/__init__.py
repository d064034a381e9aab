"""The pull: what an agency shows for a window, into the raw vault, before anything in it is read.

Promises: `pull` for any feed, over HTTP, SQL or SFTP, with the same guarantees (pulling.py).
Refuses:  to interpret a record.
Not here: reading what came (sealing/), the agencies of the demo (province/servers).
"""

from pipelines.sources.connections import Connection, load
from pipelines.sources.pulling import pull

__all__ = ["Connection", "load", "pull"]
