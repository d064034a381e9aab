"""The raw vault: what an agency sent, byte for byte, encrypted to the day's key before anything reads it.

Promises: the puller cannot read back what it stored (the day's secret key is the sealer's); an address is a keyed
          hash of feed and bytes, so the same bytes land once and nobody can guess a small batch from its name;
          a file is whole or absent (temporary name, fsync, rename, fsync of the folder).
Refuses:  an object that was cut, changed or encrypted to another key (VerificationFailed): nothing of it is read.
Not here: what is inside (sealing/), which objects a batch has (control.pulled), how long they are kept.

The plaintext of a vault file is one zstd frame (records repeat themselves: some 20 to 1, and the cipher is the
slowest step on the way back). By hand: age -d -i <identity> <address>.age | zstd -d
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyrage

from pipelines.errors import KeyUnavailable, VerificationFailed
from pipelines.privacy import Key, day_recipient_path
from pipelines.privacy.files import private_folder, write_private
from pipelines.settings import Settings

__all__ = ["ObjectRef", "address_of", "day_recipient_path", "exists", "object_path", "open_object", "put"]

_ZSTD_LEVEL = 1  # measured: level 3 is a third slower and 6 % larger than level 1 on order records
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_MAX_PLAINTEXT_BYTES = 2 * 2**30  # a page is some 16 MB; the largest honest bank file about 1 GB


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """One stored object. bytes and ciphertext_sha256 are those of the file, not of what it holds."""

    address: str
    path: Path
    bytes: int
    ciphertext_sha256: str


def address_of(feed: str, plaintext: bytes, *, address_key: Key | bytes) -> str:
    """HMAC-SHA256 over feed and bytes, hex."""
    digest = hmac.new(_material(address_key), feed.encode() + b"|", hashlib.sha256)
    digest.update(plaintext)
    return digest.hexdigest()


def object_path(settings: Settings, feed: str, business_date: date, address: str) -> Path:
    return settings.vault_dir / feed / business_date.isoformat() / f"{address}.age"


def exists(settings: Settings, feed: str, business_date: date, address: str) -> bool:
    return object_path(settings, feed, business_date, address).is_file()


def put(
    settings: Settings,
    feed: str,
    business_date: date,
    plaintext: bytes,
    *,
    address_key: Key | bytes,
    recipient: str,
) -> ObjectRef:
    """Encrypt to the day's recipient and store. An object that is there already is kept as it is."""
    address = address_of(feed, plaintext, address_key=address_key)
    path = object_path(settings, feed, business_date, address)
    if path.is_file():
        return _reference(address, path, path.read_bytes())
    try:
        day_key = pyrage.x25519.Recipient.from_str(recipient)
    except (pyrage.RecipientError, ValueError):
        raise KeyUnavailable(
            "the day's public key is not an age recipient",
            where=str(day_recipient_path(settings, business_date)),
            do=f"sanche keys day --date {business_date}",
        ) from None
    packed = pa.Codec("zstd", compression_level=_ZSTD_LEVEL).compress(plaintext, asbytes=True)
    ciphertext = pyrage.encrypt(packed, [day_key])
    private_folder(path.parent)
    write_private(path, ciphertext)
    return _reference(address, path, ciphertext)


def open_object(path: Path, identity: pyrage.x25519.Identity) -> bytes:
    """The bytes that were stored, whole or not at all. Raises VerificationFailed."""
    try:
        ciphertext = path.read_bytes()
    except OSError as error:
        raise VerificationFailed(
            f"a vault object is missing: {path.name[:12]}…",
            where=str(path.parent),
            why=error.strerror or "input/output error",
            do="pull the feed's window again: sanche pull",
        ) from None
    try:
        frame = pyrage.decrypt(ciphertext, [identity])
        return bytes(pa.Codec("zstd").decompress(frame, _frame_size(frame), asbytes=True))
    except (pyrage.DecryptError, pa.ArrowException, ValueError, IndexError):
        raise VerificationFailed(
            f"a vault object does not open: {path.name[:12]}…",
            where=str(path.parent),
            why="it was cut, changed, or encrypted to another day's key",
            do="sanche verify names what changed; restore the file or pull the window again",
        ) from None


def _frame_size(frame: bytes) -> int:
    """How many bytes a zstd frame holds, from its header (RFC 8878, 3.1.1.1). Raises ValueError."""
    if frame[:4] != _ZSTD_MAGIC:
        raise ValueError
    single, size_flag = frame[4] >> 5 & 1, frame[4] >> 6
    at = 5 + (0 if single else 1) + (0, 1, 2, 4)[frame[4] & 3]
    width = (single, 2, 4, 8)[size_flag]
    size = int.from_bytes(frame[at : at + width], "little") + (256 if width == 2 else 0)
    if width == 0 or len(frame) < at + width or size > _MAX_PLAINTEXT_BYTES:
        raise ValueError
    return size


def _reference(address: str, path: Path, ciphertext: bytes) -> ObjectRef:
    return ObjectRef(address, path, len(ciphertext), hashlib.sha256(ciphertext).hexdigest())


def _material(key: Key | bytes) -> bytes:
    return key.material if isinstance(key, Key) else key
