"""The hub's signature: a detached CMS message that `openssl cms -verify` accepts.

Promises: the signer is the release keyring's own key; a verifier trusts the one certificate that it pinned.
Refuses:  to verify against anything but the pinned certificate (a certificate inside the message counts nothing).
Not here: what is signed (ledger/, extracts/), nor when: the clock is not read, the signed text has its date.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs7

from pipelines.errors import Bug, KeyUnavailable, VerificationFailed
from pipelines.privacy.files import memory_file
from pipelines.privacy.keyring import Keyring
from pipelines.privacy.roles import signing_certificate_path, signing_key
from pipelines.settings import Settings

_DETACHED = [
    pkcs7.PKCS7Options.DetachedSignature,
    pkcs7.PKCS7Options.Binary,
    pkcs7.PKCS7Options.NoAttributes,
]


def cms_signer(settings: Settings, keyring: Keyring) -> Callable[[bytes], bytes]:
    """A function from bytes to their detached CMS signature (DER). keyring: the open release keyring."""
    private, certificate = signing_key(keyring), _certificate(settings)
    if private.public_key() != certificate.public_key():
        raise KeyUnavailable(
            "the hub's certificate does not belong to its signing key",
            where=str(signing_certificate_path(settings)),
            do="restore certificate and keyring from the same backup",
        )

    def sign(statement: bytes) -> bytes:
        builder = pkcs7.PKCS7SignatureBuilder().set_data(statement)
        signed = builder.add_signer(certificate, private, hashes.SHA256())
        return signed.sign(serialization.Encoding.DER, _DETACHED)

    return sign


def cms_verifier(settings: Settings) -> Callable[[bytes, bytes], None]:
    """A function that raises VerificationFailed unless the hub's pinned certificate signed the statement."""
    pinned = str(signing_certificate_path(settings))
    _certificate(settings)

    def verify(statement: bytes, signature: bytes) -> None:
        with memory_file(signature) as path:
            command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", path]
            command += ["-content", "/dev/stdin", "-nointern", "-certfile", pinned, "-CAfile", pinned]
            command += ["-no-CApath", "-no-CAstore", "-partial_chain", "-purpose", "any", "-no_check_time"]
            try:
                done = subprocess.run(command, input=statement, capture_output=True, check=False)
            except FileNotFoundError:
                raise Bug("openssl is not installed", do="apt-get install openssl") from None
        if done.returncode != 0 or done.stdout != statement:
            raise VerificationFailed(
                "the signature does not hold",
                where=pinned,
                why="the statement is not what the pinned hub certificate signed",
                do="compare with the copy that a recipient holds; do not publish before it is explained",
            )

    return verify


def _certificate(settings: Settings) -> x509.Certificate:
    path = signing_certificate_path(settings)
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        raise KeyUnavailable(
            f"no certificate: {path.name}",
            where=str(path),
            why="the file is missing or is not a PEM certificate",
            do="sanche keys init --date <first day>, or restore it from its backup",
        ) from None
