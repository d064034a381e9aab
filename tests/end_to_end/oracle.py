"""Two hubs compared as TRIALS.md defines it (`≡`): plaintext extracts and table contents, modulo one renaming.

Both hubs ran on the same keyrings. person_id is random, so each is renamed to the smallest identifier token that
its links hold. Left out: hashes of ciphertexts and chains, file names, snapshots, sealed (randomised) values.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.lake import Lake
from pipelines.settings import Settings

RANDOM_COLUMNS = {
    "ciphertext_sha256", "manifest_sha256", "previous_manifest_sha256", "folder", "snapshot", "fingerprint",
    "sha256", "person_token", "feature_hash", "content_hash", "bytes",
}  # fmt: skip
LEFT_OUT_TABLES = {"control.file", "ledger.head"}
LEDGER_COLUMNS = {"stream", "seq", "kind", "business_date"}


def contents(settings: Settings) -> dict[str, list[str]]:
    """Every table of a hub's lake as sorted text rows, person ids renamed."""
    with Lake.attach(settings, read_only=True) as lake:
        names = lake.query(
            "select schema_name || '.' || table_name as name from duckdb_tables() where database_name = 'lake' "
            "and schema_name in ('landed','quarantine','control','marts','decisions','ledger') order by 1"
        )["name"].to_pylist()
        links = lake.query("select person_id, min(id_token) as token from marts.person_link group by 1")
        renamed = dict(
            zip(map(str, links["person_id"].to_pylist()), map(str, links["token"].to_pylist()), strict=True)
        )
        return {
            name: rows(
                lake.query(f"from {name}"), renamed, only=LEDGER_COLUMNS if name == "ledger.entry" else None
            )
            for name in names
            if name not in LEFT_OUT_TABLES
        }


def rows(table: pa.Table, renamed: dict[str, str], *, only: set[str] | None = None) -> list[str]:
    """A table as sorted lines of text."""
    kept = [
        field.name
        for field in table.schema
        if field.name not in RANDOM_COLUMNS
        and not pa.types.is_binary(field.type)
        and not pa.types.is_large_binary(field.type)
        and (only is None or field.name in only)
    ]

    def text(value: Any) -> str:
        return renamed.get(str(value), str(value))

    columns = [[text(v) for v in table[name].to_pylist()] for name in kept]
    return sorted(map("|".join, zip(*columns, strict=True))) if columns else []


def extracts(received: Path) -> dict[str, list[str]]:
    """What an institution opened: package name -> sorted plaintext rows, without its pseudonyms."""
    return {
        str(file.relative_to(received)): rows(pq.read_table(file), {})
        for file in sorted(received.rglob("*.parquet"))
    }


def differences(one: dict[str, list[str]], other: dict[str, list[str]]) -> list[str]:
    """Names of the tables or files that differ, each with how many rows stand on one side only."""
    told = []
    for name in sorted(one.keys() | other.keys()):
        left, right = one.get(name), other.get(name)
        if left is None or right is None:
            told.append(f"{name}: only on one side")
        elif left != right:
            only_left, only_right = set(left) - set(right), set(right) - set(left)
            told.append(
                f"{name}: {len(left)} and {len(right)} rows, {len(only_left)} and {len(only_right)} differ, "
                f"for instance\n  {next(iter(only_left), '-')}\n  {next(iter(only_right), '-')}"
            )
    return told
