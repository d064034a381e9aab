"""A hub with two nights in it, written straight into the lake: small, whole, and signed by a stand-in."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import VerificationFailed
from pipelines.lake import Commit, Lake
from pipelines.ledger import append, close_head
from pipelines.settings import Settings

FIRST = date(2026, 8, 19)
NIGHTS = (FIRST, FIRST + timedelta(days=1))
FEED = "bank_txn"


def sign(statement: bytes) -> bytes:
    """Stands in for the CMS signature of privacy/."""
    return hashlib.sha256(b"key" + statement).digest()


def check_signature(statement: bytes, signature: bytes) -> None:
    if sign(statement) != signature:
        raise VerificationFailed("the signature does not hold")


def pulled(commit: Commit, settings: Settings, night: date, *, rows: int, fen: int) -> str:
    """One object in the vault, and what control.pulled says of it."""
    batch, address = f"{FEED}-{night:%Y%m%d}", f"address{night:%d}"
    place = settings.vault_dir / FEED / night.isoformat() / f"{address}.age"
    place.parent.mkdir(parents=True)
    place.write_bytes(f"ciphertext of {night}".encode())
    sha256 = hashlib.sha256(place.read_bytes()).hexdigest()
    commit.execute(
        "insert into control.pulled values (?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, 'page 1')",
        [batch, FEED, night, night, night + timedelta(days=1), address, sha256, place.stat().st_size, rows, fen],
    )
    append(commit, stream=f"feed.{FEED}", kind="pulled", business_date=night, body={"batch_id": batch})
    return batch


def landed(commit: Commit, night: date, **changed: Any) -> None:
    """Ten landed rows (100 fen each), two quarantined, one duplicate of the first; one header record."""
    batch, address = f"{FEED}-{night:%Y%m%d}", f"address{night:%d}"
    commit.execute(
        "insert into landed.bank_txn select range + 2, $batch, $address, 100 from range(10)",
        {"batch": batch, "address": address},
    )
    commit.execute(
        "insert into quarantine.record select $batch, 'bank_txn', $night, $address, range + 12, null, ['r'], 7 "
        "from range(2)",
        {"batch": batch, "night": night, "address": address},
    )
    commit.execute(
        "insert into quarantine.duplicate "
        "values ($batch, 'bank_txn', $night, $address, 14, null, $batch, $address, 2, 100)",
        {"batch": batch, "night": night, "address": address},
    )
    counts = {"physical": 14, "control_records": 1, "landed": 10, "quarantined": 2, "duplicates": 1, "not_kept": 0}
    fen = {"declared": 1114, "landed": 1000, "quarantined": 14, "duplicates": 100, "provable": True}
    window = [night, night + timedelta(days=1)]
    said = counts | changed
    commit.execute(
        "insert into control.batch values (?, ?, '1.0.0', ?, ?, ?, 'nightly', 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
        "'landed', '{}')",
        [batch, FEED, night, *window, *said.values(), *fen.values()],
    )
    commit.execute("insert into control.window values (?, ?, ?, ?, ?, 'landed')", [FEED, *window, batch, night])
    tables = ("landed.bank_txn", "quarantine.duplicate", "quarantine.record")
    tracked = [file for table in tables for file in commit.track(table, batch)]
    body = {
        "batch_id": batch,
        "window": [day.isoformat() for day in window],
        "counts": counts,
        "fen": {"field": "amount_fen"} | fen,
        "files_sha256": hashlib.sha256(
            "".join(f"{file.path} {file.sha256}\n" for file in tracked).encode()
        ).hexdigest(),
    }
    append(commit, stream=f"feed.{FEED}", kind="landed", business_date=night, body=body)


def package(commit: Commit, settings: Settings, night: date, sequence: int, previous: str | None) -> str:
    """A published package of two rows; one person was withheld."""
    place = settings.outbox_dir / "bank_a" / f"bank_a_c1-{sequence:06d}"
    place.mkdir(parents=True)
    (place / "part-0.cms").write_bytes(b"encrypted" * sequence)
    sha256 = hashlib.sha256((place / "part-0.cms").read_bytes()).hexdigest()
    (place / "manifest.json").write_text(json.dumps({"files": [{"name": "part-0.cms", "sha256": sha256}]}))
    (place / "manifest.json.p7s").write_bytes(sign((place / "manifest.json").read_bytes()))
    manifest = hashlib.sha256((place / "manifest.json").read_bytes()).hexdigest()
    commit.execute(
        "insert into control.extract values ('bank_a_c1', 'bank_a', ?, ?, ?, ?, ?, ?, 2, 3, ?, 'published')",
        [sequence, night, night, manifest, previous, str(place), json.dumps({"no_consent": 1})],
    )
    commit.execute(
        "insert into control.extract_row select 'bank_a_c1', 'bank_a', ?, uuid(), 'c', 1, 'd', 'eligible', "
        "case when range = 2 then 'no_consent' end from range(3)",
        [sequence],
    )
    body = {"sequence": sequence, "manifest_sha256": manifest}
    append(commit, stream="agreement.bank_a_c1", kind="published", business_date=night, body=body)
    return manifest


def two_nights(settings: Settings) -> None:
    with Lake.attach(settings) as lake:
        lake.ensure_table(
            "create table if not exists landed.bank_txn "
            "(row_no bigint, batch_id varchar, object_address varchar, amount_fen bigint)"
        )
        previous = None
        for sequence, night in enumerate(NIGHTS, start=1):
            with lake.commit(step="pull", business_date=night) as commit:
                pulled(commit, settings, night, rows=13, fen=1114)
            with lake.commit(step="land", business_date=night) as commit:
                landed(commit, night)
            close_head(lake, business_date=night, sign=sign)
            with lake.commit(step="extract", business_date=night) as commit:
                previous = package(commit, settings, night, sequence, previous)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("hub") / "home"
    two_nights(Settings(home=home))
    return home


@pytest.fixture(scope="session")
def whole(made_once: Path) -> Iterator[Lake]:
    """The hub that nobody damages; changes to its tables only inside a transaction that is rolled back."""
    with Lake.attach(Settings(home=made_once)) as attached:
        yield attached


@pytest.fixture
def settings(tmp_path: Path, made_once: Path) -> Settings:
    """A hub of one's own to damage."""
    shutil.copytree(made_once, tmp_path / "hub")
    return Settings(home=tmp_path / "hub")


@pytest.fixture
def lake(settings: Settings) -> Iterator[Lake]:
    with Lake.attach(settings) as attached:
        yield attached
