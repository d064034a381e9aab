"""The institution's side: stock tools open what we make, and nothing that was touched opens."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyrage
import pytest

from pipelines.errors import VerificationFailed
from pipelines.extracts.envelope import encrypt
from pipelines.privacy import cms_signer
from pipelines.province.institutions import make_institution
from pipelines.receipt import Receipt
from tests.unit.extracts.world import INSURER, NIGHT, World, manifest_of, rows_of

NEXT = NIGHT + timedelta(days=1)


def run(*command: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(part) for part in command], input=stdin, capture_output=True, check=False)


def copy_of(package: Receipt, tmp_path: Path, name: str = "copy") -> Path:
    target = tmp_path / name / Path(package.paths["package"]).name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(package.paths["package"], target)
    return target


def refused(world: World, package: Path | Receipt, recipient: str = "bank_a", today: date | None = None) -> str:
    """The attribute that the receiver names; and nothing became visible."""
    with pytest.raises(VerificationFailed) as caught:
        world.receive(package, recipient, today)
    name = Path(package.paths["package"]).name if isinstance(package, Receipt) else package.name
    received = world.homes[recipient] / "received"
    assert not (received / name).exists()
    assert not list(received.glob(".partial*")) if received.exists() else True
    return caught.value.where


@pytest.fixture
def package(world: World) -> Receipt:
    for name in ("Wang", "Li"):
        world.given(name)
    return world.publish()


def test_a_bank_with_openssl_and_sha256sum_alone_can_verify_and_open(
    world: World, package: Receipt, tmp_path: Path
) -> None:
    folder = Path(package.paths["package"])
    cert = world.hub.keys_dir / "hub-signing.cert.pem"
    verified = run(
        "openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", folder / "manifest.json.p7s",
        "-content", folder / "manifest.json", "-certfile", cert, "-CAfile", cert, "-purpose", "any",
        "-no_check_time",
    )  # fmt: skip
    assert verified.returncode == 0, verified.stderr
    (listed,) = json.loads(verified.stdout)["files"]
    sums = f"{listed['sha256']}  {folder / listed['name']}\n"
    assert run("sha256sum", "--check", "--strict", stdin=sums.encode()).returncode == 0
    plain = tmp_path / "rows.parquet"
    opened = run(
        "openssl", "cms", "-decrypt", "-binary", "-inform", "DER", "-in", folder / listed["name"],
        "-inkey", world.homes["bank_a"] / "key.pem", "-out", plain,
    )  # fmt: skip
    assert opened.returncode == 0, opened.stderr
    assert hashlib.sha256(plain.read_bytes()).hexdigest() == listed["plaintext_sha256"]
    assert pq.read_table(plain).num_rows == listed["rows"] == 2


def test_the_envelope_is_aes_256_gcm_with_oaep_and_sha_256(world: World, package: Receipt) -> None:
    (listed,) = manifest_of(package)["files"]
    file = Path(package.paths["package"]) / listed["name"]
    shown = run("openssl", "cms", "-cmsout", "-print", "-noout", "-inform", "DER", "-in", file).stdout.decode()
    assert "authEnvelopedData" in shown
    assert "aes-256-gcm" in shown
    assert "rsaesOaep" in shown
    assert "sha256" in shown


@pytest.mark.skipif(shutil.which("age") is None, reason="age is not installed")
def test_an_insurer_with_age_alone_can_open(world: World, tmp_path: Path) -> None:
    world.given("Wang", INSURER)
    receipt = world.publish(INSURER)
    (listed,) = manifest_of(receipt)["files"]
    plain = tmp_path / "rows.parquet"
    file = Path(receipt.paths["package"]) / listed["name"]
    opened = run("age", "-d", "-i", world.homes["insurer_b"] / "age.key", "-o", plain, file)
    assert opened.returncode == 0, opened.stderr
    assert pq.read_table(plain)["recipient_ref"].to_pylist() == ["APPL-00WANG"]


def test_X15_a_flipped_byte_anywhere_is_refused(world: World, package: Receipt, tmp_path: Path) -> None:
    folder = Path(package.paths["package"])
    for file in sorted(folder.iterdir()):
        size = file.stat().st_size
        for position in sorted({size * step // 24 for step in range(24)} | {size - 1}):
            copy = copy_of(package, tmp_path)
            raw = bytearray((copy / file.name).read_bytes())
            raw[position] ^= 0x01
            (copy / file.name).write_bytes(raw)
            assert refused(world, copy), (file.name, position)
    assert world.receive(package).rows == 2


def test_X15_cut_missing_extra_and_swapped_files_are_refused(
    world: World, package: Receipt, tmp_path: Path
) -> None:
    (listed,) = manifest_of(package)["files"]
    cut = copy_of(package, tmp_path, "cut")
    (cut / listed["name"]).write_bytes((cut / listed["name"]).read_bytes()[:-1])
    assert refused(world, cut) == "files"
    missing = copy_of(package, tmp_path, "missing")
    (missing / listed["name"]).unlink()
    assert refused(world, missing) == "files"
    extra = copy_of(package, tmp_path, "extra")
    (extra / "readme.txt").write_text("open me")
    assert refused(world, extra) == "files"
    linked = copy_of(package, tmp_path, "linked")
    (linked / listed["name"]).rename(tmp_path / "elsewhere")
    (linked / listed["name"]).symlink_to(tmp_path / "elsewhere")
    assert refused(world, linked) == "files"
    unsigned = copy_of(package, tmp_path, "unsigned")
    (unsigned / "manifest.json.p7s").unlink()
    assert refused(world, unsigned) == "signature"


def test_another_hub_cannot_sign_for_ours(world: World, package: Receipt, tmp_path: Path) -> None:
    copy = copy_of(package, tmp_path)
    key, cert = tmp_path / "k.pem", tmp_path / "c.pem"
    run(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9",
        "-subj", "/CN=sanche hub signing", "-keyout", key, "-out", cert,
    )  # fmt: skip
    signed = run(
        "openssl", "cms", "-sign", "-binary", "-noattr", "-in", copy / "manifest.json", "-signer", cert,
        "-inkey", key, "-outform", "DER", "-out", copy / "manifest.json.p7s",
    )  # fmt: skip
    assert signed.returncode == 0
    assert refused(world, copy) == "signature"


def test_X17_a_package_encrypted_again_for_another_is_refused_by_it(
    world: World, package: Receipt, tmp_path: Path
) -> None:
    copy = copy_of(package, tmp_path)
    assert refused(world, copy, "insurer_b") == "recipient"
    # Bank A opens its rows, encrypts them for insurer B, and edits the manifest to match: the signature is gone.
    public = (world.hub.recipients_dir / "insurer_b.age.pub").read_text().strip()
    stolen = pyrage.encrypt(b"rows of bank_a", [pyrage.x25519.Recipient.from_str(public)])
    manifest = manifest_of(package) | {"recipient": "insurer_b"}
    (copy / manifest["files"][0]["name"]).write_bytes(stolen)
    manifest["files"][0]["sha256"] = hashlib.sha256(stolen).hexdigest()
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert refused(world, copy, "insurer_b") == "signature"


def test_X16_replayed_skipped_stale_and_forked_packages_are_named(world: World, tmp_path: Path) -> None:
    packages = []
    for day in (NIGHT, NEXT, NEXT + timedelta(days=1)):
        world.given("Wang", on=day)
        packages.append(world.publish(on=day))
    first, second, third = packages
    assert refused(world, second) == "sequence"  # skipped: the first is missing
    world.receive(first)
    with pytest.raises(VerificationFailed, match="replayed"):
        world.receive(first)
    world.receive(second)
    with pytest.raises(VerificationFailed, match="stale"):
        world.receive(first)
    state = world.homes["bank_a"] / "state.json"
    known = json.loads(state.read_text())
    state.write_text(json.dumps({"bank_a_c1": known["bank_a_c1"] | {"manifest_sha256": "0" * 64}}))
    assert refused(world, third) == "previous_manifest_sha256"
    state.write_text(json.dumps(known))
    assert world.receive(third).sequence == 3


def test_X16_an_expired_package_is_refused_on_the_receivers_own_date(world: World, package: Receipt) -> None:
    last = date.fromisoformat(manifest_of(package)["expires_on"])
    assert refused(world, package, today=last + timedelta(days=1)) == "expires_on"
    assert world.receive(package, today=last).rows == 2


def test_a_key_of_another_institution_opens_nothing(world: World, package: Receipt) -> None:
    stranger = world.homes["bank_a"].parent / "stranger"
    make_institution(stranger, name="stranger", kind="cms", valid_from=NIGHT)
    for name in ("key.pem", "cert.pem"):
        shutil.copy(stranger / name, world.homes["bank_a"] / name)
    assert refused(world, package) == "decryption"


def test_rows_and_plaintext_that_do_not_match_a_signed_manifest_are_refused(
    world: World, package: Receipt, tmp_path: Path
) -> None:
    """Even a hub that signs nonsense is caught: the plaintext is checked against the manifest too."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": [1, 2, 3]}), sink)
    plain = sink.getvalue().to_pybytes()
    cipher = encrypt(plain, recipient="bank_a", envelope="cms", settings=world.hub)
    claims = {"plaintext_sha256": ("0" * 64, 3), "rows": (hashlib.sha256(plain).hexdigest(), 2)}
    for attribute, claim in claims.items():
        copy = copy_of(package, tmp_path)
        manifest = manifest_of(package)
        listed = manifest["files"][0]
        (copy / listed["name"]).write_bytes(cipher)
        listed |= {"bytes": len(cipher), "sha256": hashlib.sha256(cipher).hexdigest()}
        listed |= {"plaintext_sha256": claim[0], "rows": claim[1]}
        raw = json.dumps(manifest).encode()
        (copy / "manifest.json").write_bytes(raw)
        (copy / "manifest.json.p7s").write_bytes(cms_signer(world.hub, world.keyring)(raw))
        assert refused(world, copy) == attribute


def test_a_crash_after_opening_and_before_the_state_is_written_is_harmless(world: World, package: Receipt) -> None:
    first = rows_of(world.receive(package))
    (world.homes["bank_a"] / "state.json").unlink()
    assert rows_of(world.receive(package)) == first


def test_received_files_are_private(world: World, package: Receipt) -> None:
    received = world.receive(package)
    for path in (*received.files, world.homes["bank_a"] / "state.json"):
        assert path.stat().st_mode & 0o777 == 0o600
    assert received.files[0].parent.stat().st_mode & 0o777 == 0o700


def test_the_receiver_brings_no_other_room_of_the_hub() -> None:
    code = (
        "import sys; from pipelines.extracts.receiver import receive; "
        "print(sorted(m for m in sys.modules if m.startswith('pipelines')))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    own = ["pipelines", "pipelines.errors", "pipelines.extracts", "pipelines.extracts.receiver"]
    assert shown.strip() == str(own)
