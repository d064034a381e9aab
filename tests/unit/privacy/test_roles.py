"""Four keyrings, each with its own passphrase; public halves beside them; a signature that openssl accepts."""

import subprocess
from datetime import date
from pathlib import Path

import pyrage
import pytest
from cryptography import x509

from pipelines.errors import KeyUnavailable, VerificationFailed
from pipelines.privacy import cms_signer, cms_verifier, day_recipient, init_keyrings, open_keyring, roles
from pipelines.settings import Settings

TONIGHT = date(2026, 8, 20)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = Settings(home=tmp_path_factory.mktemp("hub") / "var")
    init_keyrings(settings, valid_from=TONIGHT)
    return settings


def test_every_file_is_closed_to_others(hub: Settings) -> None:
    day_recipient(hub, TONIGHT)
    for path in [hub.home, *hub.home.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path
    for role in roles.ROLES:
        assert (hub.secrets_dir / f"{role}.passphrase").stat().st_mode & 0o777 == 0o400


def test_no_role_holds_another_s_key(hub: Settings) -> None:
    held = {role: {label["purpose"] for label in open_keyring(hub, role).labels()} for role in roles.ROLES}
    assert held["pull"] == {"vault"}
    assert held["seal"] >= {"identifier_block", "identifier_cmac", "record_hash"}
    assert held["land"] == {"identifier_outer"}
    assert held["release"] == {"release_identity", "hub_signing"}
    assert not (held["seal"] & held["land"]) and not (held["seal"] & held["release"])


def test_init_again_changes_nothing(hub: Settings) -> None:
    before = {path: path.read_bytes() for path in hub.home.rglob("*") if path.is_file()}
    init_keyrings(hub, valid_from=date(2027, 1, 1))
    assert {path: path.read_bytes() for path in hub.home.rglob("*") if path.is_file()} == before


def test_the_day_s_recipient_is_made_once_and_its_secret_opens_it(hub: Settings) -> None:
    recipient = day_recipient(hub, TONIGHT)
    assert day_recipient(hub, TONIGHT) == recipient
    assert roles.read_recipient(roles.day_recipient_path(hub, TONIGHT)) == recipient
    identity = roles.as_identity(open_keyring(hub, "seal").key(roles.VAULT_DAY, TONIGHT.isoformat()))
    sealed = pyrage.encrypt(b"raw", [pyrage.x25519.Recipient.from_str(recipient)])
    assert pyrage.decrypt(sealed, [identity]) == b"raw"
    assert day_recipient(hub, date(2026, 8, 21)) != recipient


def test_a_passphrase_that_others_can_read_is_refused(hub: Settings) -> None:
    path = hub.secrets_dir / "land.passphrase"
    path.chmod(0o440)
    try:
        with pytest.raises(KeyUnavailable, match="not secret"):
            open_keyring(hub, "land")
    finally:
        path.chmod(0o400)


def test_a_missing_passphrase_stops_the_step_and_is_not_made_anew(hub: Settings) -> None:
    path = hub.secrets_dir / "land.passphrase"
    path.rename(path.with_suffix(".away"))
    try:
        with pytest.raises(KeyUnavailable, match="no passphrase for the land keyring"):
            open_keyring(hub, "land")
        with pytest.raises(KeyUnavailable, match="no passphrase for the land keyring"):
            init_keyrings(hub)
    finally:
        path.with_suffix(".away").rename(path)
    with pytest.raises(KeyUnavailable, match="no such role"):
        open_keyring(hub, "root")


def test_a_systemd_credential_comes_first(hub: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "seal.passphrase").write_text("something else\n")
    with pytest.raises(KeyUnavailable, match="wrong passphrase"):
        open_keyring(hub, "seal")
    assert open_keyring(hub, "land").has("identifier_outer")


def test_pseudonym_spaces_get_keys_of_their_own_when_first_used(hub: Settings) -> None:
    release = open_keyring(hub, "release")
    from pipelines.privacy import pseudonym_key

    one, other = pseudonym_key(release, "bank_a"), pseudonym_key(release, "insurer_b")
    assert one.material != other.material
    assert pseudonym_key(open_keyring(hub, "release"), "bank_a") == one
    for key in (one, other):
        release.destroy(key.kid)


def test_the_signature_is_a_detached_cms_that_openssl_accepts(hub: Settings, tmp_path: Path) -> None:
    sign = cms_signer(hub, open_keyring(hub, "release"))
    (tmp_path / "said").write_bytes(b"head 1\r\n\n")
    (tmp_path / "said.p7s").write_bytes(sign(b"head 1\r\n\n"))
    certificate = str(roles.signing_certificate_path(hub))
    command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", str(tmp_path / "said.p7s")]
    command += ["-content", str(tmp_path / "said"), "-CAfile", certificate, "-no_check_time"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_another_text_another_signer_and_a_broken_signature_are_refused(hub: Settings, tmp_path: Path) -> None:
    verify = cms_verifier(hub)
    signature = cms_signer(hub, open_keyring(hub, "release"))(b"head 1")
    verify(b"head 1", signature)
    elsewhere = Settings(home=tmp_path / "other")
    init_keyrings(elsewhere)
    forged = cms_signer(elsewhere, open_keyring(elsewhere, "release"))(b"head 1")
    for text, signed in ((b"head 2", signature), (b"head 1", forged), (b"head 1", signature[:-1]), (b"", b"")):
        with pytest.raises(VerificationFailed):
            verify(text, signed)


def test_the_certificate_is_valid_from_the_day_that_was_given(hub: Settings) -> None:
    certificate = x509.load_pem_x509_certificate(roles.signing_certificate_path(hub).read_bytes())
    assert certificate.not_valid_before_utc.date() == TONIGHT
