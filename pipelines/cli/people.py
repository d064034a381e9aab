"""Commands for analysts, clerks and institutions: sql, explain, receive."""

from __future__ import annotations

import json as jsonlib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from pipelines.cli.options import Date, Home, Json, business_date, settings
from pipelines.errors import SancheError, Usage

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.lake import Lake


def register(app: typer.Typer) -> None:
    """Add this module's commands to the application."""
    for command in (sql, explain, receive):
        app.command(command.__name__)(command)


def sql(
    query: Annotated[
        str, typer.Argument(help="One SELECT over landed, quarantine, marts, decisions, control, ledger.")
    ],
    rows: Annotated[int, typer.Option(min=1, help="Show at most this many rows.")] = 40,
    csv: Annotated[
        bool, typer.Option("--csv", help="Write CSV; cells that a spreadsheet would run are neutralised.")
    ] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Ask the lake in SQL, read-only.

    sanche sql "select outcome, count(*) from decisions.decision group by all"
    sanche sql "from control.watermark"
    sanche sql "show all tables"
    """
    from pipelines.lake import Lake

    _refuse_all_but_reading(query)
    with Lake.attach(settings(), read_only=True) as lake:
        lake.confine()
        table = _answer(lake, query)
    if json:
        for row in table.to_pylist():
            print(jsonlib.dumps(row, default=str, ensure_ascii=False))
    elif csv:
        _write_csv(table)
    else:
        _show(table, rows)


# Maintenance functions change the lake even from a SELECT; its catalog holds the least and largest values.
_NOT_FOR_READERS = re.compile(r"\bducklake_\w+\s*\(|__ducklake", re.IGNORECASE)


def _refuse_all_but_reading(query: str) -> None:
    import duckdb

    try:
        statements = duckdb.extract_statements(query)
    except duckdb.Error:
        raise Usage("this is not SQL that DuckDB can read", do="sanche sql --help shows examples") from None
    reading = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}
    if len(statements) != 1 or statements[0].type not in reading or _NOT_FOR_READERS.search(query):
        raise Usage(
            "sanche sql answers one reading statement",
            why="it does not write, attach, copy, set, call, or look into the lake's own catalog",
            do="one SELECT, FROM, SHOW, DESCRIBE or EXPLAIN",
        )


def _answer(lake: Lake, query: str) -> pa.Table:
    """The query's result; Ctrl-C stops it. What is wrong with the query is the asker's to mend."""
    import signal
    from concurrent.futures import ThreadPoolExecutor

    before = signal.signal(signal.SIGINT, lambda *_: lake.con.interrupt())
    try:
        with ThreadPoolExecutor(1) as worker:  # the main thread stays free to see the signal
            return worker.submit(lake.query, query).result()
    except SancheError as error:
        raise Usage("the query has no answer", why=error.why, do=error.do) from None
    finally:
        signal.signal(signal.SIGINT, before)


def _write_csv(table: pa.Table) -> None:
    import csv as csvlib

    out = csvlib.writer(sys.stdout)
    out.writerow([_neutral(name) for name in table.column_names])
    for row in table.to_pylist():
        out.writerow([_neutral(value) for value in row.values()])


def _neutral(value: Any) -> Any:
    # X14: a cell that begins like a formula is written as text.
    if isinstance(value, str) and value.lstrip()[:1] in ("=", "+", "-", "@"):
        return "'" + value
    return value


def _show(table: pa.Table, rows: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(show_edge=False)
    for field in table.schema:
        numeric = str(field.type).startswith(("int", "double", "decimal", "float"))
        shown.add_column(field.name, justify="right" if numeric else "left", overflow="fold")
    for row in table.slice(0, rows).to_pylist():
        shown.add_row(*(Text("" if value is None else str(value)) for value in row.values()))
    Console(markup=False, emoji=False, highlight=False).print(shown)
    if table.num_rows > rows:
        print(f"({table.num_rows - rows:,} more rows; --rows {table.num_rows} shows all)")


def explain(
    on: Date,
    decision_no: Annotated[str | None, typer.Option(help="The decision_no of an extract row.")] = None,
    person: Annotated[str | None, typer.Option(help="The hub's person_id (UUID), with --product.")] = None,
    product: Annotated[str | None, typer.Option(help="C1 or I1.")] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Why was this decided, and what would change it? Each rule row, value, threshold and result.

    sanche explain --decision-no 5e1f… --date 2026-08-20
    sanche explain --person 0f3c…-… --product C1 --date 2026-08-20
    """
    from pipelines.eligibility import explain as ask
    from pipelines.lake import Lake

    if (decision_no is None) == (person is None):
        raise Usage("name one decision", do="give either --decision-no or --person with --product")
    hub = settings()
    with Lake.attach(hub, read_only=True) as lake:
        explanation = ask(
            lake,
            settings=hub,
            business_date=business_date(on),
            decision_no=decision_no,
            person_id=_person(person),
            product=product,
        )
    print(jsonlib.dumps(explanation.to_dict(), default=str, ensure_ascii=False) if json else explanation.text())


def _person(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        raise Usage("not a person_id", why="a person_id is the hub's UUID", do="see marts.person") from None


def receive(
    package: Annotated[Path, typer.Argument(help="A package folder, as it lies in the institution's outbox.")],
    institution: Annotated[
        Path, typer.Option(help="The institution's own folder: its private key and its state.")
    ],
    hub_cert: Annotated[
        Path, typer.Option(help="The hub's signing certificate, got when the agreement was made.")
    ],
    on: Annotated[str | None, typer.Option("--date", help="Today, to refuse a package that has expired.")] = None,
    json: Json = False,
) -> None:
    """What the institution runs: verify a package (signature, recipient, sequence, hashes), then open it.

    Nothing is written unless everything holds; then one Parquet file appears under INSTITUTION/received.
    """
    from pipelines.extracts.receiver import receive as open_package

    received = open_package(
        package,
        institution_dir=institution,
        hub_cert=hub_cert,
        state_file=institution / "state.json",
        today=business_date(on) if on else None,
    )
    if json:
        answer = {"rows": received.rows, "sequence": received.sequence, "files": [str(f) for f in received.files]}
        print(jsonlib.dumps(answer))
    else:
        print(f"verified: package {received.sequence}, {received.rows} rows")
        for file in received.files:
            print(f"          {file}")
