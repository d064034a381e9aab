"""Numbers of people and accounts that stand where they should not: in free text, or in the wrong field.

Promises: a field that its contract calls free text loses every run of eleven or more digits, however spaced;
          any other text loses what has the shape of a resident number or a mobile number.
Refuses:  to touch numbers, dates, times and identifiers, which have checks of their own.
Not here: names in free text (no rule finds them all; such fields stay class P2).
"""

from __future__ import annotations

import re
from typing import Any

import pyarrow.compute as pc

from pipelines.contracts import Field

REMOVED = "[removed]"
_DIGIT = r"[0-9０-９]"
# A phone, card, account or identity number: 11 digits or more, one space or hyphen between any two.
_LONG_NUMBER = rf"{_DIGIT}(?:[ \-\u00a0\u3000－]?{_DIGIT}){{10,}}[XxＸｘ]?"
_MONTH_DAY = r"(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
# \b keeps hashes, uuids and credit codes whole: a number inside a longer word is not a number by itself.
_PERSONAL = (
    rf"\b[1-9][0-9]{{5}}(?:19|20)[0-9]{{2}}{_MONTH_DAY}[0-9]{{3}}[0-9Xx]?\b"
    rf"|\b[1-9][0-9]{{7}}{_MONTH_DAY}[0-9]{{3}}\b"
    r"|\b(?:86)?1[3-9][0-9]{9}\b"
    r"|[１][３-９][０-９]{9}|[０-９]{17}[０-９Ｘｘ]"
)
_SHORTEST = 11  # bytes; nothing shorter holds either
_LONG_NUMBER_RE2 = _LONG_NUMBER.replace(r"\u00a0", r"\x{00a0}").replace(r"\u3000", r"\x{3000}")
_PERSONAL_ASCII = re.compile(_PERSONAL, re.ASCII)
_ACCOUNT = re.compile(r"[0-9]{11,}")


def column(raw: Any, field: Field) -> Any:
    """The field's text as it may leave the sealer."""
    if field.type not in ("string", "string[]"):
        return raw
    longest = pc.max(pc.binary_length(raw)).as_py()
    if longest is None or longest < _SHORTEST:
        return raw
    pattern = _LONG_NUMBER_RE2 if field.scrub else _PERSONAL
    found = pc.match_substring_regex(raw, pattern)
    if not pc.any(found).as_py():
        return raw
    return pc.replace_substring_regex(raw, pattern, REMOVED)


def looks_personal(text: str) -> bool:
    """Whether one text passes as an identity, phone, card or account number."""
    return _PERSONAL_ASCII.search(text) is not None or _ACCOUNT.search(text.replace("-", "")) is not None
