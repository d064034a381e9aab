"""Vehicle number plates (GA 36): seven characters, eight for new energy; and the plates of electric bicycles.

Promises: NFKC, upper, without the dot, spaces or hyphens that are printed on the plate.
Refuses:  the letters I and O after the issuing letter, which no plate carries (bad_format).
Not here: which vehicle wears it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.identifiers import text as columns
from pipelines.identifiers import verdict as v

PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
_SEPARATORS = re.compile(r"[\s·•‧・．.\-]")
_CAR = rf"[{PROVINCES}][A-Z](?:[A-HJ-NP-Z0-9]{{5,6}}|[A-HJ-NP-Z0-9]{{4}}[挂学警港澳])"
# An electric bicycle's plate names its city and has no national pattern: two to four characters, then 4 to 8.
_BICYCLE = r"[\u4e00-\u9fff]{1,4}[A-Z]?[0-9]{4,8}"
_PLATE = re.compile(rf"{_CAR}|{_BICYCLE}")
_CLEAN = rf"^{_CAR}$"

SCHEMA = pa.schema([("value", pa.string()), ("verdict", pa.string())])


@dataclass(frozen=True, slots=True)
class Plate:
    value: str | None
    verdict: str


def canonical(text: str) -> Plate:
    """The plate without ornament, or no value and why not."""
    value, full_width = columns.normalised(text)
    if not value:
        return Plate(None, v.EMPTY)
    value = _SEPARATORS.sub("", value)
    if _PLATE.fullmatch(value) is None:
        return Plate(None, v.BAD_FORMAT)
    return Plate(value, v.OK_FULL_WIDTH if full_width else v.OK)


def canonical_column(column: Any) -> Any:
    """`canonical` over a text column: a table of value, verdict."""
    array = columns.one_array(column)
    clean = pc.fill_null(pc.match_substring_regex(array, _CLEAN), False)
    fast = clean.to_numpy(zero_copy_only=False)
    kept = array if fast.all() else array.filter(clean)
    fast_table = pa.table([kept, pa.array([v.OK], pa.string()).take(columns.zeros(len(kept)))], schema=SCHEMA)
    if len(kept) == len(array):
        return fast_table
    slow_table = columns.each_distinct(array.filter(pc.invert(clean)), _judge, SCHEMA)
    return columns.merge(len(array), fast, fast_table, slow_table)


def _judge(text: str) -> tuple[str | None, str]:
    judged = canonical(text)
    return judged.value, judged.verdict
