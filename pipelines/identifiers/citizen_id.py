"""Resident identity numbers (GB 11643), and the free-form numbers of those who have none.

Promises: NFKC, stripped, upper; 15 digits become 18; check digit (MOD 11-2) and birth date are proven; the kind
          is judged from the value's shape, never from the sender's id_type.
Refuses:  to tie the area code to the birth year (DOMAIN 0.5): an unknown code is a note, not an error.
Not here: who the number belongs to (marts/), tokens (privacy/).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.identifiers import text as columns
from pipelines.identifiers import verdict as v

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK = "10X98765432"
_RESIDENT = re.compile(r"[0-9]{17}[0-9X]")
_FIFTEEN = re.compile(r"[0-9]{15}")
# Passports, Hong Kong/Macao/Taiwan permits, old foreign residence cards: 5 to 18 of these characters.
_FREE_FORM = re.compile(r"[A-Z0-9][A-Z0-9()\-]{4,17}")
_TAIWAN_PERMIT_DIGITS = (8, 10)
_RESIDENT_LOOKING_DIGITS = 13  # with so many digits it is a mistyped resident number, not a passport
_FIRST_YEAR = 1900
_ADULT_ENOUGH = 14  # PIPL art. 31: younger needs a guardian's consent; the hub does not keep them
# GB/T 2260 provinces; 81-83 residence permits of Hong Kong, Macao, Taiwan; 91 foreign permanent residents.
PROVINCES = frozenset(
    str(number)
    for numbers in (range(11, 16), range(21, 24), range(31, 38), range(41, 47), range(50, 55), range(61, 66),
                    (71, 81, 82, 83, 91))
    for number in numbers
)  # fmt: skip
# 4301-4313 and 4331 today; 4321-4330 are the prefectures of the 1980s and 1990s, still in people's numbers.
_HUNAN_PREFECTURES = frozenset(range(1, 14)) | frozenset(range(21, 32))

_FIELDS: list[Any] = [
    pa.field("value", pa.string()),
    pa.field("verdict", pa.string()),
    pa.field("birth_date", pa.date32()),
    pa.field("gender", pa.string()),
    pa.field("region", pa.string()),
]
SCHEMA: Any = pa.schema(_FIELDS)


@dataclass(frozen=True, slots=True)
class CitizenId:
    """All but the verdict are None unless it is ok; free-form numbers have a value only."""

    value: str | None
    verdict: str
    birth_date: date | None = None
    gender: str | None = None
    region: str | None = None


def make_check_digit(first17: str) -> str:
    """The 18th character for 17 digits. Raises ValueError (without the value) for anything else."""
    if len(first17) != 17 or not (first17.isascii() and first17.isdigit()):
        raise ValueError("17 digits are needed")
    return _CHECK[sum(int(digit) * weight for digit, weight in zip(first17, _WEIGHTS, strict=True)) % 11]


def region_is_known(region: str) -> bool:
    """Whether a six-digit area code can have been given out; dated county tables are schemas/reference."""
    return bool(_KNOWN_REGION[int(region)])


def canonical(text: str, business_date: date | None = None) -> CitizenId:
    """Judge one number. With a business date, future births are wrong and children under 14 are told apart."""
    value, full_width = columns.normalised(text)
    if not value:
        return CitizenId(None, v.EMPTY)
    fifteen = _FIFTEEN.fullmatch(value) is not None
    if fifteen:
        value = value[:6] + "19" + value[6:]
        value += make_check_digit(value)
    if _RESIDENT.fullmatch(value) is None:
        fits = _is_free_form(value)
        return CitizenId(value, v.OK_FULL_WIDTH if full_width else v.OK) if fits else CitizenId(None, v.BAD_FORMAT)
    if make_check_digit(value[:17]) != value[17]:
        return CitizenId(None, v.BAD_CHECK_DIGIT)
    birth_date = _birth_date(value, business_date)
    if birth_date is None:
        return CitizenId(None, v.BAD_BIRTH_DATE)
    if business_date is not None and age_on(birth_date, business_date) < _ADULT_ENOUGH:
        return CitizenId(None, v.MINOR_UNDER_14)
    word = v.OK if region_is_known(value[:6]) else v.OK_UNKNOWN_REGION
    word = v.OK_15_DIGIT if fifteen else v.OK_FULL_WIDTH if full_width else word
    return CitizenId(value, word, birth_date, "male" if int(value[16]) % 2 else "female", value[:6])


def age_on(birth_date: date, day: date) -> int:
    """Completed years; a leap-day child has its birthday on 1 March in common years (DOMAIN 0.4)."""
    return day.year - birth_date.year - ((day.month, day.day) < (birth_date.month, birth_date.day))


def _is_free_form(value: str) -> bool:
    digits = sum(character.isdigit() for character in value)
    if _FREE_FORM.fullmatch(value) is None or digits < 4 or digits >= _RESIDENT_LOOKING_DIGITS:
        return False
    return digits in _TAIWAN_PERMIT_DIGITS if value.isdigit() else any(c.isalpha() for c in value)


def _birth_date(value: str, business_date: date | None) -> date | None:
    try:
        birth_date = date(int(value[6:10]), int(value[10:12]), int(value[12:14]))
    except ValueError:
        return None
    if birth_date.year < _FIRST_YEAR or (business_date is not None and birth_date > business_date):
        return None
    return birth_date


def _known_regions() -> npt.NDArray[np.bool_]:
    known = np.zeros(1_000_000, np.bool_)
    for province in PROVINCES:
        first = int(province) * 10_000
        if province == "43":
            for prefecture in _HUNAN_PREFECTURES:
                known[first + prefecture * 100 + 1 : first + prefecture * 100 + 100] = True
        else:
            known[first : first + 10_000] = True
            known[first] = False
    for first in (810_000, 820_000, 830_000):
        known[first] = True  # residence permits carry the bare code
    return known


_KNOWN_REGION = _known_regions()
_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] + [0] * 87, np.int16)
_CHECK_BYTES = np.frombuffer(_CHECK.encode(), np.uint8)


def canonical_column(column: Any, business_date: date | None = None) -> Any:
    """`canonical` over a whole text column: a table of value, verdict, birth_date, gender, region.

    NULL in, a row of NULLs out. Eighteen- and fifteen-character ASCII numbers are judged in numpy; the rest
    (full-width, padded, passports) one distinct value at a time by the plain function.
    """
    array = columns.one_array(column)
    data, starts, lengths = columns.buffers(array)
    digits, fast, fifteen = _resident_rows(data, starts, lengths)
    fast_table = _judge_matrix(digits, fifteen[fast], business_date)
    if bool(fast.all()):
        return fast_table
    slow = array.filter(pa.array(~fast))
    slow_table = columns.each_distinct(slow, lambda text: _row(canonical(text, business_date)), SCHEMA)
    return columns.merge(len(array), fast, fast_table, slow_table)


def _row(judged: CitizenId) -> tuple[Any, ...]:
    return judged.value, judged.verdict, judged.birth_date, judged.gender, judged.region


def _resident_rows(
    data: columns.Bytes, starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
) -> tuple[columns.Bytes, columns.Mask, columns.Mask]:
    """The rows shaped as 18 or 15 ASCII characters, all as 18 characters; and which rows those are."""
    eighteen, fifteen = lengths == 18, lengths == 15
    if not fifteen.any():
        rows = columns.matrix(data, starts[eighteen], 18)
        good = columns.digits(rows[:, :17]) & _is_check_character(rows[:, 17])
        eighteen[eighteen] = good
        return rows if good.all() else rows[good], eighteen, fifteen
    short = columns.matrix(data, starts[fifteen], 15)
    good = columns.digits(short)
    short, fifteen[fifteen] = short[good], good
    long = columns.matrix(data, starts[eighteen], 18)
    good = columns.digits(long[:, :17]) & _is_check_character(long[:, 17])
    long, eighteen[eighteen] = long[good], good
    fast = eighteen | fifteen
    rows = np.empty((int(fast.sum()), 18), np.uint8)
    rows[eighteen[fast]] = long
    widened = np.empty((len(short), 18), np.uint8)
    widened[:, :6], widened[:, 8:17] = short[:, :6], short[:, 6:]
    widened[:, 6], widened[:, 7] = ord("1"), ord("9")
    widened[:, 17] = _CHECK_BYTES[_check_sums(widened)]
    rows[fifteen[fast]] = widened
    return rows, fast, fifteen


def _is_check_character(last: columns.Bytes) -> columns.Mask:
    return np.asarray(((last - np.uint8(48)) <= 9) | (last == ord("X")) | (last == ord("x")))


def _check_sums(rows: columns.Bytes) -> npt.NDArray[np.int32]:
    total = np.zeros(len(rows), np.int32)
    for position, weight in enumerate(_WEIGHTS):
        total += (rows[:, position] - np.uint8(48)).astype(np.int32) * weight
    return total % 11


def _number(rows: columns.Bytes, first: int, last: int) -> npt.NDArray[np.int32]:
    total = np.zeros(len(rows), np.int32)
    for position in range(first, last):
        total = total * 10 + (rows[:, position] - np.uint8(48))
    return total


def _judge_matrix(rows: columns.Bytes, fifteen: columns.Mask, business_date: date | None) -> Any:
    """Verdicts for (n, 18) ASCII characters of which 17 are digits."""
    rows = np.array(rows, order="C")
    rows[:, 17][rows[:, 17] == ord("x")] = ord("X")
    year, month, day = _number(rows, 6, 10), _number(rows, 10, 12), _number(rows, 12, 14)
    region = _number(rows, 0, 6)
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    last_day = _DAYS[month] + (leap & (month == 2))
    real = (year >= _FIRST_YEAR) & (day >= 1) & (day <= last_day)
    code = np.where(_KNOWN_REGION[region], v.ALL.index(v.OK), v.ALL.index(v.OK_UNKNOWN_REGION))
    code[fifteen] = v.ALL.index(v.OK_15_DIGIT)
    if business_date is not None:
        born = year * 10_000 + month * 100 + day
        today = business_date.year * 10_000 + business_date.month * 100 + business_date.day
        real &= born <= today
        code[born > today - _ADULT_ENOUGH * 10_000] = v.ALL.index(v.MINOR_UNDER_14)
    code[~real] = v.ALL.index(v.BAD_BIRTH_DATE)
    code[rows[:, 17] != _CHECK_BYTES[_check_sums(rows)]] = v.ALL.index(v.BAD_CHECK_DIGIT)
    bad = code > v.ALL.index(v.OK_NOT_LUHN)
    month_start = (np.clip(year, _FIRST_YEAR, 9999) - 1970) * 12 + np.clip(month, 1, 12) - 1
    born_on = month_start.astype("datetime64[M]").astype("datetime64[D]") + (day - 1)
    null = pa.array(bad)
    gender = _words_or_null((rows[:, 16] & 1).astype(np.int8), ("female", "male"), bad)
    return pa.table(
        [
            _or_null(columns.fixed_strings(rows), bad, null),
            columns.words(code, v.ALL),
            pa.array(born_on, pa.date32(), mask=bad if bad.any() else None),
            gender,
            _or_null(columns.fixed_strings(rows[:, :6]), bad, null),
        ],
        schema=SCHEMA,
    )


def _words_or_null(codes: npt.NDArray[np.int8], vocabulary: tuple[str, ...], bad: columns.Mask) -> Any:
    return columns.words(codes, vocabulary, bad if bad.any() else None)


def _or_null(array: Any, bad: columns.Mask, null: Any) -> Any:
    return pc.if_else(null, pa.scalar(None, pa.string()), array) if bad.any() else array
