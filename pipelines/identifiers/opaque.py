"""Numbers whose shape is their issuer's own affair: platform accounts, order, loan and policy numbers.

Promises: NFKC and trimmed; letter case is kept, since issuers may use it.
Refuses:  control characters, more than 128 characters (bad_format), U+FFFD (mojibake).
Not here: which value space and issuer the number belongs to (contracts/).
"""

from __future__ import annotations

import unicodedata
from typing import Any

import pyarrow.compute as pc

from pipelines.identifiers import text as columns
from pipelines.identifiers import verdict as v
from pipelines.identifiers.judgement import Judgement, judge_column, where

_LONGEST = 128
_CLEAN = rf"^[\x21-\x7e]{{1,{_LONGEST}}}$"


def canonical(text: str) -> Judgement:
    """The number as its issuer means it, or no value and why not."""
    if "\ufffd" in text:
        return Judgement(None, v.MOJIBAKE)
    stripped = text.strip()
    value = unicodedata.normalize("NFKC", stripped).strip()
    if not value:
        return Judgement(None, v.EMPTY)
    if len(value) > _LONGEST or any(unicodedata.category(c) in ("Cc", "Cs") for c in value):
        return Judgement(None, v.BAD_FORMAT)
    return Judgement(value, v.OK if value == stripped else v.OK_FULL_WIDTH)


def canonical_column(column: Any) -> Any:
    """`canonical` over a text column: a table of value, verdict."""
    array = columns.one_array(column)
    return judge_column(array, canonical, clean=where(pc.match_substring_regex(array, _CLEAN)))
