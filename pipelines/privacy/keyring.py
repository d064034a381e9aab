"""Keyrings: one wrapped file of keys per role, so that no process can do another's work.

Promises: each key is random, wrapped with AES-256-GCM under a key that Argon2id (t=3, 64 MiB, p=4) makes from a
          passphrase, with its label as associated data; a MAC covers the whole file and its revision; a writer
          holds a lock, reads, adds and replaces the file atomically.
Refuses:  a missing, changed or wrongly unlocked file, and a key that is not enabled (KeyUnavailable).
Not here: which roles and keys there are (roles), what the keys are used for (tokens, vault/, extracts/).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from filelock import FileLock, Timeout

from pipelines.errors import KeyUnavailable
from pipelines.privacy.files import private_folder, write_private

FORMAT = "sanche-keyring-1"
ENABLED, DISABLED, DESTROYED = "enabled", "disabled", "destroyed"
_LOCK_WAIT_S = 60.0  # a writer holds it for one Argon2id, well under a second
_ARGON2: dict[str, Any] = {
    "iterations": 3,
    "memory_cost": 64 * 1024,
    "lanes": 4,
}  # RFC 9106, second recommended option


@dataclass(frozen=True, slots=True)
class Key:
    """One key. `material` never shows in a repr."""

    kid: str
    purpose: str
    scope: str
    version: int
    suite: str
    state: str
    material: bytes

    def __repr__(self) -> str:
        return f"Key({self.kid}, {self.suite}, {self.state})"


@dataclass(frozen=True, slots=True)
class _Wrapped:
    kid: str
    purpose: str
    scope: str
    version: int
    suite: str
    state: str
    nonce: str
    wrapped: str

    def label(self) -> bytes:
        return _canonical([FORMAT, self.kid, self.purpose, self.scope, self.version, self.suite])


class Keyring:
    """An open keyring. Keys are unwrapped when they are asked for, never all at once."""

    def __init__(self, path: Path, salt: bytes, unlocked: _Unlocked) -> None:
        self.path, self._salt, self._unlocked = path, salt, unlocked
        self.revision = 0
        self._keys: list[_Wrapped] = []

    def __repr__(self) -> str:
        return f"Keyring({self.path.name}, revision {self.revision}, {len(self._keys)} keys)"

    @classmethod
    def create(cls, path: Path, passphrase: str) -> Keyring:
        """A new, empty keyring file. Raises KeyUnavailable if the file exists: keys are never overwritten."""
        if path.exists():
            raise KeyUnavailable(
                f"a keyring is there already: {path.name}",
                where=str(path),
                why="creating it again would lose every key in it",
                do="open it, or move it away by hand",
            )
        salt = secrets.token_bytes(16)
        ring = cls(path, salt, _Unlocked.with_passphrase(passphrase, salt))
        ring._write()
        return ring

    @classmethod
    def open(cls, path: Path, passphrase: str) -> Keyring:
        """Read, unlock and prove a keyring file. Raises KeyUnavailable."""
        document = _read(path)
        salt = bytes.fromhex(document["kdf"]["salt"])
        ring = cls(path, salt, _Unlocked.with_passphrase(passphrase, salt))
        ring._load(document)
        return ring

    def key(self, purpose: str, scope: str = "", version: int | None = None) -> Key:
        """The newest enabled key of a purpose and scope, or the one of that version. Raises KeyUnavailable."""
        found = self._find(purpose, scope, version)
        if found is None:
            raise KeyUnavailable(
                f"no enabled key: {_kid(purpose, scope, version)}",
                where=str(self.path),
                why="the keyring holds none of that purpose, or it is disabled or destroyed",
                do="sanche keys init makes what a role needs; sanche keys list shows what is there",
            )
        return self._unwrap(found)

    def has(self, purpose: str, scope: str = "") -> bool:
        return self._find(purpose, scope, None) is not None

    def labels(self) -> list[dict[str, Any]]:
        """What is in the ring, without any key: for people, and for the ledger."""
        return [
            {"kid": k.kid, "purpose": k.purpose, "scope": k.scope, "version": k.version, "suite": k.suite,
             "state": k.state}
            for k in self._keys
        ]  # fmt: skip

    def add(self, purpose: str, scope: str = "", *, material: bytes | None = None, suite: str = "AES-256") -> Key:
        """A new version of a key (random 32 bytes unless given), on disk before this returns."""
        with self._writing():
            return self._append(purpose, scope, material or secrets.token_bytes(32), suite)

    def get_or_add(
        self, purpose: str, scope: str = "", *, make: Callable[[], bytes] | None = None, suite: str = "AES-256"
    ) -> Key:
        """The enabled key, made first if there is none; two writers at once get the same one."""
        if self.has(purpose, scope):
            return self.key(purpose, scope)
        with self._writing():
            if self.has(purpose, scope):
                return self.key(purpose, scope)
            material = make() if make is not None else secrets.token_bytes(32)
            return self._append(purpose, scope, material, suite)

    def destroy(self, kid: str) -> None:
        """Forget a key for good: its wrapped bytes leave the file, its label stays."""
        self._change(kid, lambda key: replace(key, state=DESTROYED, nonce="", wrapped=""))

    def disable(self, kid: str) -> None:
        self._change(kid, lambda key: replace(key, state=DISABLED))

    # -- the file ------------------------------------------------------------------------------------------

    def _change(self, kid: str, change: Callable[[_Wrapped], _Wrapped]) -> None:
        with self._writing():
            if kid not in {key.kid for key in self._keys}:
                raise KeyUnavailable(f"no such key: {kid}", where=str(self.path), do="sanche keys list")
            self._keys = [change(key) if key.kid == kid and key.state != DESTROYED else key for key in self._keys]
            self._write()

    def _append(self, purpose: str, scope: str, material: bytes, suite: str) -> Key:
        version = 1 + max(
            (key.version for key in self._keys if (key.purpose, key.scope) == (purpose, scope)), default=0
        )
        kid = _kid(purpose, scope, version)
        nonce = secrets.token_bytes(12)
        entry = _Wrapped(kid, purpose, scope, version, suite, ENABLED, nonce.hex(), "")
        sealed = AESGCM(self._unlocked.wrapping).encrypt(nonce, material, entry.label())
        self._keys = [*self._keys, replace(entry, wrapped=sealed.hex())]
        self._write()
        return Key(kid, purpose, scope, version, suite, ENABLED, material)

    def _find(self, purpose: str, scope: str, version: int | None) -> _Wrapped | None:
        fitting = [
            key
            for key in self._keys
            if (key.purpose, key.scope, key.state) == (purpose, scope, ENABLED) and version in (None, key.version)
        ]
        return max(fitting, key=lambda key: key.version, default=None)

    def _unwrap(self, key: _Wrapped) -> Key:
        try:
            material = AESGCM(self._unlocked.wrapping).decrypt(
                bytes.fromhex(key.nonce), bytes.fromhex(key.wrapped), key.label()
            )
        except (InvalidTag, ValueError):
            raise _changed(self.path) from None
        return Key(key.kid, key.purpose, key.scope, key.version, key.suite, key.state, material)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the file's lock and stand on what is on disk now."""
        try:
            with FileLock(f"{self.path}.lock", timeout=_LOCK_WAIT_S, mode=0o600):
                self._load(_read(self.path))
                yield
        except Timeout:
            raise KeyUnavailable(
                f"the keyring is locked: {self.path.name}",
                where=str(self.path),
                why=f"another process has been writing to it for {_LOCK_WAIT_S:.0f} s",
                do="look for a hanging sanche process, then run the step again",
            ) from None

    def _load(self, document: dict[str, Any]) -> None:
        if not hmac.compare_digest(document["check"], self._unlocked.check()):
            raise KeyUnavailable(
                f"wrong passphrase for {self.path.name}",
                where=str(self.path),
                why=f"{self.path.stem}.passphrase does not belong to this keyring",
                do="restore the pair (keyring and passphrase) from the same backup",
            )
        if not hmac.compare_digest(document["mac"], self._unlocked.mac(document)):
            raise _changed(self.path)
        self.revision = int(document["revision"])
        self._keys = [_Wrapped(**entry) for entry in document["keys"]]

    def _write(self) -> None:
        self.revision += 1
        document: dict[str, Any] = {
            "format": FORMAT,
            "revision": self.revision,
            "kdf": {"name": "argon2id", "salt": self._salt.hex(), **_ARGON2},
            "check": self._unlocked.check(),
            "keys": [{name: getattr(key, name) for name in _Wrapped.__slots__} for key in self._keys],
        }
        document["mac"] = self._unlocked.mac(document)
        private_folder(self.path.parent)
        write_private(self.path, json.dumps(document, indent=1).encode() + b"\n")


@dataclass(frozen=True, slots=True, repr=False)
class _Unlocked:
    """The two keys that a passphrase gives."""

    wrapping: bytes
    authenticating: bytes

    @classmethod
    def with_passphrase(cls, passphrase: str, salt: bytes) -> _Unlocked:
        made = Argon2id(salt=salt, length=64, **_ARGON2).derive(passphrase.encode())
        return cls(made[:32], made[32:])

    def check(self) -> str:
        """Tells a wrong passphrase from a changed file."""
        return hmac.digest(self.authenticating, b"sanche: is this the passphrase", hashlib.sha256).hex()[:16]

    def mac(self, document: dict[str, Any]) -> str:
        covered = {name: value for name, value in document.items() if name != "mac"}
        return hmac.digest(self.authenticating, _canonical(covered), hashlib.sha256).hex()


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
        if document["format"] != FORMAT or document["kdf"]["name"] != "argon2id":
            raise KeyError
        if {name: document["kdf"][name] for name in _ARGON2} != _ARGON2:
            raise KeyError
        bytes.fromhex(document["kdf"]["salt"])
        if not all(isinstance(document[name], str) for name in ("check", "mac")):
            raise KeyError
        _Wrapped(**(document["keys"][0])) if document["keys"] else None
    except FileNotFoundError:
        raise KeyUnavailable(
            f"no keyring: {path.name}",
            where=str(path),
            why="the file does not exist",
            do="sanche keys init (new hub), or restore it from its backup",
        ) from None
    except OSError as error:
        raise KeyUnavailable(
            f"the keyring cannot be read: {path.name}",
            where=str(path),
            why=error.strerror or "input/output error",
            do="run this step as the operating-system user who owns the keyring",
        ) from None
    except (ValueError, KeyError, TypeError, IndexError):
        raise _changed(path) from None
    return dict(document)


def _changed(path: Path) -> KeyUnavailable:
    return KeyUnavailable(
        f"the keyring is damaged: {path.name}",
        where=str(path),
        why="it is not whole, or it was changed by someone without its passphrase",
        do="restore it from its backup; do not start a new one, old tokens would be lost",
    )


def _kid(purpose: str, scope: str, version: int | None) -> str:
    name = f"{purpose}/{scope}" if scope else purpose
    return name if version is None else f"{name}/v{version}"


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
