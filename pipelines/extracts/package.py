"""A package on disk: encrypted parts, a canonical manifest, its detached signature; staged, then renamed.

Promises: every file 0600, fsynced before its folder is; the manifest lists every other file with both hashes; a
          package appears in the outbox by one rename, whole.
Refuses:  to call a folder a package when a hash does not hold (VerificationFailed).
Not here: which rows (rows.py), registering a package in the lake (publish.py).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import rfc8785

from pipelines.consent import Agreement
from pipelines.errors import VerificationFailed
from pipelines.extracts.envelope import SUFFIX, encrypt
from pipelines.extracts.receiver import verify_signature
from pipelines.settings import Settings

MANIFEST, SIGNATURE = "manifest.json", "manifest.json.p7s"
PART_ROWS = 1_000_000  # some 120 MB of Parquet; openssl decrypts a part in memory, and 256 MB is the agreed cap


@dataclass(frozen=True, slots=True)
class Place:
    """Where one numbered package is built and where it is published."""

    agreement: str
    recipient: str
    sequence: int
    outbox: Path

    @property
    def name(self) -> str:
        return f"{self.agreement}-{self.sequence:06d}"

    @property
    def staging(self) -> Path:
        return self.outbox / ".staging" / self.name

    @property
    def published(self) -> Path:
        return self.outbox / self.recipient / self.name

    @property
    def folder(self) -> str:
        """As control.extract has it: below the outbox."""
        return f"{self.recipient}/{self.name}"


def write_parts(
    place: Place, sent: pa.Table, notices: list[dict[str, Any]], agreement: Agreement, settings: Settings
) -> list[dict[str, Any]]:
    """Encrypt rows and deletion notices into the staging folder; returns the manifest's `files`."""
    place.staging.mkdir(mode=0o700, parents=True)
    listed = []
    for name, plain, rows in _plain_files(sent, notices):
        cipher = encrypt(plain, recipient=agreement.recipient, envelope=agreement.envelope, settings=settings)
        target = place.staging / (name + SUFFIX[agreement.envelope])
        write_durably(target, cipher)
        listed.append(
            {
                "name": target.name,
                "sha256": hashlib.sha256(cipher).hexdigest(),
                "bytes": len(cipher),
                "rows": rows,
                "plaintext_sha256": hashlib.sha256(plain).hexdigest(),
            }
        )
    return listed


def _plain_files(sent: pa.Table, notices: list[dict[str, Any]]) -> Iterator[tuple[str, bytes, int]]:
    for number, start in enumerate(range(0, max(sent.num_rows, 1), PART_ROWS), start=1):
        part = sent.slice(start, PART_ROWS)
        yield f"rows-{number:03d}.parquet", parquet_bytes(part), part.num_rows
    if notices:
        yield "deletions.json", rfc8785.dumps({"deletions": notices}), len(notices)


def parquet_bytes(table: pa.Table) -> bytes:
    """The same rows give the same bytes: one writer, one setting, no clock and no path inside."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", version="2.6", store_schema=False)
    return bytes(sink.getvalue().to_pybytes())


def seal_manifest(place: Place, manifest: bytes, signature: bytes) -> str:
    """Write manifest and signature, make the staging folder durable; returns the manifest's SHA-256."""
    write_durably(place.staging / MANIFEST, manifest)
    write_durably(place.staging / SIGNATURE, signature)
    sync_folder(place.staging)
    sync_folder(place.staging.parent)
    return hashlib.sha256(manifest).hexdigest()


def check_folder(folder: Path, manifest_sha256: str, hub_cert: Path) -> dict[str, Any]:
    """The manifest of a package whose every file is what was registered. Raises: VerificationFailed."""
    try:
        raw = (folder / MANIFEST).read_bytes()
        whole = hashlib.sha256(raw).hexdigest() == manifest_sha256
        verify_signature(raw, folder / SIGNATURE, hub_cert)
        manifest: dict[str, Any] = json.loads(raw) if whole else {"files": []}
        for listed in manifest["files"]:
            cipher = (folder / listed["name"]).read_bytes()
            whole = whole and hashlib.sha256(cipher).hexdigest() == listed["sha256"]
    except (OSError, VerificationFailed):
        whole = False
    if not whole:
        raise VerificationFailed(
            f"package {folder.name} is not what was registered",
            where=str(folder),
            why="a file is missing, or its hash differs from the signed manifest",
            do="restore the folder from backup, or move it away: a new package then supersedes it",
        )
    return manifest


def adopt(place: Place, manifest: bytes, hub_cert: Path) -> str:
    """The manifest hash of a package that is out already, while the lake does not know it (a catalog restored from
    an older copy): register that one again, if it is what would be published now. Nothing is sent twice (C19).

    Raises: VerificationFailed if it is another one.
    """
    raw = (place.published / MANIFEST).read_bytes() if (place.published / MANIFEST).is_file() else b""
    manifest_sha256 = hashlib.sha256(raw).hexdigest()
    told = check_folder(place.published, manifest_sha256, hub_cert)
    if _content(told) != _content(json.loads(manifest)):
        raise VerificationFailed(
            f"package {place.name} is out already, with other content",
            where=str(place.published),
            why="the lake does not know it, and would now publish something else under its number",
            do="find out which of the two is right (sanche verify); nothing was published",
        )
    shutil.rmtree(place.staging)
    return manifest_sha256


def _content(manifest: dict[str, Any]) -> dict[str, Any]:
    """What a package says, whatever the encryption's randomness and the ledger's state were."""
    files = [{name: file[name] for name in ("name", "rows", "plaintext_sha256")} for file in manifest["files"]]
    return {name: value for name, value in manifest.items() if name != "ledger_head"} | {"files": files}


def publish_folder(place: Place) -> None:
    """The rename that makes a package visible to its recipient. Safe to repeat."""
    place.published.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    place.staging.rename(place.published)
    sync_folder(place.published.parent)
    sync_folder(place.staging.parent)


def discard_staging(outbox: Path, agreement: str) -> None:
    """What a killed run left and nobody registered. Only under the writer's lock."""
    for folder in (outbox / ".staging").glob(f"{agreement}-[0-9]*"):
        shutil.rmtree(folder)


def write_durably(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
