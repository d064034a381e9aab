"""What a feed's contract says, as typed values.

Promises: immutable; every name in it is a plain lower-case SQL identifier; every rule is one checked expression.
Refuses:  nothing by itself; odcs.py builds these objects and refuses what is wrong.
Not here: SQL and Arrow shapes (shapes.py, row_checks.py), thin methods here lead to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.contracts.row_checks import RowCheck


@dataclass(frozen=True, slots=True)
class Field:
    """One agreed field.

    type: string | integer | bigint | date | timestamp | boolean | string[].
    identifier: None, or the kind of identifier; then only token, verdict and what may be derived land.
    enum: allowed values, () = any; enum_labels: their Chinese names, in the same order.
    empty_is_value: the empty text is a value of its own and not NULL.
    cls: P0 reference, P1 internal, P2 personal, P3 sensitive (DOMAIN A).
    """

    name: str
    type: str
    required: bool
    label_zh: str
    description: str
    cls: str
    enum: tuple[str, ...] = ()
    enum_labels: tuple[str, ...] = ()
    pattern: str | None = None
    minimum: int | None = None
    maximum: int | None = None
    max_length: int | None = None
    identifier: str | None = None
    namespace: str | None = None
    issuer: str | None = None
    sealed_to: str | None = None
    scrub: bool = False
    unit: str | None = None
    references: str | None = None
    empty_is_value: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """One sentence about a row. sql: TRUE or NULL = the row passes. severity: reject | warn | hold."""

    id: str
    severity: str
    sql: str
    description: str


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """Where and in what form the agency shows the feed. history: versions | current_only."""

    connection: str
    kind: str
    path: str
    format: str
    encoding: str
    history: str
    source_id: str


@dataclass(frozen=True)
class Contract:
    """One feed.

    key: field names in order. money_field: whose sum is conserved, None = the feed has none.
    A batch is held with fewer rows than min_rows_nightly, with more than max_rejected_share of its rows
    quarantined, with nothing newer than max_age_days before the window's end, or with rows under min_usual_share
    or over max_usual_share of what the feed usually brings.
    """

    feed: str
    version: str
    title: str
    grain: str
    purpose: str
    usage: str
    limitations: str
    fields: tuple[Field, ...]
    key: tuple[str, ...]
    rules: tuple[Rule, ...]
    money_field: str | None
    source: SourceSpec
    min_rows_nightly: int = 0
    max_rejected_share: float = 0.05
    max_age_days: int | None = None
    min_usual_share: float = 0.1
    max_usual_share: float = 5.0
    sha256: str = field(default="", compare=False)

    @classmethod
    def load(cls, path: Path) -> Contract:
        """The contract in one YAML file. Raises ContractBroken with file, place, reason and cure."""
        from pipelines.contracts.odcs import load

        return load(path)

    @cached_property
    def by_name(self) -> Mapping[str, Field]:
        return {f.name: f for f in self.fields}

    @property
    def key_fields(self) -> tuple[Field, ...]:
        return tuple(self.by_name[name] for name in self.key)

    @property
    def plain_fields(self) -> tuple[Field, ...]:
        """Fields whose text leaves the sealer."""
        return tuple(f for f in self.fields if f.identifier is None and f.sealed_to is None)

    @property
    def identifier_fields(self) -> tuple[Field, ...]:
        return tuple(f for f in self.fields if f.identifier is not None)

    @property
    def sealed_fields(self) -> tuple[Field, ...]:
        return tuple(f for f in self.fields if f.sealed_to is not None)

    @property
    def reference_fields(self) -> tuple[Field, ...]:
        return tuple(f for f in self.fields if f.references is not None)

    def sealed_schema(self) -> pa.Schema:
        """Columns of the sealed stream, in order."""
        from pipelines.contracts import shapes

        return shapes.sealed_schema(self)

    def landed_schema(self) -> pa.Schema:
        """Columns of lake.landed.<feed>, in order; UUIDs are pa.uuid()."""
        from pipelines.contracts import shapes

        return shapes.landed_schema(self)

    def landed_ddl(self, table: str = "") -> str:
        """CREATE TABLE IF NOT EXISTS for lake.landed.<feed>, or for `table`."""
        from pipelines.contracts import shapes

        return shapes.landed_ddl(self, table)

    def current_sql(self, known_at_param: str = "$known_at", table: str = "") -> str:
        """SELECT of the versions in force as of a knowledge date, deleted records left out."""
        from pipelines.contracts import shapes

        return shapes.current_sql(self, known_at_param, table)

    def row_checks(self) -> tuple[RowCheck, ...]:
        """Every check on a row, generated and written, in the order in which reasons are listed."""
        from pipelines.contracts import row_checks

        return row_checks.row_checks(self)

    def checks_sql(self, source: str = "sealed", window_end: str = "$window_end") -> str:
        """One SELECT over sealed rows: typed columns, `_reasons` and `_warnings`."""
        from pipelines.contracts import row_checks

        return row_checks.checks_sql(self, source, window_end)
