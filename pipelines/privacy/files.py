"""Small private files: written whole or not at all, readable by their owner only.

Promises: temporary name in the same folder, fsync, rename, fsync of the folder; files 0600 (or as asked),
          folders 0700.
Refuses:  nothing.
Not here: what is in them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def private_folder(path: Path) -> Path:
    """Make a folder (and its parents) for its owner only."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
    return path


def write_private(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace a file atomically. A crash before the rename leaves the old file and a dot-file beside it."""
    private_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)  # the umask may have taken bits that the caller asked for
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def fsync_folder(folder: Path) -> None:
    """Make a rename in this folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def memory_file(data: bytes) -> Iterator[str]:
    """A path that other readers of this process (and its children) can open; the bytes never touch a disk."""
    descriptor = os.memfd_create("sanche", 0)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
        os.set_inheritable(descriptor, True)
        yield f"/proc/{os.getpid()}/fd/{descriptor}"
    finally:
        os.close(descriptor)
