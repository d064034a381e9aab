"""Bank account and card numbers.

Promises: NFKC, without spaces or hyphens; a number that fails Luhn is usable but noted, since passbook numbers
          carry no Luhn digit (DOMAIN A3).
Refuses:  anything but 8 to 30 digits (bad_format).
Not here: which bank issued it.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from pipelines.identifiers import text as columns
from pipelines.identifiers import verdict as v
from pipelines.identifiers.judgement import Judgement, judge_column

_SEPARATORS = re.compile(r"[\s\-]")
_ACCOUNT = re.compile(r"[0-9]{8,30}")


def make_check_digit(digits: str) -> str:
    """The Luhn digit to put after these digits. Raises ValueError (without the value) for anything else."""
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError("digits are needed")
    return str(-_luhn_sum(digits + "0") % 10)


def luhn_holds(digits: str) -> bool:
    return _luhn_sum(digits) % 10 == 0


def _luhn_sum(digits: str) -> int:
    total = 0
    for position, digit in enumerate(reversed(digits)):
        number = int(digit) * (1 + position % 2)
        total += number - 9 if number > 9 else number
    return total


def canonical(text: str) -> Judgement:
    """Digits only, or no value and why not."""
    value, full_width = columns.normalised(text)
    if not value:
        return Judgement(None, v.EMPTY)
    value = _SEPARATORS.sub("", value)
    if _ACCOUNT.fullmatch(value) is None:
        return Judgement(None, v.BAD_FORMAT)
    note = v.OK if luhn_holds(value) else v.OK_NOT_LUHN
    return Judgement(value, v.OK_FULL_WIDTH if full_width else note)


def canonical_column(column: Any) -> Any:
    """`canonical` over a text column: a table of value, verdict. Cards (16 to 19 digits) are judged in numpy."""
    array = columns.one_array(column)
    data, starts, lengths = columns.buffers(array)
    clean = np.zeros(len(array), np.bool_)
    code = np.zeros(len(array), np.int8)
    for width in range(16, 20):
        here = lengths == width
        if not here.any():
            continue
        rows = columns.matrix(data, starts[here], width)
        good = columns.digits(rows)
        here[here] = good
        clean |= here
        code[here] = np.where(_luhn_holds(rows[good]), v.ALL.index(v.OK), v.ALL.index(v.OK_NOT_LUHN))
    return judge_column(array, canonical, clean=clean, clean_verdicts=columns.words(code[clean], v.ALL))


_DOUBLED = np.array([0, 2, 4, 6, 8, 1, 3, 5, 7, 9], np.uint8)


def _luhn_holds(rows: columns.Bytes) -> columns.Mask:
    numbers = rows - np.uint8(48)
    total = numbers[:, ::-1][:, ::2].sum(axis=1, dtype=np.int32)
    total += _DOUBLED[numbers[:, ::-1][:, 1::2]].sum(axis=1, dtype=np.int32)
    return np.asarray(total % 10 == 0)
