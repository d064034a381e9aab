"""Mainland mobile numbers: eleven digits that begin with 13 to 19.

Promises: NFKC, without spaces, hyphens or the country code (+86, 0086, 86).
Refuses:  landlines and foreign numbers (bad_format).
Not here: which operator, whether the number is in use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipelines.identifiers import text as columns
from pipelines.identifiers import verdict as v

_SEPARATORS = re.compile(r"[\s\-]")
_MOBILE = re.compile(r"(?:\+?86|0086)?(1[3-9][0-9]{9})")

SCHEMA = pa.schema([("value", pa.string()), ("verdict", pa.string())])


@dataclass(frozen=True, slots=True)
class Mobile:
    value: str | None
    verdict: str


def canonical(text: str) -> Mobile:
    """Eleven digits, or no value and why not."""
    value, full_width = columns.normalised(text)
    if not value:
        return Mobile(None, v.EMPTY)
    match = _MOBILE.fullmatch(_SEPARATORS.sub("", value))
    if match is None:
        return Mobile(None, v.BAD_FORMAT)
    return Mobile(match.group(1), v.OK_FULL_WIDTH if full_width else v.OK)


def canonical_column(column: Any) -> Any:
    """`canonical` over a text column: a table of value, verdict."""
    array = columns.one_array(column)
    data, starts, lengths = columns.buffers(array)
    fast = lengths == 11
    rows = columns.matrix(data, starts[fast], 11)
    good = columns.digits(rows) & (rows[:, 0] == ord("1")) & (rows[:, 1] >= ord("3"))
    fast[fast] = good
    rows = rows[good]
    fast_table = pa.table(
        [columns.fixed_strings(rows), pa.array([v.OK], pa.string()).take(columns.zeros(len(rows)))], schema=SCHEMA
    )
    if bool(fast.all()):
        return fast_table
    slow_table = columns.each_distinct(array.filter(pa.array(~fast)), _judge, SCHEMA)
    return columns.merge(len(array), fast, fast_table, slow_table)


def _judge(text: str) -> tuple[str | None, str]:
    judged = canonical(text)
    return judged.value, judged.verdict
