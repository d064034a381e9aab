"""What is said of one identifier, (value, verdict), and how a whole column is judged at speed.

Promises: a column gives row for row what the plain function gives; a clean row never reaches that function,
          a value that is not clean reaches it once.
Refuses:  nothing.
Not here: what is clean (each identifier says), the words of a verdict (verdict), citizen_id's wider table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.identifiers import text as columns
from pipelines.identifiers import verdict as v

SCHEMA = pa.schema([("value", pa.string()), ("verdict", pa.string())])


@dataclass(frozen=True, slots=True)
class Judgement:
    """value: the canonical form, None unless the verdict is an ok one."""

    value: str | None
    verdict: str


def where(found: Any) -> columns.Mask:
    """The rows for which an arrow condition holds; NULL is not one of them."""
    return np.asarray(pc.fill_null(found, False).to_numpy(zero_copy_only=False))


def judge_column(
    array: Any, canonical: Callable[[str], Judgement], *, clean: columns.Mask, clean_verdicts: Any = None
) -> Any:
    """`canonical` over one text array: a table of value, verdict; NULL gives a row of NULLs.

    clean: the rows that are their own canonical form. clean_verdicts: theirs, in order; all "ok" when left out.
    """
    kept = array if clean.all() else array.filter(pa.array(clean))
    if clean_verdicts is None:
        clean_verdicts = pa.array([v.OK], pa.string()).take(columns.zeros(len(kept)))
    clean_table = pa.table([kept, clean_verdicts], schema=SCHEMA)
    if len(kept) == len(array):
        return clean_table
    other_table = judge_each_distinct(array.filter(pa.array(~clean)), canonical)
    return columns.merge(len(array), clean, clean_table, other_table)


def judge_each_distinct(array: Any, canonical: Callable[[str], Judgement]) -> Any:
    """The same table without a fast way: every distinct value is judged once by the plain function."""

    def row(text: str) -> tuple[str | None, str]:
        judged = canonical(text)
        return judged.value, judged.verdict

    return columns.each_distinct(array, row, SCHEMA)
