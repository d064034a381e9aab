"""Mainland mobile numbers: eleven digits that begin with 13 to 19.

Promises: NFKC, without spaces, hyphens or the country code (+86, 0086, 86).
Refuses:  landlines and foreign numbers (bad_format).
Not here: which operator, whether the number is in use.
"""

from __future__ import annotations

import re
from typing import Any

from pipelines.identifiers import text as columns
from pipelines.identifiers import verdict as v
from pipelines.identifiers.judgement import Judgement, judge_column

_SEPARATORS = re.compile(r"[\s\-]")
_MOBILE = re.compile(r"(?:\+?86|0086)?(1[3-9][0-9]{9})")


def canonical(text: str) -> Judgement:
    """Eleven digits, or no value and why not."""
    value, full_width = columns.normalised(text)
    if not value:
        return Judgement(None, v.EMPTY)
    match = _MOBILE.fullmatch(_SEPARATORS.sub("", value))
    if match is None:
        return Judgement(None, v.BAD_FORMAT)
    return Judgement(match.group(1), v.OK_FULL_WIDTH if full_width else v.OK)


def canonical_column(column: Any) -> Any:
    """`canonical` over a text column: a table of value, verdict."""
    array = columns.one_array(column)
    data, starts, lengths = columns.buffers(array)
    clean = lengths == 11
    rows = columns.matrix(data, starts[clean], 11)
    clean[clean] = columns.digits(rows) & (rows[:, 0] == ord("1")) & (rows[:, 1] >= ord("3"))
    return judge_column(array, canonical, clean=clean)
