"""What whoever builds on the province relies on: repeatable, complete, and with money that adds up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from pipelines.errors import Usage
from pipelines.province import World, generate
from pipelines.province.archetypes import SCENARIOS

FIRST = date(2026, 8, 19)
MONTHS_13_BEFORE = "2025-07-19"


def rows(con: duckdb.DuckDBPyConnection, sql: str) -> list[tuple]:
    return con.execute(sql).fetchall()


def test_same_seed_same_bytes(small_world: Callable[..., World]) -> None:
    first, again = small_world("a"), small_world("b")
    files = sorted(p.relative_to(first.path) for p in first.path.rglob("*.*"))
    assert files == sorted(p.relative_to(again.path) for p in again.path.rglob("*.*"))
    assert [(first.path / f).read_bytes() for f in files] == [(again.path / f).read_bytes() for f in files]


def test_another_seed_gives_other_people(small_world: Callable[..., World]) -> None:
    one, two = small_world("a", seed=1), small_world("b", seed=2)
    assert not set(one.persons()["id_no"].to_pylist()) & set(two.persons()["id_no"].to_pylist())


def test_an_empty_province_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Usage):
        generate(seed=1, persons=0, first_date=FIRST, nights=1, out=tmp_path)


def test_a_world_opens_again_as_it_was_made(world: World) -> None:
    assert World.open(world.path) == world
    assert all(world.feed(feed).num_rows == world.rows[feed] for feed in world.feeds())


def test_every_record_is_shown_in_a_window_of_the_world(world: World, books: duckdb.DuckDBPyConnection) -> None:
    for feed in world.feeds():
        first, last = rows(books, f"select min(visible_on)::varchar, max(visible_on)::varchar from {feed}")[0]
        assert first >= MONTHS_13_BEFORE and last <= "2026-08-21", feed


def test_only_a_clock_that_runs_ahead_is_not_shown_on_its_day(
    world: World, books: duckdb.DuckDBPyConnection
) -> None:
    for feed in world.feeds():
        differ = f"select count(*) from {feed} where updated_at::timestamptz::date <> visible_on"
        labelled = f"select count(*) from label where fault_kind = 'future_updated_at' and feed = '{feed}'"
        assert rows(books, differ) == rows(books, labelled), feed


def test_a_version_of_a_record_is_there_once_unless_labelled(
    world: World, books: duckdb.DuckDBPyConnection
) -> None:
    from pipelines.province.feeds import KEYS

    for feed in world.feeds():
        key = ", ".join(KEYS[feed])
        twice = f"select count(*) from (select {key}, updated_at from {feed} group by all having count(*) > 1)"
        labelled = (
            f"select count(distinct key) from label where feed = '{feed}' "
            "and fault_kind in ('exact_duplicate', 'conflict')"
        )
        assert rows(books, twice) == rows(books, labelled), feed


CLEAN_LINES = """
    (select distinct * from platform_earning_line l where not exists (
        from label where feed = 'platform_earning_line' and expected_fate = 'quarantined'
        and (key->>'line_id') = l.line_id))
"""


def test_a_settlement_is_the_sum_of_its_lines(books: duckdb.DuckDBPyConnection) -> None:
    differing = rows(
        books,
        f"""select s.settlement_id from platform_settlement s left join {CLEAN_LINES} l
            on l.platform_code = s.platform_code and l.platform_worker_id = s.platform_worker_id
            and l.booked_at[:10] between s.period_start and s.period_end
            where s.settlement_id not like 'SZZ%'
            group by s.settlement_id, s.status, s.net_fen, s.gross_fen, s.deductions_fen
            having sum(l.amount_fen) <> s.net_fen or s.gross_fen - s.deductions_fen <> s.net_fen""",
    )
    assert differing == []


def test_every_line_that_is_booked_is_settled_once_its_period_is_over(books: duckdb.DuckDBPyConnection) -> None:
    left_over = rows(
        books,
        f"""select count(*) from {CLEAN_LINES} l
            anti join platform_settlement s
            on l.platform_code = s.platform_code and l.platform_worker_id = s.platform_worker_id
            and l.booked_at[:10] between s.period_start and s.period_end
            where l.booked_at < '2026-07-31'""",
    )
    assert left_over == [(0,)]


def test_a_payout_arrives_at_the_bank_from_the_platforms_payer(books: duckdb.DuckDBPyConnection) -> None:
    lost = rows(
        books,
        """select count(*) from platform_settlement s anti join bank_txn t
           on t.txn_id = s.bank_ref and t.amount_fen = s.net_fen and t.account_no = s.payee_account_no
           and t.direction = 'credit'
           and t.posted_at::timestamptz - s.paid_at::timestamptz between interval 0 day and interval 3 day
           where s.bank_ref is not null and s.settlement_id not like 'SZZ%'""",
    )
    assert lost == [(0,)]
    unmatched = rows(
        books,
        """select count(*) from platform_settlement where status = 'paid' and bank_ref is null
           and pay_channel = 'bank' and paid_at < '2026-08-15'
           and payee_account_no in (select account_no from bank_account)""",
    )
    assert unmatched[0][0] < 400  # those that were paid in two parts
    payers = {r["payer_uscc"] for r in _platforms()}
    paid_by = rows(books, "select distinct counterparty_uscc from bank_txn where summary = '服务费结算'")
    assert {uscc for (uscc,) in paid_by if uscc} <= payers


def _platforms() -> list[dict[str, str]]:
    import csv

    from pipelines.province.bank import PLATFORM_CSV

    return list(csv.DictReader(PLATFORM_CSV.open(encoding="utf-8")))


def test_all_payouts_of_a_week_arrive_whether_whole_split_or_together(tmp_path: Path) -> None:
    """Four months before the end everything that was paid to a bank the world knows has arrived, to the fen."""
    made = generate(seed=3, persons=60, first_date=FIRST, nights=0, out=tmp_path)
    con = duckdb.connect()
    paid, arrived = (
        con.execute(sql).fetchone()
        for sql in (
            f"""select sum(net_fen) from '{made.path}/feeds/platform_settlement.parquet'
                where status = 'paid' and settlement_id not like 'SZZ%' and paid_at < '2026-08-03'
                and payee_account_no in (select account_no from '{made.path}/feeds/bank_account.parquet')""",
            f"""select sum(amount_fen) from (select distinct * from '{made.path}/feeds/bank_txn.parquet')
                where purpose_code = 'platform_payout' and direction = 'credit' and posted_at < '2026-08-06'
                and posted_at::timestamptz - interval 1 day < '2026-08-20'""",
        )
    )
    assert paid and arrived and abs(arrived[0] / paid[0] - 1) < 0.02


def test_balances_follow_from_the_movements(books: duckdb.DuckDBPyConnection) -> None:
    assert rows(books, "select count(*) from bank_txn where balance_after_fen < 0") == [(0,)]


def test_cover_is_counted_as_the_orders_accepted_that_day(books: duckdb.DuckDBPyConnection) -> None:
    differing = rows(
        books,
        """with cover as (
               select o.platform_code, w.platform_worker_id, cover_date, sum(order_count) n
               from occ_injury_order_day o
               join (select distinct platform_code, platform_worker_id, upper(id_no) as id_no
                     from platform_worker) w
               on w.id_no = o.id_no and w.platform_code = o.platform_code
               where not exists (from label where feed = 'occ_injury_order_day' and (key->>'id_no') = o.id_no)
               group by all),
           orders as (
               select platform_code, platform_worker_id, accepted_at[:10]::date as cover_date,
                      count(distinct order_id) n
               from platform_order
               where sector in ('trip', 'instant_delivery', 'intracity_freight') and accepted_at >= '2026-07-01'
               and order_id not like 'ZZ%' group by all)
           select * from cover full join orders using (platform_code, platform_worker_id, cover_date)
           where cover.n is distinct from orders.n""",
    )
    assert differing == []


def test_every_archetype_and_every_outcome_is_there_with_forty_persons(books: duckdb.DuckDBPyConnection) -> None:
    there = {a for (a,) in rows(books, "select distinct archetype from person")}
    assert {a.key for a in SCENARIOS} <= there
    both = {"REVIEW", "INSUFFICIENT_DATA", "INELIGIBLE", "NO_LIVE_CONSENT"}
    for product, details in (("C1", ("A", "B", "C")), ("I1", ("top_up", "full"))):
        found = set(rows(books, f"select distinct outcome, detail from expected where product = '{product}'"))
        granted = {("ELIGIBLE", d) for d in details} | {("ELIGIBLE_WITH_CONDITIONS", details[0])}
        assert granted | {(outcome, "") for outcome in both} <= found, product
    reasons = {r for (r,) in rows(books, "select distinct reason from expected where reason <> ''")}
    assert {f"R20{n}" for n in (1, 2, 3, 4, 6, 7)} | {"R301", "R302", "R303"} <= reasons


def test_a_withdrawal_ends_what_was_allowed_the_night_before(books: duckdb.DuckDBPyConnection) -> None:
    nights = rows(
        books,
        """select business_date::varchar, outcome from expected
           where archetype = 'withdraws' and product = 'C1' order by 1""",
    )
    assert nights[0] == ("2026-08-19", "ELIGIBLE")
    assert nights[-1] == ("2026-08-21", "NO_LIVE_CONSENT")


@pytest.mark.slow
def test_a_million_orders_in_seconds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import time

    begun = time.perf_counter()
    made = generate(seed=20260819, persons=240, first_date=FIRST, nights=2, out=tmp_path)
    with capsys.disabled():
        print(f"\n{made.rows['platform_order']:,} orders in {time.perf_counter() - begun:.1f} s")
    assert 800_000 <= made.rows["platform_order"] <= 1_200_000
    lines = pq.read_metadata(made.path / "feeds" / "platform_earning_line.parquet").num_rows
    assert 1.0 <= lines / made.rows["platform_order"] <= 1.5
