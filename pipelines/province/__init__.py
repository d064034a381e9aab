"""A synthetic province with known truth: people, work, and the books that three kinds of agency keep.

Promises: `generate` makes a world from a seed; `World.open` reads it again.
Refuses:  to be imported by anything but demo commands, tests and benchmarks (import-linter).
Not here: the live agencies (province/servers).
"""

from pipelines.province.generate import generate
from pipelines.province.world import World

__all__ = ["World", "generate"]
