"""The bare, locked DuckDB connection on which expressions from schemas/ run.

Promises: in memory, no file, no network, no extension, no other database; its settings cannot be changed again;
          what spills is encrypted, in a folder of this process alone, removed on close.
Refuses:  to be unlocked (ARCHITECTURE, Lake; X11).
Not here: the lake, which is never attached here.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    from pipelines.settings import Settings


def locked(settings: Settings) -> tuple[duckdb.DuckDBPyConnection, Path]:
    """(connection, its spill folder). The caller closes the one and removes the other with `discard`."""
    settings.tmp_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    spill = Path(tempfile.mkdtemp(prefix=f"bench-{os.getpid()}-", dir=settings.tmp_dir))  # made 0700
    con = duckdb.connect(":memory:", config={"threads": settings.threads, "memory_limit": settings.memory_limit})
    for statement in (
        "SET temp_directory = '" + str(spill).replace("'", "''") + "'",
        "SET temp_file_encryption = true",
        "SET arrow_lossless_conversion = true",  # a UUID stays 16 bytes: 12 times cheaper than its text
        "SET python_enable_replacements = false",
        "SET autoinstall_known_extensions = false",
        "SET autoload_known_extensions = false",
        "SET TimeZone = 'UTC'",
        "SET enable_external_access = false",  # after temp_directory, which it would freeze
        "SET lock_configuration = true",
    ):
        con.execute(statement)
    return con, spill


def discard(con: duckdb.DuckDBPyConnection, spill: Path) -> None:
    con.close()
    shutil.rmtree(spill, ignore_errors=True)
