"""The whole step: window, fetch, vault, one commit; with real keyrings, lake and agencies."""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import date
from pathlib import Path

import pyrage
import pytest
from asking import FIRST

from pipelines import ledger, vault
from pipelines.contracts import load_all
from pipelines.errors import KeyUnavailable, SourceBroken, SourceBusy
from pipelines.lake import Lake
from pipelines.privacy import day_recipient, init_keyrings, open_keyring
from pipelines.settings import Settings
from pipelines.sources import pull as step
from pipelines.sources import pulling, watermark

CONTRACTS = load_all(Settings())
NIGHT = date(2026, 8, 20)
THIRD = date(2026, 8, 21)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with keyrings, the keys of three days and an empty lake: made once, copied for each test."""
    home: Path = tmp_path_factory.mktemp("keys") / "hub"
    settings = Settings(home=home)
    init_keyrings(settings, valid_from=FIRST)
    for day in (FIRST, NIGHT, THIRD):
        day_recipient(settings, day)
    Lake.attach(settings).close()
    return home


@pytest.fixture
def hub(keys: Path, tmp_path: Path, agencies):
    with Hub(keys, tmp_path / "hub", agencies) as made:
        yield made


class Hub:
    """A hub's home, its lake open; `pull` runs the step."""

    def __init__(self, keys: Path, home: Path, agencies) -> None:
        shutil.copytree(keys, home)
        self.settings = Settings(home=home, page_rows=40, source_attempts=2, http_timeout_s=5)
        self.keyring = open_keyring(self.settings, "pull")
        self.settings.connections_file.touch(mode=0o600)
        self.settings.connections_file.write_text(json.dumps(agencies.connections()))

        self.lake = Lake.attach(self.settings)

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, *_) -> None:
        self.lake.close()

    def pull(self, feed: str, on: date = FIRST):
        return step(
            feed,
            contract=CONTRACTS[feed],
            settings=self.settings,
            lake=self.lake,
            keyring=self.keyring,
            business_date=on,
        )

    def rows(self, sql: str):
        return self.lake.rows(sql)

    def has_landed(self, receipt) -> None:
        """What the landing would record of a batch."""
        with self.lake.commit(step="land", business_date=receipt.business_date) as commit:
            commit.execute(
                "insert into control.window (feed, from_date, to_date, batch_id, business_date, fate) "
                "select distinct feed, window_from, window_to, batch_id, business_date, 'landed' "
                "from control.pulled where batch_id = ?",
                [receipt.batch_id],
            )

    def objects(self) -> list[Path]:
        return sorted(self.settings.vault_dir.glob("*/*/*.age"))

    def entries(self, feed: str):
        return list(ledger.entries(self.lake, f"feed.{feed}"))


FEEDS = ["platform_settlement", "consent", "platform_order", "si_param", "bank_txn"]


@pytest.mark.parametrize("feed", FEEDS)
def test_run_twice_changes_nothing(hub, feed):
    first, again = hub.pull(feed), hub.pull(feed)
    assert (first.fate, again.fate) == ("pulled", "unchanged")
    assert first.batch_id == again.batch_id
    assert first.counts["objects"] == again.counts["objects"] == len(hub.objects())
    assert len(hub.entries(feed)) == 1


def test_what_lies_in_the_vault_is_what_the_source_sent_and_only_the_sealer_reads_it(hub):
    receipt = hub.pull("platform_order")
    identity = day_recipient_secret(hub)
    opened = b"".join(
        vault.open_object(hub.settings.vault_dir / "platform_order" / "2026-08-19" / f"{address}.age", identity)
        for (address,) in hub.rows("select address from control.pulled order by object_no")
    )
    assert opened.count(b"\n") == receipt.counts["records"] == 250
    assert not any(b"order_id" in path.read_bytes() for path in hub.objects())
    with pytest.raises(KeyUnavailable):
        open_keyring(hub.settings, "pull").key("vault_day", FIRST.isoformat())


def day_recipient_secret(hub) -> pyrage.x25519.Identity:
    key = open_keyring(hub.settings, "seal").key("vault_day", FIRST.isoformat())
    return pyrage.x25519.Identity.from_str(key.material.decode())


def test_the_ledger_leads_to_the_raw_bytes(hub):
    hub.pull("bank_txn")
    (entry,) = hub.entries("bank_txn")
    stored = hub.rows("select address, ciphertext_sha256 from control.pulled order by object_no")
    listed = "".join(f"{address} {digest}\n" for address, digest in stored)
    assert json.loads(entry.body)["objects_sha256"] == hashlib.sha256(listed.encode()).hexdigest()
    for path in hub.objects():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == dict(stored)[path.stem]


def test_the_next_night_asks_only_for_what_is_new(hub):
    hub.has_landed(hub.pull("platform_order"))
    night = hub.pull("platform_order", NIGHT)
    assert night.counts["records"] == 30
    spans = hub.rows("select distinct window_from, window_to from control.pulled order by window_to")
    assert spans[-1] == (NIGHT, THIRD)


def test_a_night_that_never_landed_is_made_good_by_the_next(hub):
    hub.has_landed(hub.pull("bank_txn"))
    hub.pull("bank_txn", NIGHT)  # held, or killed before it landed
    third = hub.pull("bank_txn", THIRD)
    names = hub.rows(f"select source_name from control.pulled where batch_id = '{third.batch_id}' order by 1")
    assert [name for (name,) in names] == [
        f"BANK_TXN_202608{day}_{bank}.txt" for day in (20, 21) for bank in ("BK01", "BK02")
    ]
    assert hub.pull("bank_txn", THIRD).fate == "unchanged"


def test_a_date_that_landed_gives_its_window_again(hub):
    first = hub.pull("platform_order")
    hub.has_landed(first)
    assert hub.pull("platform_order").fate == "unchanged"
    inside = hub.pull("platform_order", date(2026, 3, 1))
    assert (inside.fate, inside.batch_id) == ("unchanged", first.batch_id)


def test_raw_bytes_that_were_lost_before_they_landed_are_fetched_again(hub):
    first = hub.pull("si_param")
    (path,) = hub.objects()
    path.unlink()
    again = hub.pull("si_param")
    assert (again.fate, again.batch_id) == ("pulled", first.batch_id)
    assert hub.rows("select count(*) from control.pulled") == [(1,)]
    assert json.loads(hub.entries("si_param")[-1].body)["replaces_objects"] == 1
    assert hub.pull("si_param").fate == "unchanged"


def test_C11_a_stored_object_that_changed_is_fetched_again(hub):
    hub.pull("si_param")
    (path,) = hub.objects()
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(bytes(changed))
    assert hub.pull("si_param").fate == "pulled"
    vault.open_object(path, day_recipient_secret(hub))  # would raise on the changed bytes
    assert hub.pull("si_param").fate == "unchanged"


def test_C9_of_two_runs_at_once_one_counts(hub, monkeypatch):
    real = pulling._fetch

    def meanwhile(*args, **kwargs):
        fetched = real(*args, **kwargs)
        with monkeypatch.context() as patch:
            patch.setattr(pulling, "_fetch", real)
            assert hub.pull("bank_txn").fate == "pulled"
        return fetched

    monkeypatch.setattr(pulling, "_fetch", meanwhile)
    assert hub.pull("bank_txn").fate == "unchanged"
    assert hub.rows("select count(*), count(distinct address) from control.pulled") == [(2, 2)]
    assert len(hub.entries("bank_txn")) == 1


@pytest.mark.parametrize("feed", ["platform_order", "bank_txn"])
def test_C1_killed_before_the_commit_ends_in_the_same_place(hub, feed, monkeypatch):
    def die(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pulling.ledger, "append", die)
        with pytest.raises(KeyboardInterrupt):
            hub.pull(feed)
    orphans = hub.objects()
    assert orphans
    assert hub.rows("select count(*) from control.pulled") == [(0,)]
    assert hub.pull(feed).fate == "pulled"
    assert hub.objects() == orphans  # content-addressed: the same objects, now spoken of


def test_without_the_days_key_nothing_is_fetched(hub):
    with pytest.raises(KeyUnavailable, match="sanche keys day --date 2026-08-25"):
        hub.pull("platform_order", date(2026, 8, 25))
    assert hub.objects() == []


def test_a_source_that_fails_leaves_no_window(hub):
    entry = json.loads(hub.settings.connections_file.read_text())
    entry["banks"]["port"] = 1
    hub.settings.connections_file.write_text(json.dumps(entry))
    with pytest.raises(SourceBusy):
        hub.pull("bank_txn")
    assert hub.rows("select count(*) from control.pulled") == [(0,)]
    assert hub.entries("bank_txn") == []


def test_S5_a_page_that_is_served_twice_is_seen(hub, monkeypatch):
    real = pulling.HttpApi.objects

    def twice(self):
        for item in real(self):
            yield item
            yield item

    monkeypatch.setattr(pulling.HttpApi, "objects", twice)
    with pytest.raises(SourceBroken, match="same bytes twice"):
        hub.pull("platform_order")


def test_F4_a_file_that_comes_again_under_another_name_counts_once(hub, monkeypatch):
    real = pulling.SftpDrop.objects

    def resent(self):
        for item in real(self):
            yield item
            yield type(item)(item.content, "BANK_TXN_20260819_BK09.txt")

    monkeypatch.setattr(pulling.SftpDrop, "objects", resent)
    receipt = hub.pull("bank_txn")
    assert (receipt.counts["objects"], receipt.counts["repeated"]) == (2, 2)


def test_F4_a_file_that_was_replaced_after_it_was_taken_is_told_and_kept(hub, drop):
    hub.has_landed(hub.pull("bank_txn"))
    replaced = drop / "BANK_TXN_20260819_BK01.txt"
    replaced.write_bytes(replaced.read_bytes().replace(b"|false|", b"|true|", 1))
    night = hub.pull("bank_txn", NIGHT)
    assert (night.counts["objects"], night.counts["altered"]) == (3, 1)
    assert json.loads(hub.entries("bank_txn")[-1].body)["altered"] == 1
    hub.has_landed(night)
    third = hub.pull("bank_txn", THIRD)
    assert (third.counts["objects"], third.counts.get("altered", 0)) == (2, 0)  # told once


def test_receipt_and_ledger_hold_ids_and_counts_only(hub):
    receipt = hub.pull("bank_txn")
    told = receipt.to_json() + hub.entries("bank_txn")[0].body
    assert "张三" not in told
    assert json.loads(hub.settings.connections_file.read_text())["banks"]["password"] not in told


def test_a_batch_is_named_by_feed_and_window_alone():
    window = watermark.Window(NIGHT, THIRD)
    assert watermark.batch_id("bank_txn", window) == watermark.batch_id("bank_txn", window)
    assert watermark.batch_id("bank_txn", window).startswith("bank_txn-20260821-")
    assert watermark.batch_id("bank_txn", window) != watermark.batch_id("bank_account", window)
