"""The database's Arrow objects; scrubbing; sealed references; a hunt for raw numbers in what leaves."""

import base64
import traceback
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyrage
import pytest

from pipelines.errors import Bug, SourceBroken, Usage
from pipelines.privacy import open_keyring, roles
from pipelines.sealing import SealRequest
from pipelines.sealing.scrub import looks_personal

RATE = {
    "op": "I",
    "updated_at": datetime(2026, 8, 20, 1, 2, 3, 456_000, tzinfo=UTC),
    "region": "430000",
    "param": "base_floor_fen",
    "sector": "",
    "valid_from": date(2026, 1, 1),
    "valid_to": None,
    "value": 4_000_00,
    "unit": "fen",
    "reference": "notice 7",
}


def arrow(*rows: dict[str, Any], schema: Any = None) -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pylist(list(rows), schema=schema)
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return sink.getvalue().to_pybytes()


def test_typed_columns_become_one_canonical_text(hub: Any) -> None:
    sealed = hub.seal("si_param", arrow(RATE, RATE | {"sector": "trip"}, RATE | {"sector": "taxi"}))
    row = sealed.rows[0]
    assert row["updated_at"] == "2026-08-20T01:02:03.456000+00:00"
    assert (row["valid_from"], row["valid_to"], row["value"], row["sector"]) == ("2026-01-01", None, "400000", "")
    assert [r["row_no"] for r in sealed.rows] == [1, 2, 3]
    assert sealed.trailer["fen"] is None  # the feed has no money field
    assert sealed.trailer["fen_unparsed"] == 0


def test_a_cut_arrow_stream_a_missing_column_and_an_odd_type_are_refused(hub: Any) -> None:
    whole = arrow(RATE, RATE, RATE)
    with pytest.raises(SourceBroken, match="not what its contract says"):
        hub.seal("si_param", whole[:-8])
    without = {name: value for name, value in RATE.items() if name != "unit"}
    for odd in (without, RATE | {"value": 1.5}, RATE | {"updated_at": datetime(2026, 8, 20)}):  # noqa: DTZ001
        with pytest.raises(SourceBroken):
            hub.seal("si_param", arrow(odd))


def test_free_text_loses_long_numbers_and_other_text_loses_personal_ones(hub: Any, txn: Any) -> None:

    columns = [field.name for field in hub.contracts["bank_txn"].fields]
    texts = [
        "工资 430102199003078014 转 6222 0200 0000 0000 008",
        "电话138-7310-0001谢谢",
        "４３０１０２１９９００３０７８０１４",
        "房租2026-08 1200元",
    ]
    rows = [txn(txn_id=f"T{n}", summary=text) for n, text in enumerate(texts)]
    rows.append(txn(txn_id="T9", purpose_code="13873100001"))
    sealed = hub.seal("bank_txn", hub.bank_file("bank_txn", columns, rows, 500))
    assert [row["summary"] for row in sealed.rows[:4]] == [
        "工资 [removed] 转 [removed]",
        "电话[removed]谢谢",
        "[removed]",
        "房租2026-08 1200元",
    ]
    assert sealed.rows[4]["purpose_code"] == "[removed]"


def test_an_identifier_in_the_wrong_field_never_leaves(hub: Any, page: Any, worker: Any) -> None:
    astray = {
        "contract_company": "找430102199003078014",
        "account_status": "13873100001",
        "work_mode": "430102900307801",
    }
    (row,) = hub.seal("platform_worker", page(worker | astray)).rows
    assert row["contract_company"] == "找[removed]"
    assert row["account_status"] == row["work_mode"] == "[removed]"
    assert row["platform_uscc"] == "91350100M000100Y43"


@pytest.mark.parametrize(
    "harmless",
    [
        "91430100183777777A",
        "3c13873100001aff" * 4,
        "11111111-2222-1333-8444-138731000012",
        "2026-08-20T08:00:00+08:00",
    ],
)
def test_codes_hashes_and_uuids_stay_whole(hub: Any, page: Any, worker: Any, harmless: str) -> None:
    (row,) = hub.seal("platform_worker", page(worker | {"contract_company": harmless})).rows
    assert row["contract_company"] == harmless


CONSENT = {
    "op": "I",
    "updated_at": "2026-08-20T08:00:00+08:00",
    "consent_id": "5f2b6f0e-8a39-4c9e-9f57-0f2d8f3e7a11",
    "version": 1,
    "person_id_no": "430102199003078014",
    "person_name": "王伟",
    "recipient_institution": "bank_a",
    "recipient_ref": "APP-2026-000123",
    "purpose_code": "credit_working_capital",
    "data_categories": ["income", "identity"],
}


def test_a_recipient_s_reference_opens_only_with_the_release_key(hub: Any, page: Any) -> None:
    sealed = hub.seal("consent", page(CONSENT))
    identity = roles.as_identity(open_keyring(hub.settings, "release").key(roles.RELEASE_IDENTITY))
    assert pyrage.decrypt(sealed.rows[0]["recipient_ref_sealed"], [identity]) == b"APP-2026-000123"
    assert b"APP-2026-000123" not in sealed.stream
    assert sealed.rows[0]["data_categories"] == '["income","identity"]'
    assert sealed.trailer["sealed_withheld"] == 0


@pytest.mark.parametrize(
    "ref", ["430102199003078014", "13873100001", "6222-0200-0000-0000-008", "short", "有汉字的编号"]
)
def test_a_reference_that_passes_as_a_person_s_number_is_withheld(hub: Any, page: Any, ref: str) -> None:
    sealed = hub.seal("consent", page(CONSENT | {"recipient_ref": ref}))
    assert sealed.rows[0]["recipient_ref_sealed"] is None
    assert sealed.trailer["sealed_withheld"] == 1


def test_looks_personal_lets_application_numbers_pass() -> None:
    assert not looks_personal("APP-2026-000123")
    assert looks_personal("X-13873100001")


def spellings(secret: str) -> list[bytes]:
    plain = secret.encode()
    return [plain, plain.hex().encode(), base64.b64encode(plain).rstrip(b"=")[:-1], secret.encode("utf-16-le")]


def test_X10_no_raw_identifier_in_the_stream_nor_on_disk_in_any_spelling(hub: Any, page: Any, worker: Any) -> None:
    sealed = hub.seal("platform_worker", page(worker, worker | {"id_no": "430102199003078015"}, "{" + str(worker)))
    for secret in (worker["id_no"], "430102199003078015", worker["mobile"], worker["name"]):
        for spelling in spellings(secret):
            assert spelling not in sealed.stream
            for path in hub.settings.home.rglob("*"):
                assert not path.is_file() or spelling not in path.read_bytes(), path


def test_X10_an_error_of_an_engine_is_told_without_its_text(
    hub: Any, page: Any, worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: Any) -> None:
        raise ValueError(f"could not convert {worker['id_no']}")

    monkeypatch.setattr("pipelines.sealing.scrub.column", explode)
    with pytest.raises(Bug) as refused:
        hub.seal("platform_worker", page(worker))
    told = "".join(traceback.format_exception(refused.value))
    assert worker["id_no"] not in told
    assert "ValueError" in told
    assert "sealing/identify.py" in refused.value.where


def test_a_request_is_the_same_after_a_round_trip_and_nothing_else_is_one() -> None:
    text = (
        b'{"batch_id":"si_param-20260820-0123abcd","business_date":"2026-08-20","feed":"si_param","objects":'
        b'[{"address":"' + b"0" * 64 + b'","business_date":"2026-08-20","declared_records":3}]}'
    )
    assert SealRequest.from_json(text).to_json() == text
    for odd in (b"", b"[]", text.replace(b"0" * 64, b"../../x"), text.replace(b"3}", b'"3"}'), text[:-1]):
        with pytest.raises(Usage):
            SealRequest.from_json(odd)
