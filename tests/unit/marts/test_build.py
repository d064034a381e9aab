"""Marts in the lake: one commit a night, persons for ever, the same answer when asked again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import duckdb
import pytest

from pipelines.contracts import read_yaml
from pipelines.lake import Lake
from pipelines.marts import build
from pipelines.settings import Settings

from .drawn import CONTRACTS, Drawing, Landed, insert, token

FIRST, SECOND = date(2026, 8, 19), date(2026, 8, 20)
WORKERS = """
    worker | person | first_order_at
    W1     | Wang   | 2026-03-05 11:00
    W2     | Li     | 2026-03-05 11:00
"""
ORDERS = """
    worker | accepted_at
    W1     | 2026-08-18 12:00
    W2     | 2026-08-18 12:00
"""


class Hub:
    """A lake into which drawn batches land."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.lake = Lake.attach(settings)

    def land(self, feed: str, table: str, on: date) -> None:
        rows = Landed(on).rows(feed, table)
        batch = f"{feed}-{on:%Y%m%d}-{len(rows)}"
        with self.lake.commit(step="land", business_date=on) as commit:
            commit.execute(CONTRACTS[feed].landed_ddl())
            for row in rows:
                insert(commit.con, f"landed.{feed}", row | {"batch_id": batch})
            commit.execute(
                "insert into control.batch (batch_id, feed, feed_version, business_date, window_from, window_to, "
                "kind, objects, physical, control_records, landed, quarantined, duplicates, not_kept, "
                "fen_provable, fate) "
                "values (?, ?, '1', ?, ?, ?, 'window', 1, 1, 0, ?, 0, 0, 0, true, 'landed')",
                [batch, feed, on, on, on, len(rows)],
            )

    def build(self, on: date) -> Any:
        return build(settings=self.settings, lake=self.lake, business_date=on)

    def one(self, sql: str) -> Any:
        return self.lake.rows(sql)[0][0]


@pytest.fixture
def filled(hub: Settings) -> Iterator[Hub]:
    made = Hub(hub)
    made.land("platform_worker", WORKERS, FIRST)
    made.land("platform_order", ORDERS, FIRST)
    yield made
    made.lake.close()


def test_run_again_nothing_changes(filled: Hub) -> None:
    first = filled.build(FIRST)
    assert (first.fate, first.counts["person"], first.counts["features"]) == ("built", 2, 2)
    snapshot = filled.lake.snapshot()
    assert filled.build(FIRST).fate == "unchanged"
    assert filled.lake.snapshot() == snapshot
    assert filled.one("select count(*) from ledger.entry where stream = 'marts'") == 1


def test_a_person_keeps_the_same_random_id_every_night(filled: Hub) -> None:
    filled.build(FIRST)
    known = dict(filled.lake.rows("select id_token, person_id from marts.person_key"))
    filled.land("platform_worker", "worker | person\n W3 | Zhao", SECOND)
    assert filled.build(SECOND).counts["persons_new"] == 1
    later = dict(filled.lake.rows("select id_token, person_id from marts.person_key"))
    assert {key: later[key] for key in known} == known
    assert len(set(later.values())) == 3
    assert token("citizen_id", "Zhao") not in later.values(), "an id tells nothing of the number"


def test_features_of_every_night_stay(filled: Hub) -> None:
    filled.build(FIRST)
    filled.land("platform_order", "worker | accepted_at\n W1 | 2026-08-20 12:00", SECOND)
    filled.build(SECOND)
    found = filled.lake.rows(
        "select as_of, orders_day from marts.features join marts.person_link using (person_id) "
        f"where id_token = '{token('citizen_id', 'Wang')}' order by as_of"
    )
    assert found == [(date(2026, 8, 20), 0), (date(2026, 8, 21), 1)]


def test_an_older_night_built_again_changes_its_own_features_only(filled: Hub) -> None:
    filled.build(FIRST)
    filled.land("platform_order", "worker | accepted_at\n W1 | 2026-08-20 12:00", SECOND)
    filled.build(SECOND)
    newest = filled.lake.rows("select * from marts.earning_day order by all")
    filled.land("platform_order", "worker | accepted_at\n W2 | 2026-08-19 12:00", FIRST)
    assert filled.build(FIRST).fate == "built"
    assert filled.lake.rows("select * from marts.earning_day order by all") == newest
    assert filled.one("select max(orders_day) from marts.features where as_of = '2026-08-20'") == 1
    # The newest night was built without that batch, so it is not "unchanged" either.
    assert filled.build(SECOND).fate == "built"


def test_two_nights_at_once_give_nobody_two_ids(filled: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process builds, and names the same new persons, while this one has read and not yet committed."""
    from pipelines.marts import derive

    filled.land("platform_order", "worker | accepted_at\n W1 | 2026-08-20 12:00", SECOND)
    really, builds = derive.derive, []

    def overtaken(con: duckdb.DuckDBPyConnection, night: derive.Night) -> Any:
        builds.append(night.known_at)
        made = really(con, night)
        if len(builds) == 1:
            with Lake.attach(filled.settings) as other:
                build(settings=filled.settings, lake=other, business_date=SECOND)
        return made

    monkeypatch.setattr(derive, "derive", overtaken)
    assert filled.build(FIRST).fate == "built"
    assert builds == [FIRST, SECOND, FIRST]
    assert filled.one("select count(distinct person_id) from marts.person_key") == 2
    assert filled.one("select count(distinct person_id) from marts.features") == 2
    assert filled.one("select max(service_date) from marts.earning_day") == SECOND, "the newest date is shown"


def test_another_definition_is_another_build(filled: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    filled.build(FIRST)
    monkeypatch.setattr("pipelines.marts.sql_files.fingerprint", lambda: "another")
    assert filled.build(FIRST).fate == "built"


def test_a_failure_leaves_the_marts_as_they_were(filled: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    filled.build(FIRST)
    before = filled.lake.rows("select * from marts.features order by all")
    filled.land("platform_worker", "worker | person\n W3 | Zhao", SECOND)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("crash before the commit")

    with monkeypatch.context() as broken:
        broken.setattr("pipelines.ledger.append", fail)
        with pytest.raises(RuntimeError):
            filled.build(SECOND)
    assert filled.lake.rows("select * from marts.features order by all") == before
    assert filled.one("select count(*) from marts.person_key") == 2
    assert filled.build(SECOND).fate == "built"


def test_order_of_landed_rows_does_not_matter() -> None:
    """The same rows shuffled give the same marts, but for the persons' random ids."""

    def features(rows: list[dict[str, str]]) -> list[tuple[Any, ...]]:
        world = Drawing(FIRST)
        world.land("platform_worker", WORKERS)
        world.land("platform_earning_line", rows)
        world.derive(SECOND)
        return sorted(world.con.execute("select * exclude (person_id) from marts.features").fetchall(), key=str)

    lines = [
        {
            "line": f"L{n}",
            "worker": f"W{n % 2 + 1}",
            "service_date": f"2026-0{n % 5 + 3}-1{n % 9}",
            "amount_fen": str(n * 977),
        }
        for n in range(60)
    ]
    assert features(lines) == features(lines[::-1])


def test_no_figure_is_ever_nan_or_infinite() -> None:
    """0/0 is NaN in DuckDB, and NaN passes every `>=`."""
    world = Drawing(FIRST)
    world.land("platform_worker", WORKERS)
    world.land("bank_obligation", "person | monthly_due_yuan\n Wang | 100\n Li | 0")
    world.land("platform_earning_line", [
        {"worker": worker, "service_date": f"2026-0{month}-10", "amount_fen": amount}
        for worker, amounts in (("W1", ["100", "-100"] * 3), ("W2", ["0"] * 6))
        for month, amount in zip(range(2, 8), amounts, strict=True)
    ])  # fmt: skip
    world.derive(SECOND)
    assert _bad_doubles(world.con) == []
    assert world.con.execute("select dsr_p25 from marts.features order by dsr_p25").fetchall() == [(0.0,), (99.0,)]


def _bad_doubles(con: duckdb.DuckDBPyConnection) -> list[str]:
    doubles = con.execute(
        "select table_name, column_name from duckdb_columns() where schema_name in ('marts', 'stage') "
        "and data_type = 'DOUBLE'"
    ).fetchall()
    bad = []
    for table, column in doubles:
        schema = "marts" if con.execute(
            "select count(*) from duckdb_tables() where schema_name = 'marts' and table_name = ?", [table]
        ).fetchone() == (1,) else "stage"  # fmt: skip
        row = con.execute(f"select count(*) from {schema}.{table} where not isfinite({column})").fetchone()
        if row != (0,):
            bad.append(f"{schema}.{table}.{column}")
    return bad


def test_the_dictionaries_describe_every_column_of_every_mart() -> None:
    world = Drawing(FIRST)
    world.land("platform_worker", WORKERS)
    world.derive(SECOND)
    kinds = {"VARCHAR": "text"}
    described, found = {}, {}
    for path in sorted((Settings().schemas / "marts").glob("*.odcs.yaml")):
        table = read_yaml(path)["schema"][0]
        described[table["name"]] = [(column["name"], column["physicalType"]) for column in table["properties"]]
        assert all(column["description"] for column in table["properties"])
    for table, column, kind in world.con.execute(
        "select table_name, column_name, data_type from duckdb_columns() where schema_name = 'marts' "
        "order by table_name, column_index"
    ).fetchall():
        found.setdefault(table, []).append((column, kinds.get(kind, kind.lower())))
    assert found == described


def test_every_sql_file_says_its_grain_and_inputs() -> None:
    from pipelines.marts import sql_files

    for file in sql_files.all_files():
        head = [line for line in file.text.splitlines() if line.startswith("--")]
        assert head[0].startswith(f"-- {file.table}: "), file.table
        said = " ".join(head)
        for read in file.reads - {file.table}:
            assert read in said or read.split(".")[1] in said or "landed.*" in said or "stage.*" in said, (
                file.table,
                read,
            )
