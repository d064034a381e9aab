"""Decide whether a batch may land: one expectation per rule, and a few about the batch as a whole.

Promises: the same batch gets the same gate, word for word; nothing in it is a value of a record.
Refuses:  to let a batch through that could not be judged (Bug).
Not here: single rows, which are quarantined one by one whatever the gate says (bench.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from pipelines.contracts.row_checks import PARSE_ERRORS, literal, quoted

if TYPE_CHECKING:
    import duckdb

    from pipelines.checks.bench import Bench
    from pipelines.contracts import Contract

SHARE_MATTERS_FROM = 200  # rows; under this, one bad row may be more than any share that a contract allows
ALL_MATTERS_FROM = 20  # rows; under this, every row alike is no sign that a column is gone or zeroed


@dataclass(frozen=True, slots=True)
class Demand:
    """What one rule asks of the batch: at least `mostly` of its rows keep the rule.

    column: SQL boolean over the view `fates`, TRUE = kept. severity: critical holds the batch, warning does not.
    fault: what is wrong when a demand on the whole batch is not met.
    """

    id: str
    severity: str
    description: str
    column: str
    mostly: float
    fault: str = ""

    def says(self, broken: int, rows: int) -> str:
        if self.fault:
            return f"{self.id}: {self.fault}"
        share, allowed = 100 * broken / max(rows, 1), 100 * (1 - self.mostly)
        return (
            f"{self.id}: {self.description} {broken:,} of {rows:,} rows ({share:.1f} %) do not; "
            f"the contract allows {allowed:.0f} %"
        )


@dataclass(frozen=True, slots=True)
class Gate:
    """The decision. reasons: sentences for people, [] when it is open.

    results: what control.batch keeps (counts per broken rule); validation: the full Great Expectations result for
    the Data Docs, {} if GX was not asked. Both are JSON-able and free of times and values.
    """

    feed: str
    title: str
    grain: str
    held: bool
    reasons: tuple[str, ...]
    results: dict[str, Any]
    validation: dict[str, Any] = field(default_factory=dict)


def judge(bench: Bench, con: duckdb.DuckDBPyConnection, *, gx: bool) -> Gate:
    """The gate of a scanned bench. gx=False computes the same from plain SQL, quickly and without the docs."""
    demands = _demands(bench, con)
    least, most = _rows_wanted(bench)
    rows = bench.counts.rows
    columns = ",\n  ".join(f"{demand.column} AS {quoted(demand.id)}" for demand in demands)
    con.execute(f"CREATE OR REPLACE VIEW verdict AS SELECT record_key,\n  {columns}\nFROM fates")
    if gx:
        broken, failed, validation = _ask_gx(bench.contract.feed, con, demands, least, most, bench.business_date)
    else:
        broken, failed, validation = *_ask_sql(con, demands, rows), {}
        if not least <= rows <= (rows if most is None else most):
            failed.add("volume.rows")
    critical = {d.id for d in demands if d.severity == "critical"} | {"volume.rows"}
    reasons = [d.says(broken[d.id], rows) for d in demands if d.id in failed & critical]
    if "volume.rows" in failed:
        span = f"{least:,} or more" if most is None else f"{least:,} to {most:,}"
        reasons.insert(0, f"volume.rows: {rows:,} rows came; {span} are expected on such a night")
    results = {
        "held": bool(reasons),
        "reasons": reasons,
        "rows": rows,
        "evaluated": len(demands) + 1,
        "broken": {d.id: broken[d.id] for d in demands if broken[d.id] and not d.id.startswith("volume.")},
        "warned": sorted(failed - critical),
    }
    contract = bench.contract
    return Gate(contract.feed, contract.title, contract.grain, bool(reasons), tuple(reasons), results, validation)


def _rows_wanted(bench: Bench) -> tuple[int, int | None]:
    contract = bench.contract
    least, most = (0 if bench.first_load else contract.min_rows_nightly), None
    if bench.usual_rows is not None and bench.usual_rows >= SHARE_MATTERS_FROM and not bench.first_load:
        least = max(least, int(bench.usual_rows * contract.min_usual_share))
        most = max(1, int(bench.usual_rows * contract.max_usual_share))
    return least, most


def _demands(bench: Bench, con: duckdb.DuckDBPyConnection) -> list[Demand]:
    contract, rows = bench.contract, bench.counts.rows
    allowed = 1 - contract.max_rejected_share if rows >= SHARE_MATTERS_FROM else 0.0
    # A required column that is empty, or of another type, in every single row is gone, not bad (S13).
    gone = max(allowed, 1 / rows if rows >= ALL_MATTERS_FROM else 0.0)
    demands = [
        Demand(
            "record.accepted", "critical", "Rows keep every rule that rejects.", "fate <> 'quarantined'", allowed
        )
    ]
    for check in contract.row_checks():
        may_be_gone = check.id.endswith((".required", ".type", ".readable"))
        demands.append(
            Demand(
                check.id,
                "warning" if check.severity == "warn" else "critical",
                check.description,
                _kept(contract, check.id, check.severity),
                1.0 if check.severity == "hold" else gone if may_be_gone else allowed,
            )
        )
    for id, description in _between_rows(contract):
        demands.append(Demand(id, "critical", description, _kept(contract, id, "reject"), allowed))
    return demands + _of_the_batch(bench, con)


def _between_rows(contract: Contract) -> list[tuple[str, str]]:
    found = [("record.conflict", "A version of a record has one content.")]
    for f in contract.reference_fields:
        found.append((f"{f.name}.reference", f"{f.name} ({f.label_zh}) points at a record that is known."))
    return found


def _kept(contract: Contract, id: str, severity: str) -> str:
    name, _, kind = id.rpartition(".")
    verdict = quoted(name + "_verdict")
    if kind == "verdict" and name in contract.by_name:
        return f"COALESCE(starts_with({verdict}, 'ok'), TRUE)"
    if kind == "noted" and name in contract.by_name:
        return f"COALESCE(NOT starts_with({verdict}, 'ok_'), TRUE)"
    column = "_warnings" if severity == "warn" else "reasons"
    listed = f"list_contains({column}, {literal(id)})"
    if id == "record.readable":
        every = ", ".join(literal("record." + error) for error in (*PARSE_ERRORS, "unreadable"))
        listed = f"list_has_any({column}, [{every}])"
    return f"CASE WHEN len({column}) = 0 THEN TRUE ELSE NOT {listed} END"


def _of_the_batch(bench: Bench, con: duckdb.DuckDBPyConnection) -> list[Demand]:
    """One answer for the whole batch, so the same in every row."""
    contract, rows = bench.contract, bench.counts.rows
    demands = []
    if contract.money_field is not None:
        amounts, zeros = con.execute(
            "SELECT count(_money_fen), count(*) FILTER (_money_fen = 0) FROM judged"
        ).fetchall()[0]
        fine = amounts < ALL_MATTERS_FROM or zeros < amounts
        name = contract.money_field
        demands.append(_on_the_whole("volume.money", fine, f"Not every {name} is zero.", f"every {name} is zero"))
    if contract.max_age_days is not None:
        newest = con.execute("SELECT max(epoch_us(source_updated_at)) FROM judged").fetchall()[0][0]
        oldest_allowed = bench.window_end - timedelta(days=contract.max_age_days)
        fine = rows < SHARE_MATTERS_FROM or (
            newest is not None and newest >= oldest_allowed.timestamp() * 1_000_000
        )
        newer = f"in the batch is newer than {contract.max_age_days} days before the window's end"
        demands.append(_on_the_whole("volume.fresh", fine, f"Something {newer}.", f"nothing {newer}"))
    return demands


def _on_the_whole(id: str, fine: bool, description: str, fault: str) -> Demand:
    return Demand(id, "critical", description, "TRUE" if fine else "FALSE", 1.0, fault)


def _ask_sql(con: duckdb.DuckDBPyConnection, demands: list[Demand], rows: int) -> tuple[dict[str, int], set[str]]:
    sums = ", ".join(f"count(*) FILTER (NOT {quoted(d.id)})" for d in demands)
    found = con.execute(f"SELECT {sums} FROM verdict").fetchall()[0]
    broken = {d.id: int(n) for d, n in zip(demands, found, strict=True)}
    return broken, {d.id for d in demands if rows and (rows - broken[d.id]) / rows < d.mostly}


def _ask_gx(
    feed: str,
    con: duckdb.DuckDBPyConnection,
    demands: list[Demand],
    least: int,
    most: int | None,
    business_date: date,
) -> tuple[dict[str, int], set[str], dict[str, Any]]:
    # 5 s and 270 MB, so only where a batch is judged (and once, in the warm template of launch.py).
    from pipelines.checks.gx_duckdb import row_count_between, true_in_most, validate

    suite = [true_in_most(d.id, d.mostly, d.severity, d.description) for d in demands]
    suite.append(
        row_count_between(least, most, "volume.rows", "The batch has as many rows as such a night brings.")
    )
    answer = validate(con, relation="verdict", suite=feed, expectations=suite)
    broken: dict[str, int] = {}
    failed: set[str] = set()
    for one in answer["results"]:
        rule = one["expectation_config"]["meta"]["rule"]
        broken[rule] = int(one["result"].get("unexpected_count") or 0)
        if not one["success"]:
            failed.add(rule)
    return broken, failed, _timeless(answer, feed, business_date)


def _timeless(answer: dict[str, Any], feed: str, business_date: date) -> dict[str, Any]:
    """The GX result without clocks and random ids, so that a rerun stores the same bytes."""
    for one in answer["results"]:
        one["expectation_config"].pop("id", None)
        one["expectation_config"]["kwargs"].pop("batch_id", None)
    return {
        "success": answer["success"],
        "suite_name": feed,
        "suite_parameters": {},
        "statistics": answer["statistics"],
        "meta": {"business_date": business_date.isoformat()},
        "results": answer["results"],
    }
