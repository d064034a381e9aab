"""Marts: what landed, per person and day and month, and one row of features per person and date.

Promises: `build` makes all marts of a business date in one commit.
Refuses:  what became known later.
Not here: eligibility (eligibility/), publication (extracts/).
"""

from pipelines.marts.build import build

__all__ = ["build"]
