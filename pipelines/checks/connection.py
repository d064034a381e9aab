"""The bare, locked DuckDB connection on which expressions from schemas/ run.

Promises: in memory, no file, no network, no other database; its settings, and those of its cursors, cannot be
          changed again; what spills is encrypted, in a folder of this process alone (0700), removed on close.
Refuses:  to spill unencrypted: DuckDB encrypts what it writes only with the crypto of its httpfs extension;
          without that wheel a batch that does not fit into memory_limit ends in a clean out-of-memory error.
Not here: the lake, which is never attached here.
"""

from __future__ import annotations

import importlib.util
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
    crypto = _crypto_extension()
    con = duckdb.connect(
        ":memory:",
        config={
            "threads": settings.threads,
            "memory_limit": settings.memory_limit,
            "temp_directory": str(spill) if crypto else "",
            "temp_file_encryption": "true",
            "arrow_lossless_conversion": "true",  # a UUID stays 16 bytes: 12 times cheaper than its text
            "python_enable_replacements": "false",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        },
    )
    if crypto:
        con.load_extension(str(crypto))
    con.execute("SET GLOBAL TimeZone = 'UTC'")
    con.execute("SET enable_external_access = false")  # the spill folder stays allowed, nothing else
    con.execute("SET lock_configuration = true")
    return con, spill


def _crypto_extension() -> Path | None:
    found = importlib.util.find_spec("duckdb_extension_httpfs")
    if found is None or found.origin is None:
        return None
    file = Path(found.origin).parent / "extensions" / f"v{duckdb.__version__}" / "httpfs.duckdb_extension"
    return file if file.exists() else None


def discard(con: duckdb.DuckDBPyConnection, spill: Path) -> None:
    con.close()
    shutil.rmtree(spill, ignore_errors=True)
