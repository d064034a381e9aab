"""Great Expectations inside a DuckDB connection that is ours.

Promises: GX reads the one relation it is shown, on the bench's own locked connection, and neither closes it nor
          leaves a transaction open; nothing is written, nothing is sent home, no progress bar.
Refuses:  to hand back an expectation that raised: that is a Bug, not a verdict.
Not here: which expectations (gate.py), pages (datadocs.py).
"""

# Great Expectations re-exports without saying so, and half of it is untyped.
# mypy: disable-error-code="attr-defined, no-untyped-call"

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import duckdb

# Before the import: it would write an id below $HOME and call home.
os.environ["GX_ANALYTICS_ENABLED"] = "false"

import duckdb_sqlalchemy
import great_expectations as gx
import sqlalchemy as sa
from great_expectations.core import ExpectationSuiteValidationResult
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.datasource.fluent.sql_datasource import SQLDatasource
from great_expectations.execution_engine import ExecutionEngine, SqlAlchemyExecutionEngine
from great_expectations.expectations import ExpectColumnValuesToBeInSet, ExpectTableRowCountToBeBetween
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.expectation_configuration import parse_result_format
from great_expectations.expectations.metadata_types import FailureSeverity
from great_expectations.validator.validator import ValidationDependencies
from sqlalchemy.pool import StaticPool

from pipelines.errors import Bug

# No unexpected values anywhere: a value never leaves the verdict table (TRIALS, X10).
RESULT_FORMAT = {"result_format": "SUMMARY", "partial_unexpected_count": 0}

_lent: dict[str, duckdb.DuckDBPyConnection] = {}
_borrowing: list[sa.Connection] = []  # to be closed before the owner closes what it lent


class _Borrowed(duckdb_sqlalchemy.ConnectionWrapper):
    """GX closes what it opens; this connection is not its own, and a cursor would lose the views."""

    def close(self) -> None:
        pass


def _engine_on(address: str) -> sa.Engine:
    return sa.create_engine("duckdb://", creator=lambda: _Borrowed(_lent[address]), poolclass=StaticPool)


class DuckDBEngine(SqlAlchemyExecutionEngine):
    """The stock engine with one connection for all of its queries."""

    def __init__(self, connection_string: str = "", create_temp_table: bool = False, **more: Any) -> None:
        super().__init__(engine=_engine_on(connection_string), create_temp_table=False, **more)

    @contextmanager
    def get_connection(self) -> Iterator[sa.Connection]:
        if not self._connection:
            self._connection = self.engine.connect()
            _borrowing.append(self._connection)
        yield self._connection


class DuckDBDatasource(SQLDatasource):
    """What `context.data_sources.add_duckdb` makes; the connection string is an address in `_lent`."""

    type: Literal["duckdb"] = "duckdb"  # type: ignore[assignment]

    @property
    def execution_engine_type(self) -> Any:
        return DuckDBEngine

    def _create_engine(self) -> sa.Engine:
        return _engine_on(str(self.connection_string))


class ExpectRuleToHold(ExpectColumnValuesToBeInSet):
    """The stock set expectation, which here only counts: it never asks for the values that break a rule.

    That is one query for all rules of a feed in place of one per rule, and nothing to leak.
    """

    def get_validation_dependencies(
        self,
        execution_engine: ExecutionEngine[Any] | None = None,
        runtime_configuration: dict[str, Any] | None = None,
        **more: Any,
    ) -> ValidationDependencies:
        counting = {**(runtime_configuration or {}), "result_format": {"result_format": "BOOLEAN_ONLY"}}
        needed: ValidationDependencies = super().get_validation_dependencies(execution_engine, counting, **more)
        needed.result_format = parse_result_format(RESULT_FORMAT)
        return needed


def true_in_most(rule: str, mostly: float, severity: str, description: str) -> Expectation:
    """The column named after the rule is TRUE in at least that share of the rows."""
    return ExpectRuleToHold(
        column=rule,
        value_set=[True],
        mostly=mostly,
        severity=FailureSeverity(severity),
        description=f"{rule}: {description}",
        meta={"rule": rule},
    )


def row_count_between(least: int, most: int | None, rule: str, description: str) -> Expectation:
    return ExpectTableRowCountToBeBetween(
        min_value=least,
        max_value=most,
        severity=FailureSeverity.CRITICAL,
        description=f"{rule}: {description}",
        meta={"rule": rule},
    )


def validate(
    con: duckdb.DuckDBPyConnection, *, relation: str, suite: str, expectations: Sequence[Expectation]
) -> dict[str, Any]:
    """Judge one relation of the connection; the result as JSON. Raises Bug if an expectation raised."""
    address = f"duckdb://bench-{id(con)}"
    _lent[address] = con
    _hush()
    try:
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        source = context.data_sources.add_duckdb("bench", connection_string=address)
        batch = (
            source.add_table_asset(suite, table_name=relation)
            .add_batch_definition_whole_table("batch")
            .get_batch()
        )
        demanded = gx.ExpectationSuite(name=suite, expectations=list(expectations))
        result: ExpectationSuiteValidationResult = batch.validate(demanded, result_format=RESULT_FORMAT)
    finally:
        while _borrowing:
            _borrowing.pop().close()
        del _lent[address]
        _end_transaction(con)
    for one in result.results:
        if one.exception_info and one.exception_info.get("raised_exception"):
            raise Bug(
                f"{suite}: the gate could not judge",
                where=str(one.expectation_config.kwargs.get("column", "table")) if one.expectation_config else "",
                why="an expectation raised (text withheld)",
                do="a batch that was not judged does not land; report it with `sanche doctor`",
            )
    answer: dict[str, Any] = result.to_json_dict()
    return answer


def _end_transaction(con: duckdb.DuckDBPyConnection) -> None:
    try:
        con.rollback()
    except duckdb.TransactionException:
        return  # none was open


def _hush() -> None:
    for name in ("great_expectations", "py.warnings"):
        logging.getLogger(name).setLevel(logging.ERROR)
