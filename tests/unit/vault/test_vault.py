"""What was stored comes back whole to the one who holds the day's key, or not at all."""

from datetime import date
from pathlib import Path

import pyrage
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as trying
from hypothesis import strategies as st

from pipelines import vault
from pipelines.errors import KeyUnavailable, VerificationFailed
from pipelines.settings import Settings

TONIGHT = date(2026, 8, 20)
ADDRESS_KEY = bytes(range(32))
IDENTITY = pyrage.x25519.Identity.generate()
RECIPIENT = str(IDENTITY.to_public())


def put(hub: Settings, data: bytes, feed: str = "platform_order") -> vault.ObjectRef:
    return vault.put(hub, feed, TONIGHT, data, address_key=ADDRESS_KEY, recipient=RECIPIENT)


@pytest.fixture
def hub(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "var")


@trying(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=2000) | st.integers(0, 300_000).map(lambda n: b"abc" * n))
def test_what_was_put_comes_back(hub: Settings, data: bytes) -> None:
    assert vault.open_object(put(hub, data).path, IDENTITY) == data


def test_the_same_bytes_are_stored_once_and_kept_as_they_were(hub: Settings) -> None:
    first = put(hub, b"page 1")
    before = first.path.read_bytes()
    assert put(hub, b"page 1") == first
    assert first.path.read_bytes() == before
    assert vault.exists(hub, "platform_order", TONIGHT, first.address)
    assert not vault.exists(hub, "platform_order", TONIGHT, "0" * 64)


def test_an_address_depends_on_key_and_feed_and_tells_nothing_of_a_small_batch(hub: Settings) -> None:
    row = b"430102199003078014"
    addresses = {
        put(hub, row).address,
        put(hub, row, "platform_worker").address,
        vault.address_of("platform_order", row, address_key=bytes(32)),
    }
    assert len(addresses) == 3


def test_files_are_closed_to_others_hold_no_plaintext_and_leave_no_scraps(hub: Settings) -> None:
    reference = put(hub, b"13873100001" * 50)
    assert reference.path.stat().st_mode & 0o777 == 0o600
    assert reference.path.parent.stat().st_mode & 0o777 == 0o700
    assert b"13873100001" not in reference.path.read_bytes()
    assert [path.name for path in reference.path.parent.iterdir()] == [f"{reference.address}.age"]
    assert reference.bytes == reference.path.stat().st_size


def test_a_cut_at_any_length_opens_nothing(hub: Settings) -> None:
    path = put(hub, bytes(range(256)) * 600).path
    whole = path.read_bytes()
    for length in [*range(0, len(whole), max(len(whole) // 60, 1)), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(VerificationFailed) as refused:
            vault.open_object(path, IDENTITY)
        assert refused.value.do


def test_a_flipped_bit_another_key_and_a_missing_file_open_nothing(hub: Settings) -> None:
    path = put(hub, b"page 1").path
    with pytest.raises(VerificationFailed, match="does not open"):
        vault.open_object(path, pyrage.x25519.Identity.generate())
    flipped = bytearray(path.read_bytes())
    flipped[-1] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(VerificationFailed, match="does not open"):
        vault.open_object(path, IDENTITY)
    path.unlink()
    with pytest.raises(VerificationFailed, match="missing"):
        vault.open_object(path, IDENTITY)


def test_an_honest_age_file_that_is_no_vault_object_opens_nothing(hub: Settings) -> None:
    path = put(hub, b"page 1").path
    for inside in (b"", b"plain", b"\x28\xb5\x2f\xfd", b"\x28\xb5\x2f\xfd\xe0" + b"\xff" * 8 + b"x"):
        path.write_bytes(pyrage.encrypt(inside, [IDENTITY.to_public()]))
        with pytest.raises(VerificationFailed, match="does not open"):
            vault.open_object(path, IDENTITY)


def test_without_a_day_s_key_nothing_is_stored(hub: Settings) -> None:
    with pytest.raises(KeyUnavailable, match="not an age recipient"):
        vault.put(hub, "platform_order", TONIGHT, b"x", address_key=ADDRESS_KEY, recipient="age1nonsense")
    assert not hub.vault_dir.exists()
