"""Names, numbers and plates that look as they do in Hunan, and belong to nobody.

Promises: deterministic for a given generator; citizen numbers pass GB 11643, cards pass Luhn, mobiles have 11
          digits; plates have 7 characters, or 8 for new-energy cars.
Refuses:  nothing.
Not here: which person gets which (people).
"""

from __future__ import annotations

from datetime import date

import numpy as np

from pipelines.province.feeds import words

SURNAMES = tuple("李王张刘陈杨周黄赵吴肖谭邓彭罗曾胡唐蒋谢易欧何贺龙向田石")
GIVEN_MALE = words(
    "伟 强 勇 军 志强 建国 海波 国华 小明 文斌 立新 佳豪 子轩 浩然 俊杰 思远 春生 湘军 志远 铁牛 "
    "宏亮 开富 德才 金生 长根 新民 学文 正清 贤明 水生"
)
GIVEN_FEMALE = words("芳 敏 静 丽 秀英 玉兰 桂英 雨婷 思琪 佳怡 湘莲 春花 慧 小燕 雪梅 文静 美玲 艳红 丹 云")
RARE = ("王䶮", "李𠅤华", "欧阳㛃", "阿卜杜拉·买买提", "石三妹", "向晓䂮", "龙𬭎", "彭吉玛·热西提")
STREET_PREFIXES = (
    "130",
    "131",
    "135",
    "137",
    "138",
    "139",
    "150",
    "151",
    "158",
    "159",
    "173",
    "177",
    "180",
    "186",
    "199",
)
RETIRED_COUNTIES = (
    "430122",
    "430124",
    "430221",
    "430521",
    "431121",
)  # what an older person's number may begin with
COUNTIES = words(
    "430102 430103 430104 430105 430111 430112 430121 430181 430211 430281 430302 430321 430405 430423 430481 "
    "430502 430524 430602 430626 430702 430725 430802 430821 430903 430921 431002 431021 431102 431103 431124 "
    "431181 431202 431224 431302 431322 433101 433123 433130"
)
CITIES = ("430102", "430104", "430105", "430111", "430211", "430302", "430408", "430602", "430702", "431002")


def person_name(rng: np.random.Generator, gender: str) -> str:
    """A common surname with a given name of that gender."""
    given = GIVEN_MALE if gender == "male" else GIVEN_FEMALE
    second = SURNAMES[int(rng.integers(len(SURNAMES)))]
    return second + given[int(rng.integers(len(given)))]


def citizen_id(county: str, born: date, gender: str, sequence: int) -> str:
    """An 18-digit citizen number: county, birth date, a sequence that is odd for men, check digit."""
    order = (sequence * 2 + (1 if gender == "male" else 0)) % 1000
    first17 = f"{county}{born:%Y%m%d}{order:03d}"
    return first17 + check_digit(first17)


def check_digit(first17: str) -> str:
    """GB 11643, written apart from identifiers/, so that a mistake there cannot hide here."""
    return "10X98765432"[sum(int(c) * 2 ** (17 - i) for i, c in enumerate(first17)) % 11]


def fifteen_digits(id_no: str) -> str:
    """The first-generation form of an 18-digit number of the 20th century."""
    return id_no[:6] + id_no[8:17]


def full_width(text: str) -> str:
    """ASCII letters and digits as their full-width twins."""
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def mobile(rng: np.random.Generator) -> str:
    prefix = STREET_PREFIXES[int(rng.integers(len(STREET_PREFIXES)))]
    return f"{prefix}{int(rng.integers(10**8)):08d}"


def card(rng: np.random.Generator, bank: str) -> str:
    """A 19-digit card number that passes Luhn; the first six digits are made up."""
    body = ("621799" if bank == "BK01" else "622188") + f"{int(rng.integers(10**12)):012d}"
    total = 0
    for place, digit in enumerate(reversed(body)):
        doubled = int(digit) * (2 if place % 2 == 0 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return body + str(-total % 10)


_PLATE_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"


def plate(rng: np.random.Generator, county: str, kind: str) -> tuple[str, str]:
    """(plate, colour) of a car, taxi, light or heavy truck registered in the county's prefecture."""
    letter = dict(zip(("01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13", "31"),
                      "ABCDEFJGHLMNKU", strict=True)).get(county[2:4], "A")  # fmt: skip
    if kind == "car_new_energy":
        return f"湘{letter}D{int(rng.integers(10**5)):05d}", "green"
    if kind == "taxi":
        return f"湘{letter}T{int(rng.integers(10**4)):04d}", "blue"
    tail = _PLATE_LETTERS[int(rng.integers(24))] + f"{int(rng.integers(10**4)):04d}"
    return f"湘{letter}{tail}", "yellow" if kind == "heavy_truck" else "blue"


def vin(rng: np.random.Generator) -> str:
    letters = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"
    return "L" + "".join(letters[int(i)] for i in rng.integers(len(letters), size=16))
