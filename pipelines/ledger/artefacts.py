"""The files that the lake speaks of: data files, vault objects, packages. Each is what was committed, or is named.

Promises: every file is read to its end and hashed; a missing, cut, altered or unknown one is a finding.
Refuses:  to decrypt anything: hashes are of what lies on the disk.
Not here: what is in the files; the ledger's own files (verify.py).
"""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.lake import Lake
from pipelines.lake.files import on_disk, sha256_of
from pipelines.ledger.findings import Finding, Findings, judged
from pipelines.settings import Settings

PULLED = """
select feed, business_date, address, min(ciphertext_sha256), count(distinct ciphertext_sha256), min(bytes)
from control.pulled where $day is null or business_date = $day group by all order by all
"""
EXTRACTS = """
select agreement, recipient, sequence, manifest_sha256, previous_manifest_sha256, folder, status
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


def packages(lake: Lake, settings: Settings, business_date: date | None) -> Findings:
    """One finding per published package: its manifest is the committed one, its files are the manifest's."""
    for agreement, recipient, sequence, sha256, _, folder, status in lake.rows(EXTRACTS, {"day": business_date}):
        if status == "unpublished":
            continue
        place = _package_folder(settings, folder, recipient, agreement, sequence)
        yield judged("package", f"{agreement}-{sequence:06d}", _package_faults(place, sha256))


def _package_folder(settings: Settings, folder: str, recipient: str, agreement: str, sequence: int) -> Path:
    # Only the folder that our own numbering gives is looked at: a path from a table is never followed.
    del folder
    return settings.outbox_dir / recipient / f"{agreement}-{sequence:06d}"


def _package_faults(place: Path, manifest_sha256: str) -> list[str]:
    manifest = place / "manifest.json"
    if not manifest.is_file():
        return ["its manifest is missing"]
    if sha256_of(manifest)[0] != manifest_sha256:
        return ["its manifest is not the one that was published"]
    listed: list[dict[str, Any]] = json.loads(manifest.read_bytes()).get("files", [])
    faults = []
    for file in listed:
        name = str(file.get("name") or file.get("path"))
        path = place / name
        if "/" in name or not path.is_file():
            faults.append(f"{name}: missing")
        elif sha256_of(path)[0] != file["sha256"]:
            faults.append(f"{name}: altered")
    return faults
