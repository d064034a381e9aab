"""The shapes that follow from a contract: the sealed stream, the landed table, the view of current versions.

Promises: one order of columns everywhere: the contract's fields, then version and pointers.
Refuses:  nothing; it reads contracts that odcs.py has accepted.
Not here: checks (row_checks.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.contracts.model import Contract, Field

SQL_TYPES = {
    "string": "VARCHAR",
    "integer": "INTEGER",
    "bigint": "BIGINT",
    "date": "DATE",
    "timestamp": "TIMESTAMPTZ",
    "boolean": "BOOLEAN",
    "string[]": "VARCHAR[]",
}
# (name, SQL type) of what every landed table has besides its fields.
VERSION_COLUMNS = (("source_updated_at", "TIMESTAMPTZ"), ("op", "VARCHAR"))
POINTER_COLUMNS = (
    ("batch_id", "VARCHAR"),
    ("object_address", "VARCHAR"),
    ("row_no", "BIGINT"),
    ("known_on", "DATE"),
    ("known_assumed", "BOOLEAN"),
    ("record_key", "UUID"),
    ("record_hash", "UUID"),
    ("warnings", "VARCHAR[]"),
)
SYSTEM_COLUMNS = frozenset(
    {"source_updated_at", "object_no", "parse_error", *(name for name, _ in POINTER_COLUMNS)}
)
DERIVED = (("_birth_date", "DATE"), ("_gender", "VARCHAR"), ("_region", "VARCHAR"))


def landed_types(field: Field) -> tuple[tuple[str, str], ...]:
    """(column, SQL type) of what lands for a field."""
    if field.identifier is not None:
        derived = DERIVED if field.identifier == "citizen_id" else ()
        pair = ((field.name + "_token", "UUID"), (field.name + "_verdict", "VARCHAR"))
        return pair + tuple((field.name + suffix, kind) for suffix, kind in derived)
    if field.sealed_to is not None:
        return ((field.name + "_sealed", "BLOB"),)
    return ((field.name, SQL_TYPES[field.type]),)


def landed_names(field: Field) -> tuple[str, ...]:
    return tuple(name for name, _ in landed_types(field))


def rule_columns(fields: Iterable[Field]) -> frozenset[str]:
    """Names that a rule may use: what lands for the fields, by the contract's own names; nothing sealed."""
    return frozenset(name for f in fields if f.sealed_to is None for name in landed_names(f))


def field_columns(contract: Contract) -> tuple[tuple[str, str], ...]:
    """(column, SQL type) of the contract's own columns as they land, `op` and `updated_at` left out."""
    own = (f for f in contract.fields if f.name not in ("op", "updated_at"))
    return tuple(pair for f in own for pair in landed_types(f))


def landed_columns(contract: Contract) -> tuple[tuple[str, str], ...]:
    return field_columns(contract) + VERSION_COLUMNS + POINTER_COLUMNS


def arrow_type(sql_type: str) -> pa.DataType:
    import pyarrow as pa

    kinds: dict[str, pa.DataType] = {
        "VARCHAR": pa.string(),
        "INTEGER": pa.int32(),
        "BIGINT": pa.int64(),
        "DATE": pa.date32(),
        "TIMESTAMPTZ": pa.timestamp("us", tz="UTC"),
        "BOOLEAN": pa.bool_(),
        "VARCHAR[]": pa.list_(pa.string()),
        "UUID": pa.uuid(),
        "BLOB": pa.binary(),
    }
    return kinds[sql_type]


def landed_schema(contract: Contract) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([(name, arrow_type(kind)) for name, kind in landed_columns(contract)])


def landed_ddl(contract: Contract, table: str = "") -> str:
    columns = ",\n  ".join(f'"{name}" {kind}' for name, kind in landed_columns(contract))
    return f"CREATE TABLE IF NOT EXISTS {table or f'lake.landed.{contract.feed}'} (\n  {columns}\n)"


def sealed_schema(contract: Contract) -> pa.Schema:
    """object_no, row_no, parse_error, the fields in order, record_key, record_hash."""
    import pyarrow as pa

    columns: list[tuple[str, pa.DataType]] = [
        ("object_no", pa.int32()),
        ("row_no", pa.int64()),
        ("parse_error", pa.string()),
    ]
    for f in contract.fields:
        if f.identifier is None and f.sealed_to is None:
            columns.append((f.name, pa.string()))
        else:
            columns += [
                (name, pa.binary(16) if kind == "UUID" else arrow_type(kind)) for name, kind in landed_types(f)
            ]
    return pa.schema([*columns, ("record_key", pa.binary(16)), ("record_hash", pa.binary(16))])


def current_sql(contract: Contract, known_at_param: str = "$known_at", table: str = "") -> str:
    """The latest known version of each record as of a date; a record whose latest version is a delete is gone.

    DOMAIN B0: latest by (source_updated_at, known_on, row_no); the pointers only make ties repeatable.
    """
    names = ", ".join(f'"{name}"' for name, _ in landed_columns(contract))
    return (
        f"SELECT {names}\nFROM (\n  SELECT *, row_number() OVER (\n"
        "    PARTITION BY record_key\n"
        "    ORDER BY source_updated_at DESC, known_on DESC, row_no DESC, batch_id DESC, object_address DESC\n"
        "  ) AS version_rank\n"
        f"  FROM {table or f'lake.landed.{contract.feed}'}\n  WHERE known_on <= {known_at_param}\n)\n"
        "WHERE version_rank = 1 AND op <> 'D'"
    )
