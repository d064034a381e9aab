"""One DuckDB connection, capped, with signed extensions from wheels and nothing fetched from anywhere.

Promises: memory, threads and time zone as settings say; what spills to disk is encrypted, in a folder of this
          connection's own (0700), gone when the connection closes.
Refuses:  to install or load any extension by itself.
Not here: the lake (lake.py); rules from schemas/, which run on a bare locked connection (checks/).
"""

from __future__ import annotations

import importlib
import importlib.resources
import os
import re
import shutil
import tempfile
from pathlib import Path

import duckdb

from pipelines.settings import Settings

EXTENSIONS = ("httpfs", "sqlite_scanner", "ducklake")  # httpfs for its crypto: encrypted spill files
_SPILL_FOLDER = re.compile(r"(?:spill|bench)-(\d+)-.*")  # ours, and those of checks/


def connect(settings: Settings, *, spill: Path) -> duckdb.DuckDBPyConnection:
    """A connection with the lake's extensions loaded. spill: a folder that no other connection uses."""
    con = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": settings.memory_limit,
            "threads": settings.threads,
            "temp_directory": str(spill),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        },
    )
    con.execute("set temp_file_encryption = true; set timezone = 'UTC'; set enable_progress_bar = false")
    for name in EXTENSIONS:
        con.load_extension(str(_extension_file(name)))
    return con


def _extension_file(name: str) -> Path:
    wheel = importlib.resources.files(importlib.import_module(f"duckdb_extension_{name}"))
    return Path(str(wheel)) / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"


def new_spill_folder(settings: Settings) -> Path:
    """A fresh folder below tmp/; two connections with one folder would overwrite each other's blocks."""
    settings.tmp_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"spill-{os.getpid()}-", dir=settings.tmp_dir))


def drop_dead_spill_folders(settings: Settings) -> None:
    """What a killed process left: encrypted with a key that died with it, so only space is regained."""
    for folder in settings.tmp_dir.glob("*-*"):
        match = _SPILL_FOLDER.fullmatch(folder.name)
        if match and not _is_alive(int(match.group(1))):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
