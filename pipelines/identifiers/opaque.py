"""Numbers whose shape is their issuer's own affair: platform accounts, order, loan and policy numbers.

Promises: NFKC and trimmed; letter case is kept, since issuers may use it.
Refuses:  control characters, more than 128 characters (bad_format), U+FFFD (mojibake).
Not here: which value space and issuer the number belongs to (contracts/).
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.identifiers import text as columns
from pipelines.identifiers import verdict as v

_LONGEST = 128
_CLEAN = rf"^[\x21-\x7e]{{1,{_LONGEST}}}$"

SCHEMA = pa.schema([("value", pa.string()), ("verdict", pa.string())])


@dataclass(frozen=True, slots=True)
class Opaque:
    value: str | None
    verdict: str


def canonical(text: str) -> Opaque:
    """The number as its issuer means it, or no value and why not."""
    if "\ufffd" in text:
        return Opaque(None, v.MOJIBAKE)
    stripped = text.strip()
    value = unicodedata.normalize("NFKC", stripped).strip()
    if not value:
        return Opaque(None, v.EMPTY)
    if len(value) > _LONGEST or any(unicodedata.category(c) in ("Cc", "Cs") for c in value):
        return Opaque(None, v.BAD_FORMAT)
    return Opaque(value, v.OK if value == stripped else v.OK_FULL_WIDTH)


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
