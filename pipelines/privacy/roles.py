"""Who holds which keys: pull, seal, land and release, each with a keyring and a passphrase of its own.

Promises: `init_keyrings` may be run again and changes nothing that is there; what others need of a secret key
          (a recipient, a certificate) lies beside the keyrings as a public file.
Refuses:  a passphrase file that others can read, and to start a keyring whose passphrase is lost.
Not here: the format of a keyring (keyring), the clock: a certificate's validity begins at a date that is passed.
"""

from __future__ import annotations

import os
import secrets
import stat
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pyrage
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pipelines.errors import KeyUnavailable
from pipelines.privacy.files import private_folder, write_private
from pipelines.privacy.keyring import Key, Keyring
from pipelines.settings import Settings

ROLES = ("pull", "seal", "land", "release")
VAULT_ADDRESS = "vault"
IDENTIFIER_BLOCK = "identifier_block"  # K1a
IDENTIFIER_CMAC = "identifier_cmac"
RECORD_HASH = "record_hash"
VAULT_DAY = "vault_day"
IDENTIFIER_OUTER = "identifier_outer"  # K1b
PSEUDONYM = "pseudonym"  # K2, one per pseudonym space
RELEASE_IDENTITY = "release_identity"
HUB_SIGNING = "hub_signing"
_KEYS = {
    "pull": (VAULT_ADDRESS,),
    "seal": (IDENTIFIER_BLOCK, IDENTIFIER_CMAC, RECORD_HASH),
    "land": (IDENTIFIER_OUTER,),
    "release": (),
}
_FIRST_DAY = date(2026, 1, 1)
_CERTIFICATE_YEARS = 10  # of a private pin, not of a public authority; rotated by hand


def keyring_path(settings: Settings, role: str) -> Path:
    return settings.keys_dir / f"{role}.keyring"


def release_recipient_path(settings: Settings) -> Path:
    return settings.keys_dir / "release.age.pub"


def signing_certificate_path(settings: Settings) -> Path:
    return settings.keys_dir / "hub-signing.cert.pem"


def day_recipient_path(settings: Settings, business_date: date) -> Path:
    return settings.vault_dir / "recipients" / f"{business_date.isoformat()}.age.pub"


def open_keyring(settings: Settings, role: str) -> Keyring:
    """Open a role's keyring with the passphrase of the process that runs. Raises KeyUnavailable."""
    if role not in ROLES:
        raise KeyUnavailable(f"no such role: {role}", why=f"the roles are {', '.join(ROLES)}")
    return Keyring.open(keyring_path(settings, role), _passphrase(settings, role))


def init_keyrings(settings: Settings, *, valid_from: date = _FIRST_DAY) -> dict[str, int]:
    """Make what is missing of the four keyrings; returns each role's revision.

    valid_from: first day of the hub's signing certificate, if one has to be made.
    """
    rings = {role: _ready(settings, role) for role in ROLES}
    for role, purposes in _KEYS.items():
        for purpose in purposes:
            rings[role].get_or_add(purpose)
    release = rings["release"]
    identity = release.get_or_add(RELEASE_IDENTITY, make=_new_identity, suite="X25519")
    recipient = str(as_identity(identity).to_public())
    _publish(release_recipient_path(settings), f"{recipient}\n".encode())
    signing = release.get_or_add(HUB_SIGNING, make=_new_signing_key, suite="EC-P256")
    if not signing_certificate_path(settings).exists():
        _publish(signing_certificate_path(settings), _self_signed(signing, valid_from))
    return {role: ring.revision for role, ring in rings.items()}


def day_recipient(settings: Settings, business_date: date) -> str:
    """The age recipient for this business date's raw objects; its secret goes into the seal keyring."""
    ring = open_keyring(settings, "seal")
    key = ring.get_or_add(VAULT_DAY, business_date.isoformat(), make=_new_identity, suite="X25519")
    recipient = str(as_identity(key).to_public())
    _publish(day_recipient_path(settings, business_date), f"{recipient}\n".encode())
    return recipient


def read_recipient(path: Path) -> str:
    """An age recipient from its public file. Raises KeyUnavailable."""
    try:
        recipient = path.read_text("ascii").strip()
        pyrage.x25519.Recipient.from_str(recipient)
    except (OSError, ValueError, pyrage.RecipientError):
        raise KeyUnavailable(
            f"no public key: {path.name}",
            where=str(path),
            why="the file is missing or is not an age recipient",
            do="sanche keys init (release), sanche keys day (the vault's key of a business date)",
        ) from None
    return recipient


def as_identity(key: Key) -> pyrage.x25519.Identity:
    """An X25519 key of a keyring as pyrage's identity."""
    try:
        return pyrage.x25519.Identity.from_str(key.material.decode("ascii"))
    except (ValueError, pyrage.IdentityError):
        raise KeyUnavailable(f"not an age identity: {key.kid}", why=f"its suite is {key.suite}") from None


def pseudonym_key(keyring: Keyring, space: str) -> Key:
    """K2 of a pseudonym space (release keyring), made when the space is first used."""
    return keyring.get_or_add(PSEUDONYM, space)


def signing_key(keyring: Keyring) -> ec.EllipticCurvePrivateKey:
    """The hub's private signing key (release keyring)."""
    private = serialization.load_der_private_key(keyring.key(HUB_SIGNING).material, None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise KeyUnavailable(f"not a signing key: {HUB_SIGNING}")
    return private


def _ready(settings: Settings, role: str) -> Keyring:
    path, passphrase_path = keyring_path(settings, role), _passphrase_path(settings, role)
    if path.exists():
        return open_keyring(settings, role)
    if not passphrase_path.exists():
        write_private(passphrase_path, f"{secrets.token_urlsafe(32)}\n".encode(), mode=0o400)
    return Keyring.create(path, _passphrase(settings, role))


def _passphrase_path(settings: Settings, role: str) -> Path:
    """A systemd credential of this service if there is one, else the user's own 0400 file."""
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials:
        credential = Path(credentials) / f"{role}.passphrase"
        if credential.exists():
            return credential
    return settings.secrets_dir / f"{role}.passphrase"


def _passphrase(settings: Settings, role: str) -> str:
    path = _passphrase_path(settings, role)
    try:
        passphrase = path.read_text("utf-8").strip()
        mode = stat.S_IMODE(path.stat().st_mode)
    except (OSError, UnicodeDecodeError):
        raise KeyUnavailable(
            f"no passphrase for the {role} keyring",
            where=str(path),
            why="the file is missing, or this operating-system user may not read it",
            do=f"run this step as the user of the role {role}; in a new hub: sanche keys init",
        ) from None
    if path.parent == settings.secrets_dir and mode & 0o077:
        raise KeyUnavailable(
            f"the passphrase of the {role} keyring is not secret",
            where=str(path),
            why=f"others may read it (mode {mode:04o})",
            do=f"chmod 0400 {path}, and think about who has read it",
        )
    if not passphrase:
        raise KeyUnavailable(f"no passphrase for the {role} keyring", where=str(path), why="the file is empty")
    return passphrase


def _publish(path: Path, data: bytes) -> None:
    if not path.exists() or path.read_bytes() != data:
        private_folder(path.parent)
        write_private(path, data)


def _new_identity() -> bytes:
    return str(pyrage.x25519.Identity.generate()).encode("ascii")


def _new_signing_key() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _self_signed(key: Key, valid_from: date) -> bytes:
    private = serialization.load_der_private_key(key.material, None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sanche hub signing")])
    begins = datetime.combine(valid_from, time.min, tzinfo=UTC)
    usage = dict.fromkeys(
        ("key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign", "encipher_only",
         "decipher_only", "content_commitment"), False
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=365 * _CERTIFICATE_YEARS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, **usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
    )
    return builder.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
