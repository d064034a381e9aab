"""Pages of JSON lines: every physical record becomes a row, and nothing of a person leaves in the clear."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as trying
from hypothesis import strategies as st

from pipelines.errors import SourceBroken, TotalsDiffer, VerificationFailed
from pipelines.privacy import tokens
from pipelines.privacy.aes import decrypt_blocks
from pipelines.sealing import ObjectRequest


def test_the_stream_is_the_contract_s_sealed_schema_and_ends_in_a_trailer(hub: Any, page: Any, order: Any) -> None:
    second = order | {"order_id": "O2", "customer_paid_fen": -34}
    sealed = hub.seal("platform_order", page(order, second), page(order | {"order_id": "O3"}))
    schema = pa.ipc.open_stream(sealed.stream).schema
    assert schema.equals(hub.contracts["platform_order"].sealed_schema())
    assert [(row["object_no"], row["row_no"]) for row in sealed.rows] == [(0, 1), (0, 2), (1, 1)]
    trailer = sealed.trailer
    assert (trailer["physical_records"], trailer["control_records"], trailer["rows"]) == (3, 0, 3)
    assert (trailer["fen"], trailer["fen_unparsed"]) == (1234 - 34 + 1234, 0)
    assert [item["rows"] for item in trailer["objects"]] == [2, 1]
    import hashlib

    assert trailer["hash"] == hashlib.sha256(b"".join(row["record_hash"] for row in sealed.rows)).hexdigest()


def test_an_identifier_leaves_as_token_verdict_and_what_may_be_derived(hub: Any, page: Any, worker: Any) -> None:
    (row,) = hub.seal("platform_worker", page(worker)).rows
    assert row["id_no_verdict"] == "ok"
    assert (str(row["id_no_birth_date"]), row["id_no_gender"], row["id_no_region"]) == (
        "1990-03-07",
        "male",
        "430102",
    )
    token = np.frombuffer(row["id_no_token"], np.uint8).reshape(1, 16)
    opened = decrypt_blocks(hub.identity_key("identifier_block"), token)
    assert tokens.unpack_block(bytes(opened[0])) == (tokens.CITIZEN_ID, worker["id_no"])
    assert "id_no" not in row
    assert row["registered_region"] == "430102"


def test_one_identifier_has_one_token_in_every_feed_however_it_is_written(
    hub: Any, page: Any, worker: Any, order: Any
) -> None:
    dressed = worker | {
        "id_no": "４３０１０２１９９００３０７８０１４",
        "mobile": "+86 138 7310 0001",
        "name": " 王伟 ",
    }
    one, other, short = hub.seal(
        "platform_worker", page(worker, dressed, worker | {"id_no": "430102900307801"})
    ).rows
    for field in ("id_no", "mobile", "name", "platform_worker_id"):
        assert one[f"{field}_token"] == other[f"{field}_token"] == short[f"{field}_token"]
    assert (other["id_no_verdict"], short["id_no_verdict"]) == ("ok_full_width", "ok_15_digit")
    (in_order,) = hub.seal("platform_order", page(order)).rows
    assert in_order["platform_worker_id_token"] == one["platform_worker_id_token"]
    elsewhere = hub.seal("platform_order", page(order | {"platform_code": "food01"})).rows[0]
    assert elsewhere["platform_worker_id_token"] != one["platform_worker_id_token"]
    assert one["record_key"] == other["record_key"]
    assert one["record_hash"] != other["record_hash"]


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"id_no": "430102199003078015"}, "bad_check_digit"),
        ({"id_no": "430102201808200014"}, "bad_check_digit"),
        ({"id_no": "13873100001"}, "bad_format"),
        ({"id_no": ""}, "empty"),
        ({"id_no": None}, None),
        ({"id_no": "E12345678"}, "ok"),
    ],
)
def test_what_is_not_usable_has_a_verdict_and_no_token(
    hub: Any, page: Any, worker: Any, change: dict[str, Any], verdict: str | None
) -> None:
    (row,) = hub.seal("platform_worker", page(worker | change)).rows
    assert row["id_no_verdict"] == verdict
    assert (row["id_no_token"] is None) == (verdict != "ok")
    assert row["id_no_birth_date"] is None


def test_broken_lines_are_rows_that_say_so_and_the_others_keep_their_place(
    hub: Any, page: Any, order: Any
) -> None:
    good = json.dumps(order)
    lines = [
        (good, None),
        ('{"op": "I", ', "bad_json"),
        ("", "control"),
        ("[1, 2]", "bad_json"),
        ("7", "bad_json"),
        (good + good, "bad_json"),
        ('{"op": "I", "op": "D"}', "bad_json"),
        (good.replace("O1", "O\\ud800"), "bad_json"),
        (good.replace("O1", "O\\u0000"), "bad_encoding"),
        ("   ", "control"),
        (good.replace("O1", "O9"), None),
    ]
    raw = b"".join(text.encode() + b"\n" for text, _ in lines) + b'{"op": "\xff"}'
    sealed = hub.seal("platform_order", raw)
    expected = [(n, word) for n, (_, word) in enumerate(lines, 1) if word != "control"] + [(12, "bad_encoding")]
    assert [(row["row_no"], row["parse_error"]) for row in sealed.rows] == expected
    assert sealed.trailer["control_records"] == 2
    assert (sealed.trailer["fen"], sealed.trailer["fen_unparsed"]) == (None, 8)
    broken = [row for row in sealed.rows if row["parse_error"]]
    assert all(row["op"] is None and row["order_id_verdict"] is None for row in broken)
    assert len({row["record_key"] for row in sealed.rows}) == len(sealed.rows)  # two broken records are not one


@trying(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400) | st.lists(st.binary(max_size=60), max_size=6).map(b"\n".join))
def test_S15_whatever_bytes_come_every_physical_record_is_a_row_or_a_control_record(hub: Any, data: bytes) -> None:
    try:
        sealed = hub.seal("platform_order", data)
    except SourceBroken:  # a byte order mark of an encoding that it is not in
        assert data.startswith((b"\xff\xfe", b"\xfe\xff"))
        return
    physical = data.count(b"\n") + (1 if data and not data.endswith(b"\n") else 0)
    if not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        assert len(sealed.rows) + sealed.trailer["control_records"] == physical


def test_a_byte_order_mark_is_no_part_of_the_first_record(hub: Any, page: Any, order: Any) -> None:
    plain = page(order | {"order_type": "专车"})
    rows = [
        hub.seal("platform_order", data).rows[0]
        for data in (plain, b"\xef\xbb\xbf" + plain, plain.decode().encode("utf-16"), plain.rstrip(b"\n"))
    ]
    assert all(row == rows[0] for row in rows)
    with pytest.raises(SourceBroken, match="does not decode"):
        hub.seal("platform_order", b"\xff\xfe" + b"odd")


def test_unknown_keys_and_any_order_of_keys_change_nothing(hub: Any, page: Any, order: Any) -> None:
    turned = dict(reversed(order.items())) | {"new_in_v2": {"id": "430102199003078014"}}
    one, other = hub.seal("platform_order", page(order)), hub.seal("platform_order", page(turned))
    assert one.rows == other.rows
    assert b"430102199003078014" not in other.stream


def test_money_that_cannot_be_read_makes_the_sum_unprovable(hub: Any, page: Any, order: Any) -> None:
    odd = [order | {"customer_paid_fen": value} for value in ("12.5", None, 1e3, "1,234")]
    trailer = hub.seal("platform_order", page(order, *odd)).trailer
    assert (trailer["fen"], trailer["fen_unparsed"]) == (None, 3)
    large = [order | {"customer_paid_fen": 9 * 10**17}] * 20
    assert hub.seal("platform_order", page(*large)).trailer["fen"] == 18 * 10**18


@pytest.mark.timeout(20)
def test_S16_huge_cells_deep_json_and_many_keys_are_only_odd_rows(hub: Any, page: Any, order: Any) -> None:
    monsters = [
        json.dumps(order | {"order_type": "z" * 10_000_000}),
        json.dumps(order | {f"k{n}": n for n in range(10_000)}),
        '{"op": "I", "order_type": ' + "[" * 100_000 + "]" * 100_000 + "}",
        json.dumps(order)[:-1] + ', "task_count2": ' + "9" * 1_000_000 + "}",
        '{"op": "' + "y" * 17_000_000 + '"}',
    ]
    sealed = hub.seal("platform_order", page(order, *monsters, order))
    assert [row["parse_error"] for row in sealed.rows] == [None, None, None, None, None, "bad_json", None]


def test_an_empty_object_and_an_empty_batch_are_complete(hub: Any) -> None:
    for objects in ((), (b"",)):
        sealed = hub.seal("platform_order", *objects)
        assert sealed.rows == []
        assert sealed.trailer["rows"] == 0
        assert sealed.trailer["fen"] == 0


def test_two_declarations_that_differ_and_a_missing_object_stop_the_batch(
    hub: Any, page: Any, order: Any, txn: Any, txn_columns: list[str]
) -> None:

    stored = hub.store("bank_txn", hub.bank_file("bank_txn", txn_columns, [txn()], 100), declared_records=2)
    with pytest.raises(TotalsDiffer):
        hub.seal("bank_txn", stored)
    with pytest.raises(VerificationFailed):
        hub.seal("platform_order", page(order), ObjectRequest("0" * 64, stored.business_date))


def test_what_was_declared_at_the_pull_reaches_the_trailer(hub: Any, page: Any, order: Any) -> None:
    stored = hub.store("platform_order", page(order), declared_records=7, declared_fen=99)
    (told,) = hub.seal("platform_order", stored).trailer["objects"]
    assert (told["declared_records"], told["declared_fen"]) == (7, 99)


def test_reading_ahead_on_a_second_thread_gives_the_same_stream(hub: Any, page: Any, order: Any) -> None:
    pages = [page(*(order | {"order_id": f"O{p}-{n}"} for n in range(50))) for p in range(5)]
    two = hub.settings.model_copy(update={"threads": 2})
    assert hub.seal("platform_order", *pages).stream == hub.seal("platform_order", *pages, settings=two).stream


def test_a_page_longer_than_a_chunk_is_read_in_stretches(
    hub: Any, page: Any, order: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [order | {"order_id": f"O{n}"} for n in range(40)]
    data = page(*records[:20], "{", *records[20:])
    whole = hub.seal("platform_order", data)
    from pipelines.sealing.formats import lines, ndjson

    monkeypatch.setattr(ndjson.lines, "chunks", lambda data, cut=lines.chunks: cut(data, 700))
    assert hub.seal("platform_order", data).rows == whole.rows
    assert [row["row_no"] for row in whole.rows] == list(range(1, 42))


def test_nothing_of_a_record_is_left_in_files_when_sealing_fails(hub: Any, page: Any, worker: Any) -> None:
    small = hub.settings.model_copy(update={"memory_limit": "10MB"})
    data = page(*([worker | {"contract_company": "c" * 20_000}] * 4000))
    before = set(hub.settings.home.rglob("*"))
    with pytest.raises(SourceBroken, match="more memory") as refused:
        hub.seal("platform_worker", data, settings=small)
    assert "430102199003078014" not in str(refused.value)
    assert set(hub.settings.home.rglob("*")) - before <= set(hub.settings.vault_dir.rglob("*"))
    assert not Path(".tmp").exists()
