"""The files that the lake speaks of: data files, vault objects, packages. Each is what was committed, or is named.

Promises: every file is read to its end and hashed; a missing, cut, altered or unknown one is a finding.
Refuses:  to decrypt anything: hashes are of what lies on the disk.
Not here: what is in the files; the ledger's own files (verify.py).
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.errors import SancheError
from pipelines.lake import Lake
from pipelines.lake.files import on_disk, sha256_of
from pipelines.ledger.findings import Finding, Findings, judged
from pipelines.settings import Settings

CheckSignature = Callable[[bytes, bytes], object]  # (statement, detached signature); raises unless it holds

PULLED = """
select feed, business_date, address, min(ciphertext_sha256), count(distinct ciphertext_sha256), min(bytes)
from control.pulled where $day is null or business_date = $day group by all order by all
"""
EXTRACTS = """
select agreement, recipient, sequence, manifest_sha256, status
from control.extract where $day is null or business_date = $day order by agreement, sequence
"""


def data_files(lake: Lake) -> Findings:
    """One finding per table: all its data files are those that were committed."""
    faults: dict[str, list[str]] = {table: [] for table, _ in lake.used_files()}
    for fault in lake.file_faults():
        faults[fault.table].append(f"{fault.path}: {fault.fault}")
    for table, found in sorted(faults.items()):
        yield judged("data files", table, found)
    left = orphans(lake)
    if left:
        yield Finding("orphans", "the lake", "holds", f"{len(left)} data files that no table uses")


def orphans(lake: Lake) -> list[str]:
    """Data files that no table uses: what a killed commit left. Harmless; upkeep removes old ones."""
    used = {path for _, path in lake.used_files()}
    return sorted(path for path in on_disk(lake.data_dir) if path not in used)


def vault_objects(lake: Lake, settings: Settings, business_date: date | None) -> Findings:
    """One finding per feed and business date: each pulled object lies in the vault as it was pulled."""
    faults: dict[tuple[str, date], list[str]] = defaultdict(list)
    for feed, day, address, sha256, hashes, size in lake.rows(PULLED, {"day": business_date}):
        path = settings.vault_dir / feed / day.isoformat() / f"{address}.age"
        found = faults[feed, day]
        if hashes > 1:
            found.append(f"{address}: two hashes for one object")
        elif not path.is_file():
            found.append(f"{address}: missing")
        elif sha256_of(path) != (sha256, size):
            found.append(f"{address}: altered")
    for (feed, day), found in sorted(faults.items()):
        yield judged("vault objects", f"{feed} {day}", found)


def packages(
    lake: Lake, settings: Settings, business_date: date | None, check_signature: CheckSignature | None
) -> Findings:
    """One finding per package: its manifest is the committed and signed one, its files are the manifest's."""
    for agreement, recipient, sequence, sha256, status in lake.rows(EXTRACTS, {"day": business_date}):
        if status == "unpublished":
            continue
        # The folder that our own numbering gives: a path that stands in a table is never followed.
        name = f"{agreement}-{sequence:06d}"
        published, staged = settings.outbox_dir / recipient / name, settings.outbox_dir / ".staging" / name
        if not published.exists() and staged.exists() and not _package_faults(staged, sha256, check_signature):
            detail = "committed, and not yet renamed into the outbox; the next extract does it"
            yield Finding("package", name, "holds", detail)
        else:
            yield judged("package", name, _package_faults(published, sha256, check_signature))


def _package_faults(place: Path, manifest_sha256: str, check_signature: CheckSignature | None) -> list[str]:
    manifest, signature = place / "manifest.json", place / "manifest.json.p7s"
    if not manifest.is_file() or not signature.is_file():
        return ["its manifest or the signature of it is missing"]
    told = manifest.read_bytes()
    if hashlib.sha256(told).hexdigest() != manifest_sha256:
        return ["its manifest is not the one that was published"]
    faults = []
    if check_signature is not None:
        try:
            check_signature(told, signature.read_bytes())
        except SancheError as error:
            faults.append(f"its manifest's signature: {error.what}")
    listed: list[dict[str, Any]] = json.loads(told)["files"]
    for file in listed:
        path = place / str(file["name"])
        if path.parent != place or not path.is_file():
            faults.append(f"{file['name']}: missing")
        elif sha256_of(path)[0] != file["sha256"]:
            faults.append(f"{file['name']}: altered")
    strangers = {path.name for path in place.iterdir()} - {str(file["name"]) for file in listed}
    faults += [f"{name}: not in the manifest" for name in sorted(strangers - {manifest.name, signature.name})]
    return faults
