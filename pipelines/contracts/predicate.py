"""Decide whether a rule is one harmless yes-or-no expression over a contract's columns.

Promises: what is returned was printed anew from the checked tree: quoted columns, no comments.
Refuses:  subqueries, functions outside the list below, casts to anything but four types, other columns, clocks,
          second statements (ValueError with a reason that people can act on).
Not here: running it; that happens on a locked connection only (checks/).
"""

from __future__ import annotations

from collections.abc import Collection

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

MAX_CHARACTERS = 2_000  # the longest rule of ours is 230 characters
MAX_NODES = 400
PARAMETERS = frozenset({"window_end", "business_date"})
CASTS = frozenset({exp.DataType.Type.BIGINT, exp.DataType.Type.DATE, exp.DataType.Type.VARCHAR,
                   exp.DataType.Type.TIMESTAMPTZ})  # fmt: skip

_VERDICTS = (exp.And, exp.Or, exp.Not, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Is, exp.In,
             exp.Between, exp.NullSafeEQ, exp.NullSafeNEQ)  # fmt: skip
_VALUES = (exp.Paren, exp.Add, exp.Sub, exp.Mul, exp.IntDiv, exp.Mod, exp.Neg, exp.Literal, exp.Boolean, exp.Null,
           exp.Column, exp.Identifier, exp.Case, exp.If, exp.Cast, exp.DataType, exp.Parameter, exp.Placeholder,
           exp.Var)  # fmt: skip
_FUNCTIONS = (exp.Abs, exp.Coalesce, exp.Greatest, exp.Least, exp.Length, exp.Lower, exp.Upper, exp.Nullif,
              exp.StartsWith)  # fmt: skip
ALLOWED = frozenset((*_VERDICTS, *_VALUES, *_FUNCTIONS))


def checked(sql: str, columns: Collection[str]) -> str:
    """The rule in canonical DuckDB SQL. Raises ValueError with the reason; columns: names that may be used."""
    if len(sql) > MAX_CHARACTERS:
        raise ValueError(f"longer than {MAX_CHARACTERS:,} characters")
    try:
        return _checked(sql, columns)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _checked(sql: str, columns: Collection[str]) -> str:
    try:
        statements = sqlglot.parse(sql, dialect="duckdb")
    except (SqlglotError, ValueError):
        raise ValueError("it is not an SQL expression") from None
    if len(statements) != 1 or statements[0] is None:
        raise ValueError("it is not one expression")
    tree = statements[0]
    root = tree.unnest() if isinstance(tree, exp.Paren) else tree
    if not isinstance(root, _VERDICTS):
        raise ValueError("it does not answer yes or no (a comparison, IN, IS, BETWEEN, AND, OR, NOT)")
    for number, node in enumerate(tree.walk()):
        if number > MAX_NODES:
            raise ValueError(f"more than {MAX_NODES} parts")
        _check(node, columns)
    for column in tree.find_all(exp.Column):
        column.this.set("quoted", True)
    return tree.sql(dialect="duckdb", comments=False)


def _check(node: exp.Expr, columns: Collection[str]) -> None:
    if type(node) not in ALLOWED:
        raise ValueError(f"{type(node).__name__.lower()} is not allowed in a rule")
    if isinstance(node, exp.Column) and (not isinstance(node.this, exp.Identifier) or node.table):
        raise ValueError("a column is named without a table")
    if isinstance(node, exp.Column) and node.name not in columns:
        raise ValueError(f"{node.name[:60]} is not a column of this contract")
    if isinstance(node, exp.In) and any(node.args.get(part) for part in ("query", "unnest", "field")):
        raise ValueError("IN takes a list of values only")
    if isinstance(node, exp.Cast) and node.to.this not in CASTS:
        raise ValueError("a rule may cast to bigint, date, varchar or timestamptz only")
    if isinstance(node, exp.Parameter | exp.Placeholder) and node.name not in PARAMETERS:
        raise ValueError("the parameters of a rule are $window_end and $business_date")
    if isinstance(node, exp.Var) and not isinstance(node.parent, exp.Parameter | exp.Placeholder):
        raise ValueError("a bare word is not allowed in a rule")
