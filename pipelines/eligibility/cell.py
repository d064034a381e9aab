"""One cell of a table: a test of one feature, three-valued, said once and run twice (Python and SQL).

Promises: `result` and `result_sql` agree on every value, NULL, NaN and infinity included; UNKNOWN is never PASS
          unless the cell itself says that absence proves nothing.
Refuses:  a test that is not of the small language below, or does not fit its feature's type (ValueError).
Not here: what follows from a result (interpreter.py, compile.py).

The language (a part of DMN's S-FEEL): `>= 12`  `< 0.6`  `= 3`  `[18..60]`  `true`  `false`  `in (a, b)`
`not in (a, b)`  `known`  and `-` for a cell that is not asked.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

NUMERIC = frozenset({"integer", "bigint", "double"})
_NUMBER = r"-?\d+(?:\.\d+)?"
_COMPARE = re.compile(rf"(>=|<=|>|<|=)\s*({_NUMBER})")
_RANGE = re.compile(rf"\[\s*({_NUMBER})\s*\.\.\s*({_NUMBER})\s*\]")
_SET = re.compile(r"(not in|in)\s*\(\s*([a-z0-9_]+(?:\s*,\s*[a-z0-9_]+)*)\s*\)")
NOT_ASKED = "-"


class Result(StrEnum):
    PASS = "PASS"  # noqa: S105 (a word of logic)
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Cell:
    """feature: a column of marts.features or of the application. text: the test, as the table has it.

    low, high: bounds of a numeric test (None: open). words: of a set test. absent: result for NULL.
    """

    feature: str
    text: str
    kind: str
    low: Decimal | None = None
    high: Decimal | None = None
    low_open: bool = False
    high_open: bool = False
    words: tuple[str, ...] = ()
    negated: bool = False
    absent: Result = Result.UNKNOWN
    is_double: bool = False

    def result(self, value: Any) -> Result:
        """Of a Python value: None, bool, int, float or text."""
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            return self.absent
        return Result.PASS if self._holds(value) else Result.FAIL

    def _holds(self, value: Any) -> bool:
        if self.kind == "known":
            return True
        if self.kind == "flag":
            return bool(value) != self.negated
        if self.kind == "words":
            return (value in self.words) != self.negated
        low, high = self._bound(self.low), self._bound(self.high)
        above = low is None or (value > low if self.low_open else value >= low)
        below = high is None or (value < high if self.high_open else value <= high)
        return above and below

    def _bound(self, bound: Decimal | None) -> float | Decimal | None:
        # A figure worked out in doubles is compared with the nearest double, as SQL does.
        return float(bound) if bound is not None and self.is_double else bound

    def distance(self, value: Any) -> float:
        """How far from passing, relative to the bound that is missed; 0 if it passes, 1 where no measure is."""
        result = self.result(value)
        if result is Result.PASS:
            return 0.0
        if result is Result.UNKNOWN or self.kind != "number":
            return 1.0
        missed = self.low if self.low is not None and value <= self.low else self.high
        assert missed is not None
        return abs(float(value) - float(missed)) / max(abs(float(missed)), 1.0)

    def result_sql(self) -> str:
        """SQL text: 'PASS', 'FAIL' or 'UNKNOWN'."""
        absent = f"{self._name} is null"
        if self.is_double:
            absent += f" or not isfinite({self._name})"
        return f"case when {absent} then '{self.absent}' when {self._holds_sql()} then 'PASS' else 'FAIL' end"

    @property
    def _name(self) -> str:
        return f'"{self.feature}"'

    def _holds_sql(self) -> str:
        if self.kind == "known":
            return "true"
        if self.kind == "flag":
            return f"not {self._name}" if self.negated else self._name
        if self.kind == "words":
            listed = ", ".join(f"'{word}'" for word in self.words)
            return f"{self._name} {'not in' if self.negated else 'in'} ({listed})"
        parts = []
        if self.low is not None:
            parts.append(f"{self._name} {'>' if self.low_open else '>='} {self._bound_sql(self.low)}")
        if self.high is not None:
            parts.append(f"{self._name} {'<' if self.high_open else '<='} {self._bound_sql(self.high)}")
        return " and ".join(parts)

    def _bound_sql(self, bound: Decimal) -> str:
        return f"{bound}::double" if self.is_double else str(bound)

    def distance_sql(self, result: str) -> str:
        """SQL text for `distance`, given the column that holds this cell's result."""
        if self.kind != "number":
            return f"case when {result} = 'PASS' then 0.0::double else 1.0::double end"
        misses = [
            (f"{self._name} <= {self._bound_sql(self.low)}", self.low) if self.low is not None else None,
            ("true", self.high) if self.high is not None else None,
        ]
        whens = " ".join(
            f"when {when} then abs({self._name}::double - {bound}::double) / {max(abs(bound), Decimal(1))}::double"
            for when, bound in (miss for miss in misses if miss)
        )
        return (
            f"case {result} when 'PASS' then 0.0::double when 'UNKNOWN' then 1.0::double "
            f"else case {whens} else 1.0::double end end"
        )

    def excludes(self, other: Cell) -> bool:
        """Provably no value passes both (used to show that rows of a UNIQUE table do not overlap)."""
        if self.kind != other.kind or self.feature != other.feature:
            return False
        if self.kind == "flag":
            return self.negated != other.negated
        if self.kind == "words":
            mine, theirs = set(self.words), set(other.words)
            if self.negated and other.negated:
                return False
            if self.negated or other.negated:
                return (theirs if self.negated else mine) <= (mine if self.negated else theirs)
            return not mine & theirs
        return self.kind == "number" and (_ends_before(self, other) or _ends_before(other, self))


def _ends_before(first: Cell, second: Cell) -> bool:
    if first.high is None or second.low is None:
        return False
    return first.high < second.low or (first.high == second.low and (first.high_open or second.low_open))


def parse(text: str, *, feature: str, feature_type: str, absent: Result = Result.UNKNOWN) -> Cell | None:
    """A cell from its text; None for `-`. Raises ValueError with the reason."""
    text = text.strip()
    if text == NOT_ASKED:
        return None
    if text == "known":
        return Cell(feature, text, "known", absent=absent, is_double=feature_type == "double")
    if text in ("true", "false"):
        _fits(feature_type == "boolean", text, feature, feature_type)
        return Cell(feature, text, "flag", negated=text == "false", absent=absent)
    if match := _SET.fullmatch(text):
        _fits(feature_type == "text", text, feature, feature_type)
        words = tuple(word.strip() for word in match[2].split(","))
        return Cell(feature, text, "words", words=words, negated=match[1] == "not in", absent=absent)
    low, high, low_open, high_open = _bounds(text)
    _fits(feature_type in NUMERIC, text, feature, feature_type)
    return Cell(
        feature, text, "number", low, high, low_open, high_open, absent=absent, is_double=feature_type == "double"
    )


def _bounds(text: str) -> tuple[Decimal | None, Decimal | None, bool, bool]:
    if match := _RANGE.fullmatch(text):
        low, high = Decimal(match[1]), Decimal(match[2])
        if low > high:
            raise ValueError("a range begins after it ends")
        return low, high, False, False
    match = _COMPARE.fullmatch(text)
    if not match:
        raise ValueError("not a test: use >= 12, [18..60], true, in (a, b), known or -")
    sign, bound = match[1], Decimal(match[2])
    if sign == "=":
        return bound, bound, False, False
    if sign in (">", ">="):
        return bound, None, sign == ">", False
    return None, bound, False, sign == "<"


def _fits(holds: bool, text: str, feature: str, feature_type: str) -> None:
    if not holds:
        raise ValueError(f"the test {text} does not fit {feature}, which is {feature_type}")
