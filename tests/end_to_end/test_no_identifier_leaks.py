"""X10: after three nights no raw identifier stands anywhere but, encrypted, in the raw vault."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest

from tests.end_to_end.conftest import Shown

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def forms(value: str) -> Iterator[bytes]:
    """One identifier in every form that TRIALS X10 names."""
    encodings = [value.encode(), value.encode("utf-16-le"), value.encode("utf-16-be")]
    if not value.isascii():
        encodings.append(value.encode("gb18030"))
        encodings.append(value.encode("unicode_escape"))
        encodings.append(quote(value).encode())
    yield from encodings
    plain = encodings[0]
    yield plain.hex().encode()
    yield plain.hex().upper().encode()
    for shift in range(3):  # base64 has three alignments; the ends depend on the neighbours, the middle does not
        middle = base64.b64encode(b"\0" * shift + plain)[4 if shift else 0 :]
        yield middle[: len(middle) - 4]
    for algorithm in (
        "md5",
        "sha1",
        "sha256",
    ):  # unkeyed hashes can be tried out, so they count as the number itself
        digest = hashlib.new(algorithm, plain)
        yield digest.hexdigest().encode()
        yield digest.digest()
        yield base64.b64encode(digest.digest())


def identifiers(shown: Shown) -> set[str]:
    """Every id number, phone, card and name of the province, as it was sent and in canonical form."""
    truth = pq.read_table(shown.stage.world / "truth" / "needles.parquet")
    return {value for value in truth["value"].to_pylist() if value and len(value) >= 2}


def pattern_file(values: set[str], folder: Path) -> Path:
    """All forms, one a line; those shorter than six bytes (a two-character name in GB18030) hit by chance."""
    patterns = {form for value in values for form in forms(value)}
    usable = sorted(p for p in patterns if len(p) >= 6 and b"\n" not in p)
    file = folder / "patterns"
    file.write_bytes(b"\n".join(usable) + b"\n")
    return file


def hits(patterns: Path, data: bytes) -> list[bytes]:
    found = subprocess.run(
        ["grep", "-a", "-F", "-o", "-m", "3", "-f", patterns],
        input=data,
        capture_output=True,
        env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
        check=False,
    )
    assert found.returncode in (0, 1), found.stderr.decode()
    return found.stdout.splitlines()


def readable(file: Path) -> bytes:
    """A file's bytes, and for Parquet also its cells and statistics as text (its pages are compressed)."""
    data = file.read_bytes()
    if file.suffix == ".parquet":
        parquet = pq.ParquetFile(file)
        cells = [str(batch.to_pylist()).encode() for batch in parquet.iter_batches(20_000)]
        return b"\n".join([data, str(parquet.metadata.to_dict()).encode(), *cells])
    return data


def left_behind(shown: Shown) -> list[Path]:
    """Everything that the hub, Airflow and the institutions wrote."""
    folders = [shown.stage.hub, shown.stage.airflow, shown.stage.root / "institutions"]
    return [file for folder in folders for file in folder.rglob("*") if file.is_file() and not file.is_symlink()]


def test_X10_no_raw_identifier_on_disk(shown: Shown, tmp_path: Path):
    patterns = pattern_file(identifiers(shown), tmp_path)
    files = left_behind(shown)
    assert len(files) > 100
    contents = {str(file): readable(file) for file in files}
    if hits(patterns, b"\n".join(contents.values())):  # once for all; file by file only to say where
        leaks = {name: len(found) for name, data in contents.items() if (found := hits(patterns, data))}
        assert leaks == {}, f"{len(leaks)} files hold raw identifiers"
    names = "\n".join(map(str, files)).encode()
    assert hits(patterns, names) == []


def test_X10_nothing_is_left_in_the_temporary_folder(shown: Shown):
    spills = [p for p in shown.stage.settings().tmp_dir.rglob("*") if p.is_file()]
    assert spills == []


@pytest.mark.parametrize("form", range(8))
def test_the_hunt_finds_what_is_planted(shown: Shown, tmp_path: Path, form: int):
    """Check the checker: each form, planted in a file, is found."""
    values = identifiers(shown)
    patterns = pattern_file(values, tmp_path)
    number = next(v for v in sorted(values) if len(v) == 18)
    planted = b"noise " + list(forms(number))[form] + b" noise"
    assert hits(patterns, planted)
