"""The words in which a judgement on an identifier is given.

Promises: one closed list; the "ok" words are usable, the others are not.
Refuses:  nothing.
Not here: what is done about a verdict (checks/: not ok -> reject, ok with a note -> warning).
"""

from __future__ import annotations

OK = "ok"
OK_15_DIGIT = "ok_15_digit"
OK_FULL_WIDTH = "ok_full_width"
OK_UNKNOWN_REGION = "ok_unknown_region"
OK_NOT_LUHN = "ok_not_luhn"
BAD_CHECK_DIGIT = "bad_check_digit"
BAD_FORMAT = "bad_format"
BAD_BIRTH_DATE = "bad_birth_date"
MOJIBAKE = "mojibake"
EMPTY = "empty"
MINOR_UNDER_14 = "minor_under_14"

ALL = (
    OK, OK_15_DIGIT, OK_FULL_WIDTH, OK_UNKNOWN_REGION, OK_NOT_LUHN,
    BAD_CHECK_DIGIT, BAD_FORMAT, BAD_BIRTH_DATE, MOJIBAKE, EMPTY, MINOR_UNDER_14,
)  # fmt: skip


def is_ok(verdict: str) -> bool:
    return verdict.startswith("ok")
