"""Nothing that a contract, a cell or a name says reaches beyond the bench (X11)."""

from __future__ import annotations

import dataclasses
import stat
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from sealed_rows import BUSINESS_DATE, WINDOW_END, sealed

from pipelines.checks import Bench
from pipelines.checks.connection import discard, locked
from pipelines.contracts import Contract, Rule
from pipelines.errors import Bug, ContractBroken, SancheError
from pipelines.settings import Settings


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM glob('/*')",
        "ATTACH '{0}/other.db'",
        "COPY (SELECT 1) TO '{0}/out.csv'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "SET temp_directory = '/tmp'",
        "SELECT * FROM read_csv('http://127.0.0.1:1/x')",
    ],
)
def test_X11_the_connection_and_its_cursors_are_locked(hub: Settings, tmp_path: Path, sql: str) -> None:
    con, spill = locked(hub)
    for each in (con, con.cursor()):
        with pytest.raises(duckdb.Error):
            each.execute(sql.format(tmp_path))
    assert stat.S_IMODE(spill.stat().st_mode) == 0o700
    discard(con, spill)
    assert not spill.exists()


def with_rule(contract: Contract, sql: str) -> Contract:
    return dataclasses.replace(contract, rules=(Rule("O-999", "reject", sql, "Smuggled past the reader."),))


def test_X11_a_rule_that_got_past_the_reader_still_reads_no_file(
    hub: Settings, contracts: dict[str, Contract]
) -> None:
    contract = with_rule(contracts["platform_order"], "(SELECT content FROM read_text('/etc/passwd')) = 'x'")
    with Bench(contract, hub, WINDOW_END, BUSINESS_DATE) as bench, pytest.raises(SancheError) as caught:
        bench.load(sealed(contract, [{}]))
    assert "root:" not in str(caught.value)


def test_a_rule_that_compares_a_date_with_a_number_is_the_contracts_fault(
    hub: Settings, contracts: dict[str, Contract]
) -> None:
    contract = with_rule(contracts["platform_order"], '"created_at" <= "distance_m"')
    with Bench(contract, hub, WINDOW_END, BUSINESS_DATE) as bench, pytest.raises(ContractBroken, match="compared"):
        bench.load(sealed(contract, [{}]))


def test_X11_hostile_column_names_are_left_out(hub: Settings, contracts: dict[str, Contract]) -> None:
    contract = contracts["platform_order"]
    table = sealed(contract, [{}])
    for name in ('"; DROP TABLE judged; --', "judged", "_reasons", "\x00", "updated_at "):
        table = table.append_column(name, pa.array(["x"]))
    with Bench(contract, hub, WINDOW_END, BUSINESS_DATE) as bench:
        assert bench.load(table) == 1
        assert bench.scan().accepted == 1


def test_X11_cells_are_data(hub: Settings, contracts: dict[str, Contract]) -> None:
    contract = contracts["platform_order"]
    cells = ["'); DROP TABLE judged; --", "{{7*7}}", "$window_end", "=cmd|'/C calc'!A0", "\\'", "%s", "\x00"]
    with Bench(contract, hub, WINDOW_END, BUSINESS_DATE) as bench:
        bench.load(sealed(contract, [{"order_type": cell} for cell in cells]))
        bench.scan()
        assert bench.accepted().read_all()["order_type"].to_pylist() == cells


def test_memory_that_does_not_suffice_is_said_without_a_value(
    hub: Settings, contracts: dict[str, Contract]
) -> None:
    contract = contracts["platform_order"]
    small = hub.model_copy(update={"memory_limit": "12MB"})
    table = sealed(contract, [{"order_type": "机密" * 15}] * 3_000)
    with Bench(contract, small, WINDOW_END, BUSINESS_DATE) as bench, pytest.raises(Bug) as caught:
        bench.load(pa.concat_tables([table] * 20))
    assert "机密" not in str(caught.value)
    assert "OutOfMemory" in str(caught.value)
    assert caught.value.__cause__ is None
