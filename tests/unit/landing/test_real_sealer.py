"""The landing with everything real around it: keyrings, vault, a `sanche seal` process, the gate, the ledger."""

from __future__ import annotations

import hashlib
import json
from datetime import date, timedelta
from pathlib import Path

import pytest

from pipelines import vault
from pipelines.contracts import load_all
from pipelines.errors import SancheError
from pipelines.identifiers import citizen_id
from pipelines.lake import Lake
from pipelines.landing import land
from pipelines.launch import Sealer
from pipelines.ledger import close_head, verify
from pipelines.privacy import cms_signer, cms_verifier, day_recipient, init_keyrings, open_keyring
from pipelines.receipt import Receipt
from pipelines.settings import Settings

NIGHT = date(2026, 8, 20)
NUMBER = "43010219900307851"  # the check digit makes it eighteen
PERSON = NUMBER + citizen_id.make_check_digit(NUMBER)


def in_vault(hub: Settings, lake: Lake, feed: str, content: bytes) -> None:
    """What the puller leaves behind."""
    keyring = open_keyring(hub, "pull")
    recipient = day_recipient(hub, NIGHT)
    reference = vault.put(hub, feed, NIGHT, content, address_key=keyring.key("vault"), recipient=recipient)
    with lake.commit(step="pull", business_date=NIGHT) as commit:
        commit.execute(
            "insert into control.pulled values (?, ?, ?, ?, ?, 0, ?, ?, ?, null, null, 'page 1')",
            [f"{feed}-b1", feed, NIGHT, NIGHT, NIGHT + timedelta(days=1), reference.address,
             reference.ciphertext_sha256, reference.bytes],
        )  # fmt: skip


def landed(hub: Settings, lake: Lake, feed: str) -> Receipt:
    return land(
        feed,
        contract=load_all(hub)[feed],
        settings=hub,
        lake=lake,
        keyring=open_keyring(hub, "land"),
        business_date=NIGHT,
        open_sealed=Sealer(hub).stream,
        gx=False,
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    hub = Settings(home=tmp_path / "hub")
    init_keyrings(hub)
    return hub


def test_a_raw_object_lands_as_tokens_and_the_whole_hub_verifies(settings: Settings) -> None:
    feed = "platform_worker"
    worker = {
        "platform_code": "food01", "platform_uscc": None, "platform_worker_id": "w-1", "id_type": "resident_id",
        "id_no": PERSON, "name": "王小明", "mobile": "13912345678", "gender": "male", "birth_date": "1990-03-07",
        "occupation_kind": "courier", "work_mode": None, "contract_company": None, "contract_on": None,
        "contract_off": None, "registered_region": "430102", "registered_at": "2026-01-05T09:00:00+08:00",
        "first_order_at": None, "deactivated_at": None, "account_status": "active", "shared_account_flag": False,
        "op": "I", "updated_at": "2026-08-20T09:00:00+08:00",
    }  # fmt: skip
    wrong = worker | {"platform_worker_id": "w-2", "id_no": PERSON[:-1] + ("0" if PERSON[-1] != "0" else "1")}
    lines = [json.dumps(row, ensure_ascii=False) for row in (worker, wrong, worker)]
    with Lake.attach(settings) as lake:
        in_vault(settings, lake, feed, "".join(f"{line}\n" for line in [*lines, "{broken"]).encode())
        receipt = landed(settings, lake, feed)
        assert receipt.fate == "landed"
        assert receipt.counts["physical"] == 4
        assert receipt.counts["quarantined"] >= 2
        reasons = [reason for (listed,) in lake.rows("select reasons from quarantine.record") for reason in listed]
        assert "id_no.bad_check_digit" in reasons
        assert "record.bad_json" in reasons
        close_head(lake, business_date=NIGHT, sign=cms_signer(settings, open_keyring(settings, "release")))
        report = verify(lake, settings, verify_signature=cms_verifier(settings))
        assert report.ok, report.broken
    unkeyed = hashlib.sha256(PERSON.encode()).hexdigest().encode()
    for file in (path for path in settings.home.rglob("*") if path.is_file()):
        content = file.read_bytes()
        for trace in (PERSON.encode(), "王小明".encode(), b"13912345678", unkeyed):
            assert trace not in content, file


def test_a_raw_object_that_was_changed_lands_nothing_and_the_sealer_says_so(settings: Settings) -> None:
    with Lake.attach(settings) as lake:
        in_vault(settings, lake, "platform_worker", b"{}\n")
        (stored,) = settings.vault_dir.glob("platform_worker/*/*.age")
        content = bytearray(stored.read_bytes())
        content[-1] ^= 1
        stored.write_bytes(content)
        with pytest.raises(SancheError) as failed:
            landed(settings, lake, "platform_worker")
        assert failed.value.exit_code in (65, 77)
        assert lake.rows("select count(*) from control.batch") == [(0,)]
