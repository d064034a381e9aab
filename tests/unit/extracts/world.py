"""A hub with hand-made consents and decisions, two institutions, and everything real from there on."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipelines import ledger
from pipelines.calendar import as_of
from pipelines.consent import Agreement
from pipelines.extracts import Received, extract, receive
from pipelines.lake import Lake
from pipelines.privacy import Keyring, cms_signer, init_keyrings
from pipelines.province.institutions import make_institution
from pipelines.receipt import Receipt
from pipelines.settings import Settings
from tests.unit.consent.world import BANK, CONSENT_DDL, INSURER, NIGHT, consent_row, id_token, person_id

FIRST = date(2026, 8, 19)
DECISION_DDL = """create table if not exists decisions.decision (decision_no varchar, agreement varchar,
    recipient varchar, product varchar, product_version varchar, rule_hash varchar, person_id uuid,
    consent_id varchar, consent_version int, phase varchar, business_date date, as_of date, known_at date,
    decided_on date, valid_until date, outcome varchar, tier varchar, limit_fen bigint, max_instalment_fen bigint,
    sweep_bp int, payout_cycle varchar, payout_dom int, conditions varchar[], reason_codes varchar[],
    reasons varchar, verification_grade varchar, source_as_of date, identity_match varchar, change_type varchar,
    change_reason varchar, supersedes varchar, review boolean, dispute boolean, consent_expires date,
    delete_by date, cover_from timestamptz, cover_to timestamptz, variant varchar, vehicle varchar,
    sum_insured_fen bigint, premium_basis varchar, duplicate_cover boolean, feature_hash varchar)"""
LINK_DDL = """create table if not exists marts.person_link (person_id uuid, source varchar, issuer varchar,
    account_token uuid, id_token uuid, name_token uuid, mobile_token uuid, link_method varchar,
    confidence varchar, valid_from date, valid_to date)"""


def make_hub(folder: Path) -> tuple[Settings, dict[str, Path]]:
    """Keyrings, two registered institutions, an empty lake with the tables that the other rooms make."""
    hub = Settings(home=folder / "hub", threads=1, memory_limit="300MB")
    init_keyrings(hub, valid_from=FIRST)
    hub.recipients_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    homes = {}
    for name, kind in (("bank_a", "cms"), ("insurer_b", "age")):
        homes[name] = folder / name
        for public in make_institution(homes[name], name=name, kind=kind, valid_from=FIRST):
            shutil.copy(public, hub.recipients_dir / public.name)
    with Lake.attach(hub) as lake:
        for ddl in (CONSENT_DDL.replace("create table", "create table if not exists"), DECISION_DDL, LINK_DDL):
            lake.ensure_table(ddl)
    return hub, homes


@dataclass
class World:
    """Draws rows into the lake, publishes, and receives as the institutions do."""

    hub: Settings
    homes: dict[str, Path]
    lake: Lake
    keyring: Keyring
    drawn: int = 0
    persons: set[str] = field(default_factory=set)
    consents: set[tuple[str, str]] = field(default_factory=set)
    pending: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def _insert(self, table: str, row: dict[str, Any]) -> None:
        self.pending.setdefault(table, []).append(row)

    def flush(self) -> None:
        """Write what was drawn: one commit, one data file a table."""
        pending, self.pending = self.pending, {}
        if not pending:
            return
        with self.lake.commit(step="draw", business_date=None) as commit:
            for table, rows in pending.items():
                commit.execute(f"create or replace temp table drawn as from {table} limit 0")
                for row in rows:
                    columns = ", ".join(f"${key} as {key}" for key in row)
                    commit.execute(f"insert into drawn by name select {columns}", row)
                commit.execute(f"insert into {table} from drawn")

    def given(self, name: str, agreement: Agreement = BANK, on: date = NIGHT, **decision: Any) -> str:
        """A person with a live consent and a decision for the night."""
        if name not in self.persons:
            self.persons.add(name)
            link = {"person_id": person_id(name), "source": "consent", "id_token": id_token(name),
                    "valid_from": date(2025, 1, 1)}  # fmt: skip
            self._insert("marts.person_link", link)
        if (name, agreement.id) not in self.consents:
            self.consent(name, agreement)
        return self.decided(name, agreement, on, **decision)

    def consent(self, name: str, agreement: Agreement = BANK, ref: str | None = None, **changes: Any) -> None:
        self.drawn += 1
        self.consents.add((name, agreement.id))
        row = consent_row(name, agreement) | {"row_no": self.drawn} | changes
        sealed = seal_ref(ref or f"APPL-{name.upper():>06}".replace(" ", "0"), self.hub)
        self._insert("landed.consent", row | {"recipient_ref_sealed": sealed})

    def withdraw(self, name: str, agreement: Agreement = BANK, *, version: int = 2, **changes: Any) -> None:
        noon = "2026-08-20 12:00:00+08"
        when = {"withdrawn_at": noon, "source_updated_at": noon, "known_on": NIGHT, "op": "U"}
        self.consent(name, agreement, version=version, **(when | changes))

    def decided(self, name: str, agreement: Agreement = BANK, on: date = NIGHT, **changes: Any) -> str:
        consent = consent_row(name, agreement)
        row = {
            "decision_no": f"{agreement.products[0]}-{name}-{on:%Y%m%d}", "agreement": agreement.id,
            "recipient": agreement.recipient, "product": agreement.products[0], "product_version": "1",
            "rule_hash": "ab" * 32, "person_id": person_id(name), "consent_id": consent["consent_id"],
            "consent_version": 1, "phase": "ORIGINATION", "business_date": on, "as_of": as_of(on), "known_at": on,
            "decided_on": as_of(on), "valid_until": as_of(on) + timedelta(days=30), "outcome": "ELIGIBLE",
            "tier": "A", "limit_fen": 1_200_000, "reason_codes": ["R201", "R202", "R203", "R204", "R205"],
            "conditions": [], "reasons": "[]", "identity_match": "ID_NAME", "change_type": "NEW",
            "review": False, "dispute": False, "feature_hash": "feature-hash-never-leaves",
        } | changes  # fmt: skip
        self._insert("decisions.decision", row)
        return str(row["decision_no"])

    def head(self, on: date = NIGHT) -> None:
        self.flush()
        with self.lake.commit(step="draw", business_date=on) as commit:
            commit.execute("insert into control.build values ('decide', ?, 'by hand', 1)", [on])
            ledger.append(commit, stream="decisions", kind="decided", business_date=on, body={"n": 1})
        ledger.close_head(self.lake, business_date=on, sign=cms_signer(self.hub, self.keyring))

    def publish(self, agreement: Agreement = BANK, on: date = NIGHT) -> Receipt:
        self.flush()
        head = ledger.latest_head(self.lake)
        if head is None or head.business_date < on:
            self.head(on)
        return extract(agreement.id, settings=self.hub, lake=self.lake, keyring=self.keyring, business_date=on)

    def receive(self, package: Path | Receipt, recipient: str = "bank_a", today: date | None = None) -> Received:
        folder = Path(package.paths["package"]) if isinstance(package, Receipt) else package
        home = self.homes[recipient]
        return receive(
            folder,
            institution_dir=home,
            hub_cert=self.hub.keys_dir / "hub-signing.cert.pem",
            state_file=home / "state.json",
            today=today,
        )


def manifest_of(receipt: Receipt) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(receipt.paths["package"]) / "manifest.json").read_bytes())
    return found


def rows_of(received: Received) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for file in received.files:
        if file.suffix == ".parquet":
            found += pq.read_table(file).to_pylist()
    return found


def seal_ref(ref: str, hub: Settings) -> bytes:
    import pyrage

    public = pyrage.x25519.Recipient.from_str((hub.keys_dir / "release.age.pub").read_text().strip())
    return bytes(pyrage.encrypt(ref.encode(), [public]))


__all__ = ["BANK", "INSURER", "NIGHT", "World", "make_hub", "manifest_of", "rows_of"]
