"""Every fault is labelled, and the contracts themselves agree: clean records pass, faulty ones break that rule."""

from __future__ import annotations

import hashlib
import json
from datetime import date

import duckdb
import pyarrow as pa
import pytest

from pipelines.contracts import Contract, load_all
from pipelines.identifiers import bank_account, citizen_id, mobile, name, plate
from pipelines.province import World
from pipelines.province.faults import FAULTS, MOST_REFUSED
from pipelines.province.feeds import FEEDS, KEYS
from pipelines.settings import Settings

JUDGES = {"citizen_id": citizen_id, "mobile": mobile, "bank_account": bank_account, "plate": plate, "name": name}
NEEDS_OTHER_ROWS = {"record.conflict", "reverses_line_id.reference", "reverses_txn_id.reference"}
OF_THE_LINE = {"record.ragged", "amount_fen.type"}  # in raw_line_override only
LAST_MONTH = date(2026, 7, 25)


def test_every_kind_of_fault_is_labelled(books: duckdb.DuckDBPyConnection) -> None:
    labelled = {k for (k,) in books.execute("select distinct fault_kind from label").fetchall()}
    asked = {f.kind for f in FAULTS} | {
        *("exact_duplicate", "conflict", "corrected_record", "deleted_record", "late_record", "future_updated_at"),
        *("ragged_line", "unparseable_amount", "id_15_digits", "id_full_width", "id_lower_case_x"),
        *("middle_dot_variant", "phone_shared", "name_conflict"),
    }
    assert asked <= labelled


def test_a_label_leads_to_its_record(world: World, books: duckdb.DuckDBPyConnection) -> None:
    for label in world.labels().to_pylist():
        key = json.loads(label["key"])
        assert tuple(sorted(key)) == tuple(sorted(KEYS[label["feed"]]))
        where = " and ".join(f"{c}::varchar is not distinct from ${c}" for c in key)
        shown = "greatest(visible_on, date '2026-08-19') = $day"
        found = books.execute(
            f"select count(*) from {label['feed']} where {where} and {shown}",
            key | {"day": label["business_date"]},
        ).fetchone()
        assert found and found[0] >= 1, label["fault_kind"]


def test_no_window_has_too_many_refusals(books: duckdb.DuckDBPyConnection) -> None:
    for feed in FEEDS:
        shares = books.execute(
            f"""select (select count(*) from label where feed = '{feed}' and expected_fate = 'quarantined'
                        and business_date = day) / count(*)
                from (select greatest(visible_on, date '2026-08-19') as day from {feed}) group by day"""
        ).fetchall()
        assert all(share <= MOST_REFUSED for (share,) in shares), feed


def test_a_broken_line_has_the_columns_of_its_file(world: World) -> None:
    table = world.feed("bank_txn")
    lines = [t for t in table.column("raw_line_override").to_pylist() if t]
    published = len(table.schema.names) - 2
    assert sorted(line.count("|") + 1 for line in lines) == [published, published + 1]


@pytest.fixture(scope="module")
def contracts() -> dict[str, Contract]:
    return load_all(Settings())


@pytest.mark.parametrize("feed", FEEDS)
def test_the_contract_agrees_with_the_labels(
    feed: str, world: World, books: duckdb.DuckDBPyConnection, contracts: dict[str, Contract]
) -> None:
    judged = judge(feed, books, contracts[feed])
    labels = [r for r in world.labels().to_pylist() if r["feed"] == feed]
    refused = {r["key"]: r["expected_rule"] for r in labels if r["expected_fate"] == "quarantined"}
    noted = {r["key"]: r["expected_rule"] for r in labels if r["expected_fate"] == "flag"}
    for key, reasons, warnings in judged:
        rule = refused.get(key, "")
        if rule in NEEDS_OTHER_ROWS | OF_THE_LINE or not rule:
            assert reasons == [], (feed, key, reasons)
        else:
            assert rule in reasons, (feed, rule, reasons)
        if key in noted:
            assert noted[key] in warnings, (feed, noted[key], warnings)
        elif key not in refused:
            assert warnings == [], (feed, key, warnings)


def judge(feed: str, con: duckdb.DuckDBPyConnection, contract: Contract) -> list[tuple[str, list[str], list[str]]]:
    """(key, broken rules, warnings) per record of the last weeks, as the contract's own SQL sees them."""
    old = f"where visible_on >= date '{LAST_MONTH}'" if feed in ("platform_order", "platform_earning_line") else ""
    records = con.execute(f"select *, row_number() over () as row_no from {feed} {old}").to_arrow_table()
    columns: dict[str, pa.Array] = {
        "object_no": pa.array([0] * records.num_rows, pa.int32()),
        "row_no": records["row_no"],
        "parse_error": pa.nulls(records.num_rows, pa.string()),
    }
    for f in contract.fields:
        raw = records[f.name]
        if f.identifier is None:
            columns[f.name] = _text(raw) if f.sealed_to is None else raw
            continue
        found = _judged(f.identifier, raw.combine_chunks().cast(pa.string()))
        columns[f.name + "_verdict"] = found["verdict"]
        columns[f.name + "_token"] = pa.array([_token(v) for v in raw.to_pylist()], pa.binary(16))
        if f.identifier == "citizen_id":
            for part in ("birth_date", "gender", "region"):
                columns[f"{f.name}_{part}"] = found[part]
    key = [json.dumps(k, ensure_ascii=False, sort_keys=True) for k in records.select(KEYS[feed]).to_pylist()] \
        if feed not in ("si_param", "occ_injury_order_day") else [
            json.dumps({n: str(v) for n, v in k.items()}, ensure_ascii=False, sort_keys=True)
            for k in records.select(KEYS[feed]).to_pylist()]  # fmt: skip
    for name_ in ("record_key", "record_hash"):
        columns[name_] = pa.array([_token(k) for k in key], pa.binary(16))
    for f in contract.sealed_fields:
        columns[f.name + "_sealed"] = columns.pop(f.name).cast(pa.binary())
    sealed = pa.table(columns)
    tokens = [c for c in sealed.schema.names if pa.types.is_fixed_size_binary(sealed.schema.field(c).type)]
    as_uuid = ", ".join(f'(hex("{c}"))::uuid as "{c}"' for c in tokens)
    con.register("sealed_raw", sealed)
    con.execute(f"create or replace temp view sealed as select * replace ({as_uuid}) from sealed_raw")
    sql = contract.checks_sql("sealed", "timestamptz '2026-08-22 00:00:00+08'")
    found = con.execute(f"select row_no, _reasons, _warnings from ({sql}) order by row_no").fetchall()
    return [(k, reasons, warnings) for k, (_, reasons, warnings) in zip(key, found, strict=True)]


def _text(raw: pa.ChunkedArray) -> pa.Array:
    if pa.types.is_list(raw.type):
        return pa.array([json.dumps(v) for v in raw.to_pylist()], pa.string())
    if pa.types.is_timestamp(raw.type):
        return pa.array([v.isoformat() for v in raw.to_pylist()], pa.string())
    if pa.types.is_boolean(raw.type):
        return pa.array([None if v is None else str(v).lower() for v in raw.to_pylist()], pa.string())
    return raw.cast(pa.string()).combine_chunks()


def _judged(kind: str, raw: pa.Array) -> pa.Table:
    if kind == "citizen_id":
        return citizen_id.canonical_column(raw, date(2026, 8, 21))
    if kind in JUDGES:
        return JUDGES[kind].canonical_column(raw)
    return pa.table({"verdict": [None if v is None else "ok" for v in raw.to_pylist()]})


def _token(value: object) -> bytes | None:
    return None if value is None else hashlib.md5(str(value).encode(), usedforsecurity=False).digest()
