"""Banks' files: header, names, data, trailer. A broken line is a row; a broken file is not read."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as trying
from hypothesis import strategies as st

from pipelines.errors import SourceBroken


def test_a_file_gives_its_rows_and_its_trailer_s_totals(hub: Any, txn: Any, txn_columns: list[str]) -> None:
    rows = [txn(txn_id="T1"), txn(txn_id="T2", amount_fen="250", counterparty_name="长沙某某科技有限公司")]
    sealed = hub.seal("bank_txn", hub.bank_file("bank_txn", txn_columns, rows, 350))
    assert [(row["row_no"], row["parse_error"]) for row in sealed.rows] == [(3, None), (4, None)]
    assert (sealed.trailer["physical_records"], sealed.trailer["control_records"]) == (5, 3)
    (told,) = sealed.trailer["objects"]
    assert (told["declared_records"], told["declared_fen"]) == (2, 350)
    assert (sealed.trailer["fen"], sealed.trailer["fen_unparsed"]) == (350, 0)
    first = sealed.rows[0]
    assert (first["amount_fen"], first["balance_after_fen"], first["summary"]) == ("100", None, None)
    assert first["counterparty_name_verdict"] is None
    assert sealed.rows[1]["counterparty_name_verdict"] == "ok"


def test_columns_are_found_by_name_and_unknown_ones_are_told(hub: Any, txn: Any, txn_columns: list[str]) -> None:
    usual = hub.seal("bank_txn", hub.bank_file("bank_txn", txn_columns, [txn()], 100))
    turned = hub.bank_file("bank_txn", ["branch_code", *reversed(txn_columns)], [["B7", *reversed(txn())]], 100)
    sealed = hub.seal("bank_txn", turned)
    assert sealed.rows == usual.rows
    assert sealed.trailer["objects"][0]["unknown_columns"] == ["branch_code"]


def test_ragged_undecodable_and_odd_lines_are_rows_and_nothing_else_moves(
    hub: Any, txn: Any, txn_columns: list[str]
) -> None:
    whole = hub.bank_file("bank_txn", txn_columns, [txn(txn_id=f"T{n}") for n in range(7)], 700).split(b"\n")
    whole[3] = whole[3] + b"|extra"
    whole[4] = b"only|three|fields"
    whole[5] = whole[5].replace(b"T3", b"\xff\xff")
    whole[6] = whole[6].replace(b"T4", b'"T4')
    whole[7] = whole[7].replace(b"T5", b"T\r5")
    whole[8] = whole[8].replace(b"T6", b"T\x006")
    sealed = hub.seal("bank_txn", b"\n".join(whole))
    assert [row["parse_error"] for row in sealed.rows] == [
        None,
        "ragged",
        "ragged",
        "bad_encoding",
        None,
        "ragged",
        "bad_encoding",
    ]
    assert [row["row_no"] for row in sealed.rows] == [3, 4, 5, 6, 7, 8, 9]
    assert sealed.rows[4]["txn_id_verdict"] == "ok"
    assert sealed.trailer["fen_unparsed"] == 5
    assert len({row["record_key"] for row in sealed.rows}) == 7


def test_carriage_returns_before_newlines_are_line_ends(hub: Any, txn: Any, txn_columns: list[str]) -> None:
    data = hub.bank_file("bank_txn", txn_columns, [txn()], 100)
    assert hub.seal("bank_txn", data.replace(b"\n", b"\r\n")).rows == hub.seal("bank_txn", data).rows


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gb18030"])
def test_rare_names_survive_each_encoding_that_names_itself(
    hub: Any, txn: Any, txn_columns: list[str], encoding: str
) -> None:
    rows = [txn(counterparty_name=name) for name in ("𠅤䶮", "迪丽热巴•迪力木拉提", "龑")]
    data = hub.bank_file("bank_txn", txn_columns, rows, 300, encoding)
    sealed = hub.seal("bank_txn", data)
    again = hub.seal("bank_txn", hub.bank_file("bank_txn", txn_columns, rows, 300))
    assert [row["counterparty_name_token"] for row in sealed.rows] == [
        row["counterparty_name_token"] for row in again.rows
    ]
    assert [row["counterparty_name_verdict"] for row in sealed.rows] == ["ok"] * 3


def test_a_file_in_another_encoding_than_declared_shows_in_its_names(
    hub: Any, txn: Any, txn_columns: list[str]
) -> None:
    rows = [txn(counterparty_name="王伟"), txn(counterparty_name="李娜")]
    sealed = hub.seal("bank_txn", hub.bank_file("bank_txn", txn_columns, rows, 200, "utf-8"))
    assert [row["counterparty_name_verdict"] for row in sealed.rows] == ["mojibake"] * 2
    assert [row["counterparty_name_token"] for row in sealed.rows] == [None] * 2


def lines_of(data: bytes) -> list[bytes]:
    return data.removesuffix(b"\n").split(b"\n")


BREAKAGE = {
    "no trailer": lambda s: s[:-1],
    "trailer twice": lambda s: [*s, s[-1]],
    "rows after the trailer": lambda s: [*s, s[2]],
    "two files joined": lambda s: [*s, *s],
    "no header": lambda s: s[1:],
    "another feed's header": lambda s: [s[0].replace(b"BANK_TXN", b"BANK_ACCOUNT"), *s[1:]],
    "no column names": lambda s: [s[0], *s[2:]],
    "a column missing": lambda s: [s[0], s[1].replace(b"|amount_fen", b""), *s[2:]],
    "a column renamed": lambda s: [s[0], s[1].replace(b"amount_fen", b"amount_yuan"), *s[2:]],
    "a column twice": lambda s: [s[0], s[1] + b"|op", *s[2:]],
    "only a header": lambda s: s[:1],
    "trailer without a sum": lambda s: [*s[:-1], b"T|1"],
    "carriage returns only": lambda s: [b"\r".join(s)],
}


@pytest.mark.parametrize("how", sorted(BREAKAGE))
def test_F3_a_file_that_is_not_whole_is_not_read(hub: Any, txn: Any, txn_columns: list[str], how: str) -> None:
    whole = lines_of(hub.bank_file("bank_txn", txn_columns, [txn()], 100))
    with pytest.raises(SourceBroken) as refused:
        hub.seal("bank_txn", b"\n".join(BREAKAGE[how](whole)) + b"\n")
    assert refused.value.why
    assert "4111111111111111" not in str(refused.value)


def test_a_cut_anywhere_is_refused(hub: Any, txn: Any, txn_columns: list[str]) -> None:
    whole = hub.bank_file("bank_txn", txn_columns, [txn()], 100)
    for length in range(0, len(whole) - 4, 23):
        with pytest.raises(SourceBroken):
            hub.seal("bank_txn", whole[:length])


@trying(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=60).map(lambda line: line.replace(b"\n", b"")), max_size=6))
def test_S15_physical_records_are_rows_and_control_records(
    hub: Any, txn_columns: list[str], data_lines: list[bytes]
) -> None:
    if any(line.startswith(b"T|") for line in data_lines):
        return
    head, tail = hub.bank_file("bank_txn", txn_columns, [], 0).rsplit(b"T|", 1)
    data = b"".join(line + b"\n" for line in data_lines)
    sealed = hub.seal("bank_txn", head + data + b"T|" + tail)
    assert len(sealed.rows) == len(data_lines)
    assert sealed.trailer["physical_records"] == len(data_lines) + 3
