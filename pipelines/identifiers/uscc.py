"""Unified social credit codes of organisations (GB 32100): 18 characters with a MOD 31 check character.

Promises: NFKC, upper, stripped; the check character is proven.
Refuses:  I, O, S, V and Z, which the code does not use (bad_format).
Not here: whether the organisation exists.
"""

from __future__ import annotations

import re
from typing import Any

from pipelines.identifiers import text as columns
from pipelines.identifiers import verdict as v
from pipelines.identifiers.judgement import Judgement, judge_each_distinct

_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
_CODE = re.compile(rf"[{_ALPHABET}]{{18}}")


def make_check_digit(first17: str) -> str:
    """The 18th character for the first 17. Raises ValueError (without the value) for anything else."""
    if len(first17) != 17 or any(character not in _ALPHABET for character in first17):
        raise ValueError("17 characters of the code's alphabet are needed")
    total = sum(_ALPHABET.index(c) * weight for c, weight in zip(first17, _WEIGHTS, strict=True))
    return _ALPHABET[-total % 31]


def canonical(text: str) -> Judgement:
    """The code, or no value and why not."""
    value, full_width = columns.normalised(text)
    if not value:
        return Judgement(None, v.EMPTY)
    if _CODE.fullmatch(value) is None:
        return Judgement(None, v.BAD_FORMAT)
    if make_check_digit(value[:17]) != value[17]:
        return Judgement(None, v.BAD_CHECK_DIGIT)
    return Judgement(value, v.OK_FULL_WIDTH if full_width else v.OK)


def canonical_column(column: Any) -> Any:
    """`canonical` over a text column: a table of value, verdict. Organisations are few: each distinct one once."""
    return judge_each_distinct(columns.one_array(column), canonical)
