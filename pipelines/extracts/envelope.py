"""One recipient's envelope: bytes in by pipe, encrypted bytes out; the plaintext never touches a disk.

Promises: CMS AuthEnvelopedData (AES-256-GCM, RSA-OAEP with SHA-256) for institutions with a certificate, age
          (X25519) for the others; only to the key registered under recipients/.
Refuses:  a recipient without a registered key, or with a key of the wrong kind (KeyUnavailable).
Not here: signatures (privacy), what is inside (rows.py).
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pyrage

from pipelines.errors import Bug, KeyUnavailable
from pipelines.settings import Settings

SUFFIX = {"cms": ".cms", "age": ".age"}


def recipient_key(recipient: str, envelope: str, settings: Settings) -> Path:
    """The public key that the institution registered. Raises: KeyUnavailable."""
    path = settings.recipients_dir / f"{recipient}.{'cert.pem' if envelope == 'cms' else 'age.pub'}"
    if not path.is_file():
        raise KeyUnavailable(
            f"recipient {recipient} has no registered key",
            where=str(path),
            why="a package is encrypted to the key that came with the agreement, never to another",
            do="register the institution's public key there",
        )
    return path


def encrypt(plain: bytes, *, recipient: str, envelope: str, settings: Settings) -> bytes:
    """Encrypt for one recipient. Raises: KeyUnavailable."""
    key = recipient_key(recipient, envelope, settings)
    return _cms(plain, key, recipient) if envelope == "cms" else _age(plain, key, recipient)


def _cms(plain: bytes, certificate: Path, recipient: str) -> bytes:
    # The command's defaults would be PKCS#1 v1.5 and CBC; both are asked away.
    command = ["openssl", "cms", "-encrypt", "-binary", "-aes-256-gcm", "-outform", "DER"]
    command += ["-recip", str(certificate), "-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256"]
    try:
        done = subprocess.run(command, input=plain, capture_output=True, check=False)
    except FileNotFoundError:
        raise Bug("openssl is not installed", do="apt-get install openssl") from None
    if done.returncode != 0 or not done.stdout:
        raise _unfit(certificate, recipient)
    return done.stdout


def _age(plain: bytes, key: Path, recipient: str) -> bytes:
    try:
        return bytes(pyrage.encrypt(plain, [pyrage.x25519.Recipient.from_str(key.read_text().strip())]))
    except (pyrage.RecipientError, pyrage.EncryptError, UnicodeDecodeError):
        raise _unfit(key, recipient) from None


def _unfit(key: Path, recipient: str) -> KeyUnavailable:
    return KeyUnavailable(
        f"the registered key of {recipient} does not take an envelope",
        where=str(key),
        why="a certificate with an RSA key for cms, an age1… public key for age",
        do="ask the institution for its public key again",
    )
