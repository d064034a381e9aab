"""A made-up bank or insurer: its private key, its folder, and the public file that it registers with the hub.

Promises: one folder per institution, 0700, private files 0600; made once, kept on a rerun.
Refuses:  to put anything private among the files it returns.
Not here: what it does with a package (extracts/receiver.py, which an institution may copy).
"""

from __future__ import annotations

import json
import os
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pyrage
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pipelines.errors import Usage

RSA_BITS = 3072  # SP 800-57: 128-bit strength
VALID_DAYS = 3650


def make_institution(folder: Path, *, name: str, kind: str, valid_from: date) -> list[Path]:
    """Make the institution's identity. kind: cms (RSA key and certificate) or age (X25519).

    Returns: the public files to register, named as the hub's recipients folder wants them.
    """
    if kind not in ("cms", "age"):
        raise Usage(
            "no such kind of institution", why="an institution opens CMS or age envelopes", do="cms or age"
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    public = folder / "register" / (f"{name}.cert.pem" if kind == "cms" else f"{name}.age.pub")
    if public.exists():
        return [public]
    public.parent.mkdir(mode=0o700, exist_ok=True)
    if kind == "cms":
        certificate = _make_rsa(folder, name, valid_from)
        _write(folder / "cert.pem", certificate)
        made = certificate
    else:
        made = _make_age(folder)
    _write(folder / "institution.json", json.dumps({"recipient": name, "kind": kind}).encode())
    _write(public, made)  # last: its presence says that the rest is there
    return [public]


def _make_rsa(folder: Path, name: str, valid_from: date) -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    start = datetime.combine(valid_from, time.min, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - timedelta(days=1))
        .not_valid_after(start + timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_for_encryption_only(), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(folder / "key.pem", private)
    return certificate.public_bytes(serialization.Encoding.PEM)


def _for_encryption_only() -> x509.KeyUsage:
    return x509.KeyUsage(
        key_encipherment=True,
        digital_signature=False,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _make_age(folder: Path) -> bytes:
    identity = pyrage.x25519.Identity.generate()
    _write(folder / "age.key", f"{identity}\n".encode())
    return f"{identity.to_public()}\n".encode()


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
