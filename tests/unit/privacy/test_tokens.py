"""Tokens answer the published vectors, open again, and join what should join."""

import json
import os
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import VerificationFailed
from pipelines.identifiers import citizen_id
from pipelines.privacy import aes, tokens

VECTORS = Path(__file__).parents[2] / "contracts/vectors"
PUBLISHED = json.loads((VECTORS / "aes.json").read_text())
FROZEN = json.loads((VECTORS / "tokens.json").read_text())
KEY = bytes(range(32))
PACK = {
    "citizen_id": tokens.pack_citizen_id,
    "mobile": tokens.pack_mobile,
    "bank_account": tokens.pack_bank_account,
}


def as_blocks(*hexes: str) -> Any:
    return np.array([list(bytes.fromhex(text)) for text in hexes], np.uint8)


def library_cmac(key: bytes, message: bytes) -> bytes:
    mac = CMAC(AES(key))
    mac.update(message)
    return mac.finalize()


@pytest.mark.parametrize("vector", PUBLISHED["block"])
def test_blocks_answer_fips_197(vector: dict[str, str]) -> None:
    plain, cipher = as_blocks(vector["plain"]), as_blocks(vector["cipher"])
    key = bytes.fromhex(vector["key"])
    assert (aes.encrypt_blocks(key, plain) == cipher).all()
    assert (aes.decrypt_blocks(key, cipher) == plain).all()


@pytest.mark.parametrize("vector", PUBLISHED["cmac"])
def test_cmac_answers_sp_800_38b(vector: dict[str, str]) -> None:
    message = np.frombuffer(bytes.fromhex(vector["message"]), np.uint8).reshape(1, -1)
    both = np.concatenate([message, message])  # two rows at once: rows do not touch each other
    got = aes.cmac(bytes.fromhex(vector["key"]), both)
    assert [bytes(row).hex() for row in got] == [vector["tag"]] * 2


def test_our_own_frozen_tokens_have_not_moved() -> None:
    for vector in FROZEN["blocks"]:
        blocks = PACK[vector["kind"]](pa.array([vector["value"]]))
        assert bytes(blocks[0]).hex() == vector["block"]
        assert bytes(aes.encrypt_blocks(KEY, blocks)[0]).hex() == vector["token"]
        assert tokens.unpack_block(bytes(blocks[0]))[1] == vector["value"]
    for vector in FROZEN["cmac"]:
        token = tokens.cmac_column(KEY, vector["kind"], vector["issuer"], pa.array([vector["value"]]))
        assert bytes(token[0]).hex() == vector["token"]
        message = bytes.fromhex(vector["message_head"]) + vector["value"].encode()
        assert library_cmac(KEY, message).hex() == vector["token"]
    for vector in FROZEN["rows"]:
        assert tokens.encode_row(vector["label"], vector["values"]).hex() == vector["message"]
        assert library_cmac(KEY, bytes.fromhex(vector["message"])).hex() == vector["mac"]


@st.composite
def canonical_ids(draw: Any) -> str:
    if draw(st.booleans()):
        first17 = draw(st.from_regex(r"[0-9]{17}", fullmatch=True))
        return first17 + citizen_id.make_check_digit(first17)
    return draw(st.from_regex(r"[A-Z][A-Z0-9()\-]{4,17}", fullmatch=True))


@given(st.lists(canonical_ids(), max_size=8))
def test_a_packed_citizen_id_opens_to_itself(numbers: list[str]) -> None:
    blocks = tokens.pack_citizen_id(pa.array(numbers, pa.string()))
    assert [tokens.unpack_block(bytes(block))[1] for block in blocks] == numbers


@given(st.lists(st.from_regex(r"[0-9]{1,19}", fullmatch=True), max_size=8))
def test_a_packed_account_opens_to_itself_with_its_zeros(numbers: list[str]) -> None:
    blocks = tokens.pack_bank_account(pa.array(numbers, pa.string()))
    assert [tokens.unpack_block(bytes(block)) for block in blocks] == [(tokens.BANK_ACCOUNT, n) for n in numbers]


def test_a_wrong_key_shows_in_the_fixed_bytes() -> None:
    token = aes.encrypt_blocks(KEY, tokens.pack_mobile(pa.array(["13873100001"])))
    for _ in range(50):
        opened = aes.decrypt_blocks(os.urandom(32), token)
        with pytest.raises(VerificationFailed) as refused:
            tokens.unpack_block(bytes(opened[0]))
        assert "13873100001" not in str(refused.value)


def test_only_canonical_digits_are_packed() -> None:
    for bad in ("1387310000x", "1387310000", "13873100001 "):
        with pytest.raises(ValueError, match="canonical") as refused:
            tokens.pack_mobile(pa.array([bad]))
        assert bad not in str(refused.value)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["ride01", "food01", "", None]), st.text(max_size=40)), max_size=10))
def test_cmac_of_a_column_is_the_library_s_row_for_row(rows: list[tuple[str | None, str]]) -> None:
    issuers = pa.array([issuer for issuer, _ in rows], pa.string())
    values = pa.array([value for _, value in rows], pa.string())
    got = tokens.cmac_column(KEY, "platform_account", issuers, values)
    for token, (issuer, value) in zip(got, rows, strict=True):
        head = tokens.message_head("platform_account", issuer or "", len(value.encode()))
        assert bytes(token) == library_cmac(KEY, head + value.encode())


ROWS = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(st.none() | st.text(max_size=40), min_size=width, max_size=width), min_size=1)
)


@settings(max_examples=60)
@given(ROWS)
def test_the_mac_of_rows_is_the_plain_definition_row_for_row(rows: list[list[str | None]]) -> None:
    columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
    shifted = [pa.concat_arrays([pa.array(["odd"]), column]).slice(1) for column in columns]
    got = tokens.mac_rows(KEY, "record:x", shifted)
    for mac, row in zip(got, rows, strict=True):
        assert bytes(mac) == library_cmac(KEY, tokens.encode_row("record:x", row))


@pytest.mark.parametrize("length", [1023, 1024, 1025, 50_000])
def test_a_long_value_counts_in_full(length: int) -> None:
    text = "z" * length
    rows = [pa.array([text, None, "a", text[:-1] + "y"])]
    got = tokens.mac_rows(KEY, "r", rows)
    for mac, value in zip(got, rows[0].to_pylist(), strict=True):
        assert bytes(mac) == library_cmac(KEY, tokens.encode_row("r", [value]))
    assert len({bytes(mac) for mac in got}) == 4


@given(ROWS, ROWS)
def test_two_rows_have_one_encoding_only_if_they_are_equal(some: Any, others: Any) -> None:
    for a in some:
        for b in others:
            assert (tokens.encode_row("r", a) == tokens.encode_row("r", b)) == (a == b)


@given(st.lists(st.none() | st.binary(min_size=16, max_size=16), max_size=8))
def test_arrow_hex_and_uuid_are_one_value(values: list[bytes | None]) -> None:
    column = pa.array([b"?" * 16, *values], pa.binary(16)).slice(1)
    null = np.array([value is None for value in values], np.bool_)
    assert tokens.to_arrow(tokens.from_arrow(column), null).equals(column)
    text = tokens.to_hex(column)
    assert text.to_pylist() == [value.hex() if value is not None else None for value in values]
    assert tokens.from_hex(text).equals(column)


def test_duckdb_reads_a_token_as_the_uuid_of_its_bytes() -> None:
    token = bytes(range(16))
    table = pa.table({"token": tokens.to_uuid(pa.array([token], pa.binary(16)))})
    con = duckdb.connect()
    con.register("sealed", table)
    found = con.execute("select typeof(token), token::varchar from sealed").fetchall()
    assert found == [("UUID", "00010203-0405-0607-0809-0a0b0c0d0e0f")]
    assert tokens.from_hex(pa.array([found[0][1]])).to_pylist() == [token]
    with pytest.raises(ValueError, match="hex"):
        tokens.from_hex(pa.array(["xyz"]))
