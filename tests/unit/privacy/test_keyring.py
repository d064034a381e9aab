"""A keyring keeps keys, refuses whoever should not have them, and says what to do."""

import json
import multiprocessing
from pathlib import Path

import pytest

from pipelines.errors import KeyUnavailable
from pipelines.privacy import Keyring

PASSPHRASE = "correct horse battery staple"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "seal.keyring"


def test_a_key_comes_back_after_reopening_and_lies_wrapped_on_disk(path: Path) -> None:
    made = Keyring.create(path, PASSPHRASE).add("identifier_block")
    assert len(made.material) == 32
    assert made.material.hex() not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    again = Keyring.open(path, PASSPHRASE)
    assert again.key("identifier_block") == made
    assert again.revision == 2
    assert made.material.hex() not in repr(made) + repr(again) + repr(again.labels())


def test_the_newest_enabled_version_is_given_and_old_ones_by_number(path: Path) -> None:
    ring = Keyring.create(path, PASSPHRASE)
    first, second = ring.add("pseudonym", "bank_a"), ring.add("pseudonym", "bank_a")
    assert ring.key("pseudonym", "bank_a") == second
    assert ring.key("pseudonym", "bank_a", version=1) == first
    ring.disable(second.kid)
    assert Keyring.open(path, PASSPHRASE).key("pseudonym", "bank_a") == first
    assert ring.get_or_add("pseudonym", "bank_a") == first
    assert ring.get_or_add("pseudonym", "insurer_b") != first


def test_a_destroyed_key_is_gone_from_the_file_and_never_comes_back(path: Path) -> None:
    ring = Keyring.create(path, PASSPHRASE)
    key = ring.add("vault_day", "2026-08-20")
    ring.destroy(key.kid)
    entry = json.loads(path.read_text())["keys"][0]
    assert (entry["state"], entry["wrapped"], entry["nonce"]) == ("destroyed", "", "")
    with pytest.raises(KeyUnavailable, match="no enabled key: vault_day/2026-08-20"):
        Keyring.open(path, PASSPHRASE).key("vault_day", "2026-08-20")
    assert ring.add("vault_day", "2026-08-20").version == 2  # a label is never used twice


def refusal(path: Path, passphrase: str = PASSPHRASE) -> KeyUnavailable:
    with pytest.raises(KeyUnavailable) as refused:
        ring = Keyring.open(path, passphrase)
        ring.key("identifier_block")
    assert refused.value.exit_code == 77
    assert refused.value.where
    assert refused.value.why
    assert refused.value.do
    assert passphrase not in str(refused.value)
    return refused.value


def test_each_way_of_being_unavailable_is_named(path: Path) -> None:
    assert "no keyring" in refusal(path).what
    Keyring.create(path, PASSPHRASE)
    assert "no enabled key" in refusal(path).what
    assert "wrong passphrase" in refusal(path, "another").what
    path.write_text("{")
    assert "damaged" in refusal(path).what


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["keys"][0].update(purpose="identifier_cmac"),
        lambda d: d["keys"][0].update(state="disabled"),
        lambda d: d["keys"][0].update(wrapped=d["keys"][1]["wrapped"], nonce=d["keys"][1]["nonce"]),
        lambda d: d.update(revision=1),
        lambda d: d["keys"].pop(),
        lambda d: d.update(keys="x"),
        lambda d: d["kdf"].update(iterations=1),
        lambda d: d.update(mac="00"),
        lambda d: d.pop("check"),
    ],
)
def test_whatever_is_changed_in_the_file_is_noticed(path: Path, change: object) -> None:
    ring = Keyring.create(path, PASSPHRASE)
    ring.add("identifier_block")
    ring.add("identifier_cmac")
    document = json.loads(path.read_text())
    change(document)  # type: ignore[operator]
    path.write_text(json.dumps(document))
    assert "damaged" in refusal(path).what


def test_a_cut_file_is_noticed_at_every_length(path: Path) -> None:
    Keyring.create(path, PASSPHRASE).add("identifier_block")
    whole = path.read_bytes()
    for length in range(0, len(whole) - 2, 97):
        path.write_bytes(whole[:length])
        assert "damaged" in refusal(path).what


def test_creating_never_overwrites(path: Path) -> None:
    key = Keyring.create(path, PASSPHRASE).add("identifier_block")
    with pytest.raises(KeyUnavailable, match="there already"):
        Keyring.create(path, PASSPHRASE)
    assert Keyring.open(path, PASSPHRASE).key("identifier_block") == key


def _add(path: Path, number: int) -> None:
    ring = Keyring.open(path, PASSPHRASE)
    ring.add("vault_day", f"day-{number}")
    ring.get_or_add("shared")


def test_writers_at_once_lose_no_key_and_make_none_twice(path: Path) -> None:
    Keyring.create(path, PASSPHRASE)
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_add, args=(path, number)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    kids = [label["kid"] for label in Keyring.open(path, PASSPHRASE).labels()]
    assert sorted(kids) == ["shared/v1", *(f"vault_day/day-{n}/v1" for n in range(4))]
