"""Vehicle number plates (GA 36): seven characters, eight for new energy; and the plates of electric bicycles.

Promises: NFKC, upper, without the dot, spaces or hyphens that are printed on the plate.
Refuses:  the letters I and O after the issuing letter, which no plate carries (bad_format).
Not here: which vehicle wears it.
"""

from __future__ import annotations

import re
from typing import Any

import pyarrow.compute as pc

from pipelines.identifiers import text as columns
from pipelines.identifiers import verdict as v
from pipelines.identifiers.judgement import Judgement, judge_column, where

PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
_SEPARATORS = re.compile(r"[\s·•‧・．.\-]")
_CAR = rf"[{PROVINCES}][A-Z](?:[A-HJ-NP-Z0-9]{{5,6}}|[A-HJ-NP-Z0-9]{{4}}[挂学警港澳])"
# An electric bicycle's plate names its city and has no national pattern: two to four characters, then 4 to 8.
_BICYCLE = r"[\u4e00-\u9fff]{1,4}[A-Z]?[0-9]{4,8}"
_PLATE = re.compile(rf"{_CAR}|{_BICYCLE}")
_CLEAN = rf"^{_CAR}$"


def canonical(text: str) -> Judgement:
    """The plate without ornament, or no value and why not."""
    value, full_width = columns.normalised(text)
    if not value:
        return Judgement(None, v.EMPTY)
    value = _SEPARATORS.sub("", value)
    if _PLATE.fullmatch(value) is None:
        return Judgement(None, v.BAD_FORMAT)
    return Judgement(value, v.OK_FULL_WIDTH if full_width else v.OK)


def canonical_column(column: Any) -> Any:
    """`canonical` over a text column: a table of value, verdict."""
    array = columns.one_array(column)
    return judge_column(array, canonical, clean=where(pc.match_substring_regex(array, _CLEAN)))
