"""A social-insurance window from a real PostgreSQL."""

from __future__ import annotations

import pyarrow as pa
import pytest
from asking import COVER_DAYS, PARAMETERS, connection, contract, request

from pipelines.errors import Refused, SourceBroken, SourceBusy, TotalsDiffer
from pipelines.province.servers.child import free_port
from pipelines.sources import sql_database
from pipelines.sources.connections import Connection
from pipelines.sources.sql_database import SqlDatabase


def tables(objects):
    return [pa.ipc.open_stream(item.content).read_all() for item in objects]


def test_a_window_comes_whole_in_parts_of_even_size(agencies, monkeypatch):
    monkeypatch.setattr(sql_database, "OBJECT_ROWS", 70)
    source = SqlDatabase(request(PARAMETERS, connection(agencies, "social_insurance")))
    objects = list(source.objects())
    got = tables(objects)
    # 300 parameters, one an hour from 10 August 08:00; the window ends with 19 August: 232 of them.
    assert [table.num_rows for table in got] == [70, 70, 70, 22]
    assert [item.declared_records for item in objects] == [70, 70, 70, 22]
    assert source.totals.declared_records == 232
    sectors = pa.concat_tables(got).column("sector").to_pylist()
    assert sectors == [f"S{n}" for n in range(232)]


def test_the_same_rows_are_the_same_bytes(agencies):
    asked = request(PARAMETERS, connection(agencies, "social_insurance"))
    once, again = ([item.content for item in SqlDatabase(asked).objects()] for _ in range(2))
    assert once == again


def test_the_database_sums_the_money_itself(agencies):
    source = SqlDatabase(request(COVER_DAYS, connection(agencies, "social_insurance")))
    (only,) = source.objects()
    assert (only.declared_records, only.declared_fen, source.totals.declared_fen) == (50, 50 * 18, 50 * 18)


def test_a_window_without_rows_is_one_empty_part(agencies):
    from datetime import date

    from pipelines.calendar import Window

    far = Window(date(2027, 1, 1), date(2027, 1, 2))
    (only,) = SqlDatabase(request(PARAMETERS, connection(agencies, "social_insurance"), window=far)).objects()
    assert (only.declared_records, tables([only])[0].num_rows) == (0, 0)


def test_rows_that_were_counted_and_did_not_come(agencies, monkeypatch):
    monkeypatch.setattr(SqlDatabase, "_declared", lambda *_: {1: (233, None)})
    with pytest.raises(TotalsDiffer, match="232 rows came, 233"):
        list(SqlDatabase(request(PARAMETERS, connection(agencies, "social_insurance"))).objects())


def test_S13_a_column_that_is_gone_is_named_by_its_kind(agencies):
    drifted = contract(
        "si_param", "si.param", "sql_database", "social_insurance", columns=["region", "floor"], key=["region"]
    )
    with pytest.raises(SourceBroken, match="a column of the contract is not there"):
        list(SqlDatabase(request(drifted, connection(agencies, "social_insurance"))).objects())


def test_a_name_that_is_no_name_never_reaches_the_database(agencies):
    hostile = contract("si_param", 'si.param"; drop table x; --', "sql_database", "social_insurance")
    with pytest.raises(SourceBroken, match="no plain SQL name"):
        list(SqlDatabase(request(hostile, connection(agencies, "social_insurance"))).objects())


def test_wrong_password_is_refused_without_showing_it(agencies):
    with pytest.raises(Refused) as refused:
        wrong = connection(agencies, "social_insurance", password="hunter2-hunter2")
        list(SqlDatabase(request(PARAMETERS, wrong)).objects())
    assert "hunter2" not in str(refused.value)


def test_an_agency_that_is_down_is_busy():
    nowhere = Connection("social_insurance", "127.0.0.1", free_port(), "hub", "s3cret", {"sslmode": "disable"})
    with pytest.raises(SourceBusy, match="no connection"):
        list(SqlDatabase(request(PARAMETERS, nowhere)).objects())


def test_another_machine_needs_a_checked_certificate():
    elsewhere = Connection("social_insurance", "db.example", 5432, "hub", "s3cret", {"sslmode": "require"})
    with pytest.raises(Refused, match="checked certificate"):
        list(SqlDatabase(request(PARAMETERS, elsewhere)).objects())
