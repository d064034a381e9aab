"""What the release keyring is asked for, and nothing else: tokens of one space, sealed references, signatures.

Promises: the keys stay inside; callers get functions over bytes. Same person, space and key version: same token.
Refuses:  a keyring without the key that is asked for, a reference that was sealed to another hub
          (KeyUnavailable): then nothing is written.
Not here: the keyring (privacy/), what is signed (publish.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pyrage

from pipelines.errors import KeyUnavailable
from pipelines.extracts.rows import Opener
from pipelines.privacy import Keyring, cms_signer, encrypt_blocks, pseudonym_key
from pipelines.privacy.roles import RELEASE_IDENTITY, as_identity
from pipelines.settings import Settings


class Secrets:
    """Bound to one hub's release keyring for one run."""

    def __init__(self, settings: Settings, keyring: Keyring) -> None:
        self._keyring = keyring
        self._identity = as_identity(keyring.key(RELEASE_IDENTITY))
        self._opened: dict[bytes, str] = {}
        self.sign: Callable[[bytes], bytes] = cms_signer(settings, keyring)

    def opener(self, pseudonym_space: str) -> Opener:
        """token = AES-256(K2[space, version], person_id): a permutation, so two persons never share one."""
        key = pseudonym_key(self._keyring, pseudonym_space)

        def tokens(persons: list[bytes]) -> list[bytes]:
            blocks = np.frombuffer(b"".join(persons), np.uint8).reshape(-1, 16)
            return [row.tobytes() for row in encrypt_blocks(key.material, blocks)]

        return Opener(tokens=tokens, key_version=key.version, open_ref=self._open_ref)

    def open_ahead(self, sealed: Iterable[bytes]) -> None:
        """Open references before the writer's lock is taken."""
        for cipher in sealed:
            self._opened[cipher] = self._open_ref(cipher)

    def _open_ref(self, sealed: bytes) -> str:
        if sealed in self._opened:
            return self._opened[sealed]
        try:
            return bytes(pyrage.decrypt(sealed, [self._identity])).decode("ascii")
        except (pyrage.DecryptError, UnicodeDecodeError):
            pass
        raise KeyUnavailable(
            "a sealed recipient reference does not open",
            why="it was sealed to another key than this hub's release identity",
            do="restore the release keyring that was in use when the consents landed",
        )
