"""What an institution runs on a package: verify everything, then open it. May be copied out of this repository.

Promises: nothing becomes visible under received/ unless the signature, the recipient, the sequence, the expiry and
          every hash hold; a rerun after a crash ends in the same state.
Refuses:  by attribute (VerificationFailed.where): signature, recipient, sequence, previous_manifest_sha256,
          expires_on, files, decryption, plaintext_sha256, rows. Nothing is read from the manifest before its
          signature holds.
Not here: any other room of the hub but the errors; fetching the package; deleting what must be deleted (the
          institution does, by delete_by and deletions.json).

Order, and what each step shuts out:
 1 signature by the pinned certificate (an edited, foreign or unsigned manifest)
 2 recipient is me (a package of another institution, even re-encrypted for me: X17)
 3 sequence follows the last, previous manifest's hash = last (stale, replayed, skipped, forked: X16)
 4 expiry (a frozen outbox)      5 the folder holds the listed files, whole (cut, flipped, swapped: X15)
 6 decrypt to a hidden name      7 plaintext hash, rows      8 rename, then write the state
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import ssl
import subprocess
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

from pipelines.errors import Usage, VerificationFailed

MANIFEST, SIGNATURE = "manifest.json", "manifest.json.p7s"
MAX_MANIFEST_BYTES = 1 << 20  # the hub writes some 3 KB; beyond this it is not a manifest
_FILE_NAME = re.compile(r"[a-z][a-z0-9-]{0,40}\.(parquet|json)\.(cms|age)")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Received:
    """files: the plain files, under received/<package>/; deletions: persons whose data must be deleted now."""

    recipient: str
    agreement: str
    sequence: int
    business_date: date
    rows: int
    deletions: int
    files: list[Path]
    manifest_sha256: str


def receive(
    package_dir: Path, *, institution_dir: Path, hub_cert: Path, state_file: Path, today: date | None = None
) -> Received:
    """Verify one package, open it under institution_dir/received/<package>, remember it in state_file.

    today: the receiver's date, to refuse what has expired; None leaves the expiry unchecked.
    Raises: VerificationFailed naming the attribute that does not hold; then nothing was written.
    """
    _is_set_up(institution_dir, hub_cert)
    raw = _read_whole(package_dir / MANIFEST, MAX_MANIFEST_BYTES)
    verify_signature(raw, package_dir / SIGNATURE, hub_cert)
    manifest = _parse(raw)
    state = json.loads(state_file.read_text()) if state_file.exists() else {}
    _is_mine(manifest, institution_dir)
    _is_next(manifest, raw, state.get(manifest["agreement"]))
    if today is not None and today > date.fromisoformat(manifest["expires_on"]):
        _refuse("expires_on", "the package has expired: the outbox is frozen, or the copy is old")
    _folder_is_listed(package_dir, manifest["files"])

    # Named by what is signed, not by the folder that it came in.
    target = institution_dir / "received" / f"{manifest['agreement']}-{manifest['sequence']:06d}"
    partial = target.with_name(f".partial-{target.name}")
    shutil.rmtree(partial, ignore_errors=True)  # what a killed run left
    partial.mkdir(mode=0o700, parents=True)
    try:
        for listed in manifest["files"]:
            _open_file(package_dir / listed["name"], listed, partial, institution_dir)
        _sync(partial)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    # A crash after this rename and before the state is written: the rerun verifies and replaces it.
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    _sync(target.parent)
    manifest_sha256 = hashlib.sha256(raw).hexdigest()
    state[manifest["agreement"]] = {"sequence": manifest["sequence"], "manifest_sha256": manifest_sha256}
    _write_state(state_file, state)
    return _received(manifest, target, manifest_sha256)


def _is_set_up(institution_dir: Path, hub_cert: Path) -> None:
    """Raises Usage for what is wrong on this side, before anything is held against the package."""
    needed = {
        institution_dir / "institution.json": "the institution's own folder",
        hub_cert: "the hub's certificate, pinned when the agreement was made",
    }
    for path, what in needed.items():
        if not path.is_file():
            raise Usage("not there", where=str(path), why=f"it belongs to {what}", do="check the paths")


def _received(manifest: dict[str, Any], target: Path, manifest_sha256: str) -> Received:
    return Received(
        recipient=manifest["recipient"],
        agreement=manifest["agreement"],
        sequence=manifest["sequence"],
        business_date=date.fromisoformat(manifest["business_date"]),
        rows=manifest["totals"]["sent"],
        deletions=manifest["totals"]["deletions"],
        files=[target / Path(listed["name"]).stem for listed in manifest["files"]],
        manifest_sha256=manifest_sha256,
    )


def _refuse(attribute: str, why: str) -> NoReturn:
    raise VerificationFailed(
        "package refused, nothing was opened",
        where=attribute,
        why=why,
        do="keep the package as it is and tell the hub; do not open it by other means",
    ) from None


def _read_whole(path: Path, limit: int) -> bytes:
    # Read once: what is verified is what is used, whoever writes to the folder meanwhile.
    try:
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except OSError:
        _refuse("signature", f"{path.name} is missing or cannot be read")
    if len(raw) > limit:
        _refuse("signature", f"{path.name} is larger than any that the hub writes")
    return raw


def verify_signature(manifest: bytes, signature: Path, hub_cert: Path) -> None:
    """Raises VerificationFailed unless the pinned certificate signed exactly these bytes, in exactly this form."""
    if not hub_cert.is_file():
        _refuse("signature", "the hub's certificate, pinned when the agreement was made, is not there")
    if not _has_only_form(_read_whole(signature, MAX_MANIFEST_BYTES), hub_cert.read_text()):
        _refuse("signature", "manifest.json.p7s is not in the one form that the hub writes")
    # -nointern: the signer is the pinned certificate, never one that came along with the message.
    command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", str(signature)]
    command += ["-content", "/dev/stdin", "-nointern", "-certfile", str(hub_cert), "-CAfile", str(hub_cert)]
    command += ["-no-CApath", "-no-CAstore", "-partial_chain", "-purpose", "any", "-no_check_time"]
    done = subprocess.run(command, input=manifest, capture_output=True, check=False)
    if done.returncode != 0 or done.stdout != manifest:
        _refuse("signature", "manifest.json is not what the pinned hub signed")


# A few bytes of a CMS signature (versions, the names of algorithms) can be changed without openssl minding. They
# change nothing that is signed; still, what was touched is refused: the message is rebuilt from the pinned
# certificate and the signature value, and must come out the same byte for byte (RFC 5652 section 5, DER).
_SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")
_DATA = bytes.fromhex("300b06092a864886f70d010701")
_SHA256_ID = bytes.fromhex("300d06096086480165030402010500")
_ECDSA_WITH_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
_VERSION_1 = bytes.fromhex("020101")
_SEQUENCE, _SET, _OCTETS, _TAGGED_0 = b"\x30", b"\x31", b"\x04", b"\xa0"


def _has_only_form(signature: bytes, certificate_pem: str) -> bool:
    certificate = ssl.PEM_cert_to_DER_cert(certificate_pem)
    *_, serial, _algorithm, issuer = _items(_inside(_inside(certificate)), 4)
    signer = _tlv(_SEQUENCE, issuer + serial)
    value = signature[signature.rfind(_ECDSA_WITH_SHA256) + len(_ECDSA_WITH_SHA256) :]
    information = _tlv(_SEQUENCE, _VERSION_1 + signer + _SHA256_ID + _ECDSA_WITH_SHA256 + value)
    signed = _VERSION_1 + _tlv(_SET, _SHA256_ID) + _DATA + _tlv(_TAGGED_0, certificate) + _tlv(_SET, information)
    return signature == _tlv(_SEQUENCE, _SIGNED_DATA + _tlv(_TAGGED_0, _tlv(_SEQUENCE, signed)))


def _tlv(tag: bytes, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return tag + bytes([length]) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return tag + bytes([0x80 | len(size)]) + size + content


def _header(der: bytes) -> tuple[int, int]:
    """Lengths of the first item's header and content."""
    if der[1] < 0x80:
        return 2, der[1]
    size = der[1] & 0x7F
    return 2 + size, int.from_bytes(der[2 : 2 + size], "big")


def _inside(der: bytes) -> bytes:
    header, content = _header(der)
    return der[header : header + content]


def _items(der: bytes, count: int) -> list[bytes]:
    """The first items of a sequence's content, headers included."""
    found = []
    for _ in range(count):
        length = sum(_header(der))
        found.append(der[:length])
        der = der[length:]
    return found


def _parse(raw: bytes) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(raw)
    if manifest.get("format") != 1:
        _refuse("format", "a package of a format that this receiver does not know")
    return manifest


def _is_mine(manifest: dict[str, Any], institution_dir: Path) -> None:
    me = json.loads((institution_dir / "institution.json").read_text())["recipient"]
    if manifest["recipient"] != me:
        _refuse("recipient", "the hub signed this package for another institution")


def _is_next(manifest: dict[str, Any], raw: bytes, last: dict[str, Any] | None) -> None:
    sequence = manifest["sequence"]
    number, sha256 = (last["sequence"], last["manifest_sha256"]) if last else (0, None)
    if sequence == number and hashlib.sha256(raw).hexdigest() == sha256:
        _refuse("sequence", f"replayed: package {sequence} was received already")
    if sequence <= number:
        _refuse("sequence", f"stale: package {sequence}, while {number} was received already")
    # Numbers that never left the hub are listed and signed, with their hashes: the chain has no gap.
    for void in manifest["void"]:
        if void["sequence"] == number + 1 and void["previous_manifest_sha256"] == sha256:
            number, sha256 = void["sequence"], void["manifest_sha256"]
    if sequence > number + 1:
        _refuse("sequence", f"skipped: package {sequence}, while {number + 1} is the next one")
    if manifest["previous_manifest_sha256"] != sha256:
        _refuse("previous_manifest_sha256", "it does not follow the package that was received before it")


def _folder_is_listed(package_dir: Path, files: list[dict[str, Any]]) -> None:
    names = [listed["name"] for listed in files]
    if len(set(names)) != len(names) or not all(_FILE_NAME.fullmatch(name) for name in names):
        _refuse("files", "a file name that is not one of the hub's")
    present = {path.name for path in package_dir.iterdir()}
    if present != {MANIFEST, SIGNATURE, *names}:
        _refuse("files", "the folder does not hold exactly the listed files")
    if any((package_dir / name).is_symlink() for name in present):
        _refuse("files", "a link instead of a file")


def _open_file(source: Path, listed: dict[str, Any], partial: Path, institution_dir: Path) -> None:
    if source.stat().st_size != listed["bytes"]:
        _refuse("files", f"{source.name} has another length than the manifest says")
    cipher = source.read_bytes()
    if not _SHA256.fullmatch(listed["sha256"]) or hashlib.sha256(cipher).hexdigest() != listed["sha256"]:
        _refuse("files", f"{source.name} has another SHA-256 than the manifest says")
    plain = _decrypt(cipher, source.suffix, institution_dir)
    if hashlib.sha256(plain).hexdigest() != listed["plaintext_sha256"]:
        _refuse("plaintext_sha256", f"{source.name} opens to other bytes than the manifest says")
    if _rows(plain, source.stem) != listed["rows"]:
        _refuse("rows", f"{source.name} holds another number of rows than the manifest says")
    target = partial / source.stem
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(plain)
        out.flush()
        os.fsync(out.fileno())


def _decrypt(cipher: bytes, suffix: str, institution_dir: Path) -> bytes:
    if suffix == ".cms":
        command = ["openssl", "cms", "-decrypt", "-binary", "-inform", "DER"]
        command += ["-inkey", str(institution_dir / "key.pem"), "-recip", str(institution_dir / "cert.pem")]
        done = subprocess.run(command, input=cipher, capture_output=True, check=False)
        if done.returncode != 0:  # openssl may have written a part of it: an error is an error
            _refuse("decryption", "it does not open with this institution's key")
        return done.stdout
    import pyrage  # only for institutions with an age identity

    try:
        identity = pyrage.x25519.Identity.from_str((institution_dir / "age.key").read_text().split()[-1])
        return bytes(pyrage.decrypt(cipher, [identity]))
    except (pyrage.DecryptError, pyrage.IdentityError, OSError, IndexError):
        _refuse("decryption", "it does not open with this institution's key")


def _rows(plain: bytes, name: str) -> int:
    if name.endswith(".json"):
        return len(json.loads(plain)["deletions"])
    import pyarrow as pa
    import pyarrow.parquet as pq

    return int(pq.ParquetFile(pa.BufferReader(plain)).metadata.num_rows)


def _write_state(state_file: Path, state: dict[str, Any]) -> None:
    fresh = state_file.with_suffix(".part")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        json.dump(state, out, indent=1, sort_keys=True)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(state_file)
    _sync(state_file.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
