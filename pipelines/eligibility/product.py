"""A product as data: who may have it, how much, under which conditions, and in which words it is told.

Promises: a product that loads is complete: every feature exists and fits its test, every reason has its words,
          every number is in the file or a dated parameter; `rule_hash` changes when anything that decides changes.
Refuses:  unknown keys, features, tests, reasons and rows (ContractBroken, with file and key).
Not here: reading the files (load.py), deciding (interpreter.py, compile.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rfc8785

from pipelines.eligibility.cell import Cell

if TYPE_CHECKING:
    from pipelines.settings import Settings

# From best to worst; what is worse wins when results are mixed.
OUTCOMES = ("ELIGIBLE", "ELIGIBLE_WITH_CONDITIONS", "REVIEW", "INSUFFICIENT_DATA", "INELIGIBLE")
GATE = "G0"
DECLARATION = "declaration"
# What the application brings, beside marts.features.
CONTEXT = {"consent_live": "boolean", "guardian_ok": "boolean"}


@dataclass(frozen=True, slots=True)
class ReasonText:
    """Words for one code. fact_*: with {value}."""

    code: str
    zh: str
    en: str
    fact_zh: str
    fact_en: str
    source: str
    cure_zh: str
    cure_en: str


@dataclass(frozen=True, slots=True)
class GateCell:
    """on_fail: REVIEW, INSUFFICIENT_DATA or INELIGIBLE. event: '' or what ends a standing decision."""

    name: str
    cell: Cell
    reason: str
    on_fail: str
    event: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """role: 'test', or 'selector' (chooses the row; failing it is nobody's fault and gives no reason)."""

    feature: str
    reason: str
    role: str = "test"


@dataclass(frozen=True, slots=True)
class Row:
    """cells: one per column, None where the row does not ask."""

    name: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True)
class RowLimit:
    """multiple_bp: of the income. ceiling_bp: of the burden income, from the row's own cell. cap_fen: or None."""

    multiple_bp: int
    ceiling_bp: int
    cap_fen: int | None


@dataclass(frozen=True, slots=True)
class Limit:
    """A credit limit: min(multiple x income, the amount whose instalments fit below the ceiling, caps)."""

    income: str
    burden_income: str
    dues: str
    rows: Mapping[str, RowLimit]
    cap_fen: int
    step_fen: int
    minimum_fen: int
    repay_months: int
    annual_rate_bp: int
    reason: str


@dataclass(frozen=True, slots=True)
class Condition:
    """Attached to an eligible decision when all its tests pass; unknown_applies: also when one is UNKNOWN."""

    code: str
    when: tuple[Cell, ...]
    unknown_applies: bool
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Declaration:
    """What cover an insured day had. Times are minutes after the business date began, in Shanghai."""

    orders: str
    reason: str
    cover_from_minutes: int
    cover_to_minutes: int
    premium_milli_yuan: int
    variant_feature: str
    variant_true: str
    variant_false: str
    sum_insured_fen: Mapping[str, int]
    vehicle: str


@dataclass(frozen=True, slots=True)
class Product:
    """One version of one product, the gate's cells with its own ages and sources filled in."""

    id: str
    version: str
    title_zh: str
    title_en: str
    kind: str
    effective_from: date
    effective_to: date | None
    sources: tuple[str, ...]
    gate: tuple[GateCell, ...]
    hit_policy: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    limit: Limit | None
    declaration: Declaration | None
    grades: tuple[tuple[str, tuple[Cell, ...]], ...]
    conditions: tuple[Condition, ...]
    valid_days: int
    pending_days: int
    sweep_bp: int | None
    reasons: Mapping[str, ReasonText]
    appeal_zh: str
    appeal_en: str
    said: Mapping[str, Any] = field(repr=False)

    @staticmethod
    def load(path: Path, *, settings: Settings, on: date) -> Product:
        """One file, with the gate and the parameters of that date. Raises ContractBroken."""
        from pipelines.eligibility.load import load_product

        return load_product(path, settings=settings, on=on)

    @property
    def rule_hash(self) -> str:
        """SHA-256 of everything that decides: product, gate, parameters; the words too, for they are told."""
        return hashlib.sha256(rfc8785.dumps(dict(self.said))).hexdigest()

    @property
    def features(self) -> tuple[str, ...]:
        """Every input that the product reads, by name, the application's own included."""
        cells = [gate.cell for gate in self.gate] + [cell for row in self.rows for cell in row.cells if cell]
        cells += [cell for _, tests in self.grades for cell in tests]
        cells += [cell for condition in self.conditions for cell in condition.when]
        names = {cell.feature for cell in cells}
        if self.limit:
            names |= {self.limit.income, self.limit.burden_income, self.limit.dues}
        if self.declaration:
            names |= {self.declaration.orders, self.declaration.variant_feature, self.declaration.vehicle}
        return tuple(sorted(names))
