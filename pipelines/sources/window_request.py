"""What a source is asked for and what it hands over, whatever its protocol.

Promises: an object is the bytes as the source gave them.
Not here: how each protocol fetches (http_api, sql_database, sftp_drop), where the bytes go (pulling).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

from pipelines.calendar import Window
from pipelines.contracts import Contract
from pipelines.settings import Settings
from pipelines.sources.connections import Connection


@dataclass(frozen=True, slots=True)
class WindowRequest:
    """already_named: source names that earlier pulls of the feed brought (files are fetched once)."""

    contract: Contract
    connection: Connection
    settings: Settings
    window: Window
    business_date: date
    is_first: bool
    already_named: frozenset[str] = frozenset()

    @property
    def where(self) -> str:
        """For errors: the feed and its window."""
        return f"{self.contract.feed} [{self.window.from_date}, {self.window.to_date})"


@dataclass(frozen=True, slots=True)
class SourceObject:
    """One page, result part or file. declared_*: what the source itself says of it; None = it says nothing.

    was_taken: an earlier batch brought this name; it counts only if its bytes are no longer the same.
    """

    content: bytes = field(repr=False)
    source_name: str
    declared_records: int | None = None
    declared_fen: int | None = None
    was_taken: bool = False


@dataclass(slots=True)
class Totals:
    """What the source says of the whole window; counts: what a person should hear of (waiting files, …)."""

    declared_records: int | None = None
    declared_fen: int | None = None
    counts: dict[str, int] = field(default_factory=dict)


class Source(Protocol):
    """Fetches one window. Its objects come one by one, so that a large window never lies in memory whole.

    may_resend: the same bytes may come again under another name, and then count once.
    """

    totals: Totals
    may_resend: bool

    def objects(self) -> Iterator[SourceObject]:
        """Every object of the window. Raises SourceBusy, SourceBroken, TotalsDiffer or Refused."""
        ...
