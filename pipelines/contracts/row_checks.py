"""Turn a contract into one SELECT that types every column of a sealed batch and lists each row's broken rules.

Promises: typing is strict (DuckDB's own casts round '12.5' and take '1e3'); no row stops the pass, whatever its
          cells say; a check that cannot be computed counts as broken.
Refuses:  nothing; predicate.py has seen every written rule.
Not here: fates that need other rows (duplicate, conflict, reference; checks/).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.contracts.shapes import field_columns, landed_names

if TYPE_CHECKING:
    from pipelines.contracts.model import Contract, Field

# A text that no field needs; a cell of megabytes stops here and not in the lake (S16).
LONGEST_TEXT = 2_000
PARSE_ERRORS = ("ragged", "bad_json", "bad_encoding")

_ISO = r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?"
_OFFSET = r"(Z|[+-]\d{2}(:?\d{2})?)"


@dataclass(frozen=True, slots=True)
class RowCheck:
    """One check of one row.

    broken: SQL over the typed columns; TRUE = broken, FALSE or NULL = holds.
    reason: SQL that gives the text listed for a row that breaks it.
    """

    id: str
    severity: str
    description: str
    broken: str
    reason: str


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def row_checks(contract: Contract, window_end: str = "$window_end") -> tuple[RowCheck, ...]:
    """Generated checks field by field, then the written rules."""
    checks = [_check("record.readable", "reject", "The record can be read as the agreed format.",
                     "parse_error IS NOT NULL", _parse_reason())]  # fmt: skip
    for field in contract.fields:
        checks += _field_checks(field, is_key=field.name in contract.key or field.name in ("op", "updated_at"))
    checks.append(
        _check(
            "updated_at.future",
            "warn",
            "The source's version clock does not run ahead of the window's end.",
            f'"updated_at" > {window_end}',
        )
    )
    for rule in contract.rules:
        # A rule that overflows on a hostile number is broken on that row and stops nothing.
        holds = f"COALESCE(TRY(({rule.sql}) IS DISTINCT FROM FALSE), FALSE)"
        checks.append(_check(rule.id, rule.severity, rule.description, f"NOT {holds}"))
    return tuple(checks)


def _check(id: str, severity: str, description: str, broken: str, reason: str = "") -> RowCheck:
    return RowCheck(id, severity, description, broken, reason or literal(id))


def _parse_reason() -> str:
    known = ", ".join(literal(name) for name in PARSE_ERRORS)
    return f"CASE WHEN parse_error IN ({known}) THEN 'record.' || parse_error ELSE 'record.unreadable' END"


def _field_checks(field: Field, *, is_key: bool) -> Iterator[RowCheck]:
    name, label = field.name, f"{field.name} ({field.label_zh})"
    if field.required:
        given = quoted(name + "#given")
        # A delete may name no more than the record that it deletes.
        missing = f"NOT {given}" if is_key else f"NOT {given} AND \"op\" IS DISTINCT FROM 'D'"
        yield _check(f"{name}.required", "reject", f"{label} is given.", missing)
    if field.sealed_to is not None:
        return
    if field.identifier is not None:
        yield from _identifier_checks(field, label)
        return
    column = quoted(name)
    if field.type != "string":
        yield _check(f"{name}.type", "reject", f"{label} reads as {field.type}.",
                     f"{quoted(name + '#given')} AND {column} IS NULL")  # fmt: skip
    if field.type == "timestamp":
        yield _check(f"{name}.converted", "warn", f"{label} is an ISO time with an offset, and was not converted.",
                     quoted(name + "#converted"))  # fmt: skip
    if field.enum:
        values = ", ".join(literal(value) for value in field.enum)
        yield _check(
            f"{name}.enum", "reject", f"{label} is one of the agreed values.", f"{column} NOT IN ({values})"
        )
    elif field.type == "string":
        length = field.max_length or LONGEST_TEXT
        yield _check(f"{name}.length", "reject", f"{label} is at most {length:,} characters long.",
                     f"strlen({column}) > {length} AND length({column}) > {length}")  # fmt: skip
    if field.pattern is not None:
        yield _check(f"{name}.pattern", "reject", f"{label} has the agreed form.",
                     f"NOT regexp_full_match({column}, {literal(field.pattern)})")  # fmt: skip
    bounds = [(f"{column} < {field.minimum}", field.minimum), (f"{column} > {field.maximum}", field.maximum)]
    outside = [sql for sql, bound in bounds if bound is not None]
    if outside:
        yield _check(f"{name}.range", "reject", f"{label} lies within the agreed bounds.", " OR ".join(outside))


def _identifier_checks(field: Field, label: str) -> Iterator[RowCheck]:
    """The sealer has judged the number; its verdict says how. Any text that is not 'ok…' is a refusal."""
    verdict = quoted(field.name + "_verdict")
    spelled = f"CASE WHEN regexp_full_match({verdict}, '[a-z0-9_]{{1,40}}') THEN {verdict} ELSE 'unreadable' END"
    reason = f"{literal(field.name + '.')} || {spelled}"
    yield _check(f"{field.name}.verdict", "reject", f"{label} is well-formed.",
                 f"NOT starts_with({verdict}, 'ok')", reason)  # fmt: skip
    yield _check(f"{field.name}.noted", "warn", f"{label} needed no repair and shows nothing odd.",
                 f"starts_with({verdict}, 'ok_')", reason)  # fmt: skip


def checks_sql(contract: Contract, source: str = "sealed", window_end: str = "$window_end") -> str:
    """The SELECT. `source` is a relation with the columns of `sealed_schema`, tokens, key and hash as UUID.

    Columns: object_no, row_no, record_key, record_hash, the landed columns of the fields, source_updated_at, op,
    _money_fen BIGINT, _money_unproved BOOLEAN, _reasons VARCHAR[], _warnings VARCHAR[].
    """
    checks = row_checks(contract, window_end)
    rejects = [c for c in checks if c.severity != "warn"]
    warnings = [c for c in checks if c.severity == "warn"]
    columns = ", ".join(quoted(name) for name, _ in field_columns(contract))
    money = quoted(contract.money_field) if contract.money_field else "CAST(NULL AS BIGINT)"
    unproved = "FALSE"
    if contract.money_field:
        given = quoted(contract.money_field + "#given")
        unproved = f"(parse_error IS NOT NULL OR ({given} AND {money} IS NULL))"
    listed = _listed(
        "_is_bad", rejects, "CASE WHEN parse_error IS NOT NULL THEN [" + _parse_reason() + "] ELSE {} END"
    )
    return f"""
SELECT object_no, row_no, record_key, record_hash, {columns},
  "updated_at" AS source_updated_at, "op",
  {money} AS _money_fen, {unproved} AS _money_unproved,
  {listed} AS _reasons,
  {_listed("_is_odd", warnings)} AS _warnings
FROM (
  SELECT *,
    {_any(rejects)} AS _is_bad,
    {_any(warnings)} AS _is_odd
  FROM (
    SELECT object_no, row_no, parse_error, record_key, record_hash,
      {_typed(contract)}
    FROM {source}
  )
)"""


def _any(checks: list[RowCheck]) -> str:
    return "\n      OR ".join(f"({check.broken})" for check in checks)


def _listed(flag: str, checks: list[RowCheck], frame: str = "{}") -> str:
    """Only rows with something to list pay for the list."""
    cases = ",\n    ".join(f"CASE WHEN {check.broken} THEN {check.reason} END" for check in checks)
    filtered = f"list_filter([\n    {cases}\n  ], lambda reason: reason IS NOT NULL)"
    return f"CASE WHEN {flag} THEN {frame.replace('{}', filtered)} ELSE CAST([] AS VARCHAR[]) END"


def _typed(contract: Contract) -> str:
    parts: list[str] = []
    for field in contract.fields:
        column, given = quoted(field.name), quoted(field.name + "#given")
        if field.identifier is not None:
            parts += [quoted(name) for name in landed_names(field)]
            parts.append(f"{quoted(field.name + '_verdict')} IS NOT NULL AS {given}")
        elif field.sealed_to is not None:
            sealed = quoted(field.name + "_sealed")
            parts.append(f"{sealed}, {sealed} IS NOT NULL AS {given}")
        else:
            raw = column if field.empty_is_value else f"NULLIF({column}, '')"
            parts.append(f"{_TYPED[field.type](raw)} AS {column}")
            parts.append(f"{raw} IS NOT NULL AS {given}")
            if field.type == "timestamp":
                parts.append(f"{_converted(raw)} AS {quoted(field.name + '#converted')}")
    return ",\n      ".join(parts)


def _whole_number(sql_type: str) -> Callable[[str], str]:
    # DuckDB's cast alone rounds '12.5' and takes '1e3', ' 12' and '0x1F'. Eighteen digits always fit a bigint.
    return lambda raw: (
        f"CASE WHEN regexp_full_match({raw}, '[+-]?\\d{{1,18}}') THEN TRY_CAST({raw} AS {sql_type}) END"
    )


def _date(raw: str) -> str:
    same = f"strlen({raw}) = 10 AND CAST(TRY_CAST({raw} AS DATE) AS VARCHAR) = {raw}"
    return f"CASE WHEN {same} THEN TRY_CAST({raw} AS DATE) END"


def _boolean(raw: str) -> str:
    return f"CASE {raw} WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE END"


def _texts(raw: str) -> str:
    item = '"[A-Za-z0-9_]{1,64}"'
    return (
        f"CASE WHEN regexp_full_match({raw}, '\\s*\\[\\s*({item}(\\s*,\\s*{item})*)?\\s*\\]\\s*')\n"
        f"        THEN regexp_extract_all({raw}, '\"([A-Za-z0-9_]+)\"', 1) END"
    )


def _plainly_iso(raw: str) -> str:
    """'2026-08-20T10:00:00+08:00' or '…Z', by length and ending: nearly every cell, far cheaper than _ISO."""
    return f"(strlen({raw}) = 25 AND suffix({raw}, '+08:00') OR strlen({raw}) = 20 AND suffix({raw}, 'Z'))"


def _converted(raw: str) -> str:
    return f"CASE WHEN {_plainly_iso(raw)} THEN FALSE ELSE NOT regexp_full_match({raw}, '{_ISO}{_OFFSET}') END"


def _timestamp(raw: str) -> str:
    """DOMAIN E20: every form has its own parser, and a time without a zone is Shanghai time, +08:00 all year.

    A fixed offset, since the zone database has daylight saving in 1986-1991, which no register kept.
    """
    compact = (
        f"{raw}[1:4] || '-' || {raw}[5:6] || '-' || {raw}[7:8] || 'T' || {raw}[9:10] || ':' || {raw}[11:12]"
        f" || ':' || {raw}[13:14] || '+08:00'"
    )
    number = f"TRY_CAST({raw} AS BIGINT)"
    return (
        f"CASE WHEN {_plainly_iso(raw)} THEN TRY_CAST({raw} AS TIMESTAMPTZ)\n"
        f"        WHEN regexp_full_match({raw}, '{_ISO}{_OFFSET}') THEN TRY_CAST({raw} AS TIMESTAMPTZ)\n"
        f"        WHEN regexp_full_match({raw}, '{_ISO}') THEN TRY_CAST({raw} || '+08:00' AS TIMESTAMPTZ)\n"
        f"        WHEN regexp_full_match({raw}, '\\d{{14}}') THEN TRY_CAST({compact} AS TIMESTAMPTZ)\n"
        f"        WHEN regexp_full_match({raw}, '\\d{{13}}') THEN make_timestamptz({number} * 1000)\n"
        f"        WHEN regexp_full_match({raw}, '\\d{{10}}') THEN make_timestamptz({number} * 1000000)\n"
        "      END"
    )


def _string(raw: str) -> str:
    return raw


_TYPED = {
    "string": _string,
    "integer": _whole_number("INTEGER"),
    "bigint": _whole_number("BIGINT"),
    "date": _date,
    "timestamp": _timestamp,
    "boolean": _boolean,
    "string[]": _texts,
}
