"""The fourteen feeds: valid under the published standard, complete for people, and bound to one another."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any

import duckdb
import jsonschema
import pyarrow as pa
import pytest

from pipelines.contracts import Contract, load_all, read_yaml
from pipelines.settings import Settings

SETTINGS = Settings()
CONTRACTS = load_all(SETTINGS)
KEYS = {
    "platform_worker": "platform_code platform_worker_id",
    "platform_vehicle": "platform_code vehicle_no",
    "platform_credential": "platform_code platform_worker_id credential_type",
    "platform_order": "platform_code order_id segment_no platform_worker_id",
    "platform_earning_line": "platform_code line_id",
    "platform_settlement": "platform_code settlement_id",
    "consent": "consent_id",
    "si_person": "id_no",
    "si_contribution_month": "id_no scheme contribution_month pay_kind source_office",
    "occ_injury_order_day": "platform_code id_no cover_date sector",
    "si_param": "region param sector valid_from",
    "bank_account": "bank_code account_no",
    "bank_txn": "bank_code txn_id",
    "bank_obligation": "bank_code loan_id",
}
each_feed = pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)


def test_there_are_fourteen_feeds_with_these_keys() -> None:
    assert {feed: " ".join(c.key) for feed, c in sorted(CONTRACTS.items())} == dict(sorted(KEYS.items()))


def test_files_are_valid_under_the_published_standard() -> None:
    schema = json.loads(files("open_data_contract_standard").joinpath("schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft201909Validator(schema)
    for feed in CONTRACTS:
        document = read_yaml(SETTINGS.schemas / "feeds" / f"{feed}.odcs.yaml")
        assert [e.message for e in validator.iter_errors(document)] == [], feed


@each_feed
def test_fields_speak_to_people(contract: Contract) -> None:
    for f in contract.fields:
        assert re.search(r"[\u4e00-\u9fff]", f.label_zh), f.name
        assert f.description.endswith("."), f.name
        assert f.required or "NULL" in f.description, f.name
        assert f.name.endswith("_fen") == (f.unit == "fen"), f.name
        if f.name.endswith(("_at", "_on")):
            assert f.type == ("timestamp" if f.name.endswith("_at") else "date"), f.name
        assert len(f.enum) == len(f.enum_labels), f.name


@each_feed
def test_what_names_a_person_leaves_the_sealer_as_a_token(contract: Contract) -> None:
    names_somebody = re.compile(r"(^|_)(id_no|name|mobile|account_no|plate_no|vin|credential_no)$")
    for f in contract.fields:
        assert not names_somebody.search(f.name) or f.identifier is not None, f.name
        assert f.cls != "P3" or f.identifier is not None or f.type != "string", f.name
        assert not f.scrub or (f.cls, f.type) == ("P2", "string"), f.name


@each_feed
def test_shapes_fit_an_engine(contract: Contract) -> None:
    """The landed table, its current versions and the checks all bind, on an empty batch."""
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    con.execute("ATTACH ':memory:' AS lake; CREATE SCHEMA lake.landed")
    con.execute(contract.landed_ddl())
    current = con.execute(contract.current_sql(), {"known_at": "2026-08-19"}).to_arrow_table()
    assert current.column_names == contract.landed_schema().names
    sealed = [pa.field(f.name, pa.uuid() if f.type == pa.binary(16) else f.type) for f in contract.sealed_schema()]
    con.register("sealed", pa.schema(sealed).empty_table())
    checked = con.execute(contract.checks_sql(), {"window_end": "2026-08-20T00:00:00Z"})
    assert {"_reasons", "_warnings", "_money_fen", "record_key"} <= {d[0] for d in checked.description or []}


def test_the_latest_known_version_counts_unless_it_is_a_delete() -> None:
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    contract = CONTRACTS["si_person"]
    con.execute(contract.landed_ddl("landed"))
    versions: list[tuple[Any, ...]] = [  # record, updated_at, known_on, row_no, op
        ("01", "2026-08-02", "2026-08-19", 1, "I"),
        ("01", "2026-08-01", "2026-08-20", 2, "U"),  # arrived later, but is older
        ("02", "2026-08-01", "2026-08-19", 3, "I"),
        ("02", "2026-08-02", "2026-08-19", 4, "D"),
        ("03", "2026-08-01", "2026-08-19", 5, "I"),
        ("03", "2026-08-02", "2026-08-20", 6, "D"),  # not known yet
        ("04", "2026-08-01", "2026-08-19", 7, "D"),
        ("04", "2026-08-01", "2026-08-19", 8, "U"),  # the same instant: the later row
    ]
    for record, updated_at, known_on, row_no, op in versions:
        con.execute(
            "INSERT INTO landed (record_key, source_updated_at, known_on, row_no, op) VALUES (?, ?, ?, ?, ?)",
            [f"00000000-0000-0000-0000-0000000000{record}", updated_at, known_on, row_no, op],
        )
    sql = f"SELECT row_no FROM ({contract.current_sql(table='landed')}) ORDER BY row_no"
    assert [r[0] for r in con.execute(sql, {"known_at": "2026-08-19"}).fetchall()] == [1, 5, 8]
    assert [r[0] for r in con.execute(sql, {"known_at": "2026-08-20"}).fetchall()] == [1, 8]
