"""C1: the publisher dies at each of its steps; the rerun ends with one package of the same rows."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any, NoReturn

import pytest

from pipelines.errors import VerificationFailed
from pipelines.extracts import package, publish
from pipelines.extracts.package import parquet_bytes
from pipelines.extracts.publish import Secrets
from pipelines.extracts.rows import scope_of
from pipelines.lake import Lake
from pipelines.ledger import verify
from tests.unit.extracts.world import BANK, INSURER, NIGHT, World, manifest_of, rows_of

# Where a kill hits: the function of extracts/ that dies, before or after it did its work, at its n-th call.
STEPS = [
    ("package.write_parts", "before"),
    ("package.write_durably", "before"),
    ("package.write_durably", "after"),
    ("package.seal_manifest", "before"),
    ("package.seal_manifest", "after"),
    ("publish.ledger.append", "before"),
    ("publish.ledger.append", "after"),
    ("package.publish_folder", "before"),
    ("package.publish_folder", "after"),
]


def killed(world: World, step: str, when: str) -> None:
    """Publish in a child that ends there, without a word; then look at the lake afresh."""
    world.flush()
    world.lake.close()
    child = os.fork()
    if child == 0:
        _publish_and_die(world, step, when)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 137
    world.lake = Lake.attach(world.hub)


def _publish_and_die(world: World, step: str, when: str) -> NoReturn:
    try:
        where, name = step.rsplit(".", 1)
        room: Any = {"package": package, "publish": publish, "publish.ledger": publish.ledger}[where]
        work = getattr(room, name)

        def die(*args: Any, **kwargs: Any) -> NoReturn:
            if when == "after":
                work(*args, **kwargs)
            os._exit(137)

        setattr(room, name, die)
        with Lake.attach(world.hub) as lake:
            publish.extract(BANK, settings=world.hub, lake=lake, keyring=world.keyring, business_date=NIGHT)
    finally:
        os._exit(1)  # it was not killed where it should have been


@pytest.mark.parametrize(("step", "when"), STEPS)
def test_C1_killed_at_any_step_the_rerun_gives_the_same_rows(world: World, step: str, when: str) -> None:
    for name in ("Wang", "Li"):
        world.given(name)
    world.head()
    killed(world, step, when)
    visible = list(world.hub.outbox_dir.glob("bank_a/*"))
    if visible:  # only ever whole
        shutil.copytree(visible[0], world.hub.home / "seen")
    receipt = world.publish()
    assert receipt.counts == {"sequence": 1, "in_scope": 2, "sent": 2, "withheld": 0}
    if visible:
        assert (Path(receipt.paths["package"]) / "manifest.json").read_bytes() == (
            world.hub.home / "seen/manifest.json"
        ).read_bytes()
    received = world.receive(receipt)
    assert {row["recipient_ref"] for row in rows_of(received)} == {"APPL-00WANG", "APPL-0000LI"}
    assert not list((world.hub.outbox_dir / ".staging").iterdir())
    assert world.publish().fate == "unchanged"
    published = world.lake.query("select count(*) as n from control.extract")["n"].to_pylist()
    assert published == [1]
    world.lake.close()


def test_C1_same_rows_same_plaintext(world: World) -> None:
    for name in ("Wang", "Li"):
        world.given(name)
    first = manifest_of(world.publish())["files"][0]["plaintext_sha256"]
    for name in ("Wang", "Li"):
        world.decided(name, INSURER, decision_no=f"other-{name}")
    opener = Secrets(world.hub, world.keyring).opener(BANK.pseudonym_space)
    again = parquet_bytes(scope_of(world.lake, BANK, NIGHT, opener).sent)
    assert hashlib.sha256(again).hexdigest() == first


def test_C10_a_package_registered_and_then_lost_is_void_and_the_chain_goes_on(world: World) -> None:
    world.given("Wang")
    world.head()
    killed(world, "package.publish_folder", "before")
    shutil.rmtree(world.hub.outbox_dir / ".staging")  # the disk was restored from a copy of the lake only
    receipt = world.publish()
    assert receipt.counts["sequence"] == 2
    (void,) = manifest_of(receipt)["void"]
    assert void["sequence"] == 1
    assert world.receive(receipt).rows == 1
    found = world.lake.query("select sequence, status, rows from control.extract order by sequence").to_pylist()
    assert [tuple(row.values()) for row in found] == [(1, "unpublished", 0), (2, "published", 1)]
    findings = verify(world.lake, world.hub).findings
    assert [f for f in findings if f.check in ("invariant 5", "package") and not f.ok] == []
    world.lake.close()


def test_C19_a_package_that_the_lake_forgot_is_registered_again_and_not_sent_twice(world: World) -> None:
    """The catalog was restored from a copy made before the extract; the package is out, perhaps received."""
    world.given("Wang")
    world.head()
    world.lake.close()
    before = world.hub.lake_dir.with_name("lake-before")
    shutil.copytree(world.hub.lake_dir, before)
    ledger_before = world.hub.ledger_dir.with_name("ledger-before")
    shutil.copytree(world.hub.ledger_dir, ledger_before)
    world.lake = Lake.attach(world.hub)
    first = world.publish()
    world.receive(first)
    _restore(world, before, ledger_before)
    again = world.publish()
    assert (again.hashes, again.counts) == (first.hashes, first.counts)
    assert not list((world.hub.outbox_dir / ".staging").iterdir())
    _restore(world, before, ledger_before)
    world.given("Li")  # now the same number would say something else
    with pytest.raises(VerificationFailed, match="other content"):
        world.publish()
    assert world.lake.query("select count(*) as n from control.extract")["n"].to_pylist() == [0]
    world.lake.close()


def _restore(world: World, lake: Path, ledger: Path) -> None:
    world.lake.close()
    for kept, place in ((lake, world.hub.lake_dir), (ledger, world.hub.ledger_dir)):
        shutil.rmtree(place)
        shutil.copytree(kept, place)
    world.lake = Lake.attach(world.hub)


def test_C11_a_flipped_bit_in_a_published_package_is_seen_by_the_rerun(world: World) -> None:
    world.given("Wang")
    receipt = world.publish()
    file = next(Path(receipt.paths["package"]).glob("*.cms"))
    raw = bytearray(file.read_bytes())
    raw[100] ^= 1
    file.write_bytes(raw)
    with pytest.raises(VerificationFailed):
        world.publish()


def test_C11_a_flipped_bit_in_the_lake_stops_the_extract(world: World) -> None:
    world.given("Wang")
    world.head()
    (path,) = [path for _, path in world.lake.used_files(["decisions.decision"])]
    file = world.lake.data_dir / path
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
    with pytest.raises(VerificationFailed):
        world.publish()
    assert not list(world.hub.outbox_dir.glob("bank_a/*"))
