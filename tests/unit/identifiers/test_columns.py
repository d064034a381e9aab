"""A column version is the plain function, row for row; what is valid is accepted, and nothing is mangled."""

from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import identifiers
from pipelines.identifiers import bank_account, citizen_id, mobile, name, uscc
from pipelines.identifiers import verdict as v

TONIGHT = date(2026, 8, 20)
FULL_WIDTH = str.maketrans("0123456789X", "０１２３４５６７８９Ｘ")


@st.composite
def resident_ids(draw: Any) -> str:
    born = draw(st.dates(date(1900, 1, 1), date(2012, 8, 20)))
    region = draw(st.sampled_from(["430102", "431121", "432524", "110105", "810000"]))
    first17 = f"{region}{born:%Y%m%d}{draw(st.integers(0, 999)):03d}"
    return first17 + citizen_id.make_check_digit(first17)


def dressed(text: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """The same number as people type it: padded, lower case, full-width, cut, or with one character wrong."""
    return text.flatmap(
        lambda value: st.one_of(
            st.sampled_from(
                [value, f" {value}", f"{value}\u3000", value.lower(), value.translate(FULL_WIDTH), value[:-1]]
            ),
            st.tuples(st.integers(0, len(value) - 1), st.characters(codec="utf-8")).map(
                lambda change: value[: change[0]] + change[1] + value[change[0] + 1 :]
            ),
        )
    )


PLATES = st.from_regex(r"[湘粤京][A-Z][A-Z0-9·]{4,7}", fullmatch=True)
ODD = {
    "citizen_id": resident_ids() | resident_ids().map(lambda s: s[:6] + s[8:17]),
    "mobile": st.from_regex(r"(\+86)?1[2-9][0-9]{8,9}", fullmatch=True),
    "bank_account": st.from_regex(r"[0-9]{7,31}", fullmatch=True),
    "plate": PLATES,
    "name": st.from_regex(r"[王李濮䶮鐜锟𠅤闀][\u4e00-\u9fff斤拷·\ue000-\ue010]{1,4}", fullmatch=True),
    "uscc": st.from_regex(r"[0-9A-HJ-NP-RTUW-Y]{18}", fullmatch=True),
}


@pytest.mark.parametrize("kind", sorted(ODD))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_column_is_the_plain_function_row_for_row(kind: str, data: Any) -> None:
    texts = data.draw(st.lists(st.none() | dressed(ODD[kind]) | st.text(max_size=20), max_size=12))
    module = getattr(identifiers, kind)
    arguments = (TONIGHT,) if kind == "citizen_id" else ()
    padded = pa.array(["x", *texts], pa.string()).slice(1)  # a slice: offsets do not begin at zero
    rows = module.canonical_column(padded, *arguments).to_pylist()
    for text, row in zip(texts, rows, strict=True):
        if text is None:
            assert set(row.values()) == {None}
        else:
            plain = module.canonical(text, *arguments)
            assert row == {key: getattr(plain, key) for key in row}


@given(resident_ids())
def test_a_valid_number_is_accepted_with_birth_date_and_gender(number: str) -> None:
    judged = citizen_id.canonical(number, TONIGHT)
    assert judged.value == number
    assert v.is_ok(judged.verdict)
    assert judged.birth_date == date(int(number[6:10]), int(number[10:12]), int(number[12:14]))


@given(resident_ids(), st.integers(0, 16), st.integers(1, 9))
def test_one_wrong_digit_never_passes(number: str, at: int, by: int) -> None:
    wrong = number[:at] + str((int(number[at]) + by) % 10) + number[at + 1 :]
    assert not v.is_ok(citizen_id.canonical(wrong, TONIGHT).verdict)


@given(resident_ids())
def test_fifteen_digits_are_the_same_person(number: str) -> None:
    judged = citizen_id.canonical(number[:6] + number[8:17])
    same = number[6:8] == "19"
    assert (judged.value == number) == (same and judged.verdict == v.OK_15_DIGIT)


@pytest.mark.parametrize("county", ["431121", "431181", "432524", "433101"])
def test_a_renamed_county_is_accepted_whatever_the_birth_year(county: str) -> None:
    for year in (1955, 1990, 2004):
        first17 = f"{county}{year}0101001"
        assert citizen_id.canonical(first17 + citizen_id.make_check_digit(first17)).verdict == v.OK


def test_a_child_is_kept_out_until_the_fourteenth_birthday() -> None:
    first17 = "43010220120820001"
    number = first17 + citizen_id.make_check_digit(first17)
    column = pa.array([number])
    for day, verdict in ((TONIGHT - timedelta(1), v.MINOR_UNDER_14), (TONIGHT, v.OK)):
        assert citizen_id.canonical(number, day).verdict == verdict
        assert citizen_id.canonical_column(column, day).column("verdict").to_pylist() == [verdict]


@given(st.from_regex(r"[0-9]{15,18}", fullmatch=True))
def test_luhn_digit_makes_a_card(digits: str) -> None:
    assert bank_account.canonical(digits + bank_account.make_check_digit(digits)).verdict == v.OK


@given(st.from_regex(r"[0-9A-HJ-NP-RTUW-Y]{17}", fullmatch=True))
def test_uscc_digit_makes_a_code(first17: str) -> None:
    assert uscc.canonical(first17 + uscc.make_check_digit(first17)).verdict == v.OK


COMMON = st.sampled_from("伟芳娜敏静丽强磊军洋勇艳杰涛明超秀霞平刚桂英文华玉萍红建国")
RARE = st.characters(min_codepoint=0x3400, max_codepoint=0x4DBF) | st.characters(
    min_codepoint=0x4E00, max_codepoint=0x9FA5
)
RARER = RARE | st.characters(min_codepoint=0x20000, max_codepoint=0x2A6DF)


@settings(max_examples=1500, deadline=None)
@given(st.sampled_from(sorted(name.SURNAMES)) | RARER, st.lists(COMMON | RARER, min_size=1, max_size=3))
def test_a_clean_name_is_never_called_mojibake(surname: str, given_name: list[str]) -> None:
    whole = surname + "".join(given_name)
    assert name.canonical(whole).verdict == v.OK or "锟斤拷" in whole


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(name.SURNAMES)),
    st.lists(COMMON, min_size=1, max_size=3),
    st.sampled_from(["gbk", "cp1252"]),
)
def test_utf8_read_in_another_encoding_is_called_mojibake(
    surname: str, given_name: list[str], reader: str
) -> None:
    broken = (surname + "".join(given_name)).encode().decode(reader, "replace")
    assert name.canonical(broken).verdict == v.MOJIBAKE


@given(st.text(alphabet=RARER, min_size=1, max_size=4))
def test_no_character_of_a_name_is_dropped(text: str) -> None:
    """Kept whole, or refused because its GB18030 bytes are UTF-8 too: then nobody can say which was meant."""
    try:
        text.encode("gb18030").decode("utf-8")
        is_ambiguous = True
    except UnicodeDecodeError:
        is_ambiguous = "锟斤拷" in text
    judged = name.canonical(text)
    assert len(judged.value or "") == len(text) or (is_ambiguous and judged.verdict == v.MOJIBAKE)


def test_mobile_accepts_what_people_write() -> None:
    assert {mobile.canonical(s).value for s in ("13873100001", "8613873100001", "0086 138 7310 0001")} == {
        "13873100001"
    }
