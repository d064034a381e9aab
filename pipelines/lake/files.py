"""Data files: made durable and hashed before the commit that makes them visible, and checked before use.

Promises: every data file of the lake has its SHA-256 in control.file, in the commit that brought the file; a file
          that is missing, cut, altered or unknown is named.
Refuses:  to call a file good that has no hash.
Not here: which files a table uses (DuckLake's catalog says), removing orphans (upkeep).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

READ_BYTES = 1 << 20

# Files that the newest snapshot reads, data and delete files alike. Reading the catalog through DuckDB, never
# with a second SQLite in this process: closing its descriptor would drop the first one's POSIX locks.
USED_FILES = """
with file as (
    select table_id, path, path_is_relative, end_snapshot from __ducklake_metadata_lake.ducklake_data_file
    union all
    select table_id, path, path_is_relative, end_snapshot from __ducklake_metadata_lake.ducklake_delete_file
)
select schema.schema_name || '.' || t.table_name as table_name,
       case when not file.path_is_relative then file.path
            when not t.path_is_relative then t.path || file.path
            else coalesce(schema.path, '') || t.path || file.path end as path
from file
join __ducklake_metadata_lake.ducklake_table t on t.table_id = file.table_id and t.end_snapshot is null
join __ducklake_metadata_lake.ducklake_schema schema
     on schema.schema_id = t.schema_id and schema.end_snapshot is null
where file.end_snapshot is null
order by all
"""

# File names of every snapshot that is still kept; names are UUIDs, so the folder is not needed to tell them apart.
COMMITTED_NAMES = """
select path from __ducklake_metadata_lake.ducklake_data_file
union all select path from __ducklake_metadata_lake.ducklake_delete_file
"""


@dataclass(frozen=True, slots=True)
class DataFile:
    """path: relative to the lake's data folder, `<schema>/<table>/…parquet`."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class FileFault:
    """A data file that must not be used. fault: missing | altered | unknown (in use, but never hashed)."""

    table: str
    path: str
    fault: str


def on_disk(data_dir: Path, below: str = "") -> Iterator[str]:
    """Relative paths of all Parquet files below a folder of the data folder."""
    for folder, _, names in os.walk(data_dir / below):
        for name in names:
            if name.endswith(".parquet"):
                yield (Path(folder) / name).relative_to(data_dir).as_posix()


def table_of(path: str) -> str:
    """`landed/bank_txn/….parquet` -> `landed.bank_txn`."""
    schema, table = path.split("/")[:2]
    return f"{schema}.{table}"


def make_durable(data_dir: Path, paths: Iterable[str]) -> list[DataFile]:
    """fsync and hash; then the folders, up to the data folder. DuckLake itself fsyncs no Parquet."""
    made = [_make_durable(data_dir, path) for path in sorted(paths)]
    parents = {folder for file in made for folder in (data_dir / file.path).parents}
    folders = [folder for folder in parents if folder.is_relative_to(data_dir)]
    for folder in sorted(folders, reverse=True):
        _fsync(folder)
    return made


def sha256_of(path: Path) -> tuple[str, int]:
    """Hash and size of a file, read in pieces."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            digest.update(piece)
            size += len(piece)
    return digest.hexdigest(), size


def _make_durable(data_dir: Path, path: str) -> DataFile:
    full = data_dir / path
    full.chmod(0o600)
    _fsync(full)
    sha256, size = sha256_of(full)
    return DataFile(path, sha256, size)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
