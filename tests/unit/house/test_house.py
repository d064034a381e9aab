"""The house itself: who may import whom, how large its rooms are, what must never stand in a file."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MODULES = sorted(p for folder in ("pipelines", "dags") for p in (ROOT / folder).rglob("*.py"))
MAX_MODULE_LINES = 500
MAX_FUNCTION_LINES = 60
LONG_ON_PURPOSE: dict[str, str] = {}


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [ROOT / name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()]


def test_rooms_import_only_what_their_floor_may():
    linted = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_module_can_be_held_in_the_head(path):
    text = path.read_text()
    name = str(path.relative_to(ROOT))
    tree = ast.parse(text)
    if name not in LONG_ON_PURPOSE:
        assert text.count("\n") <= MAX_MODULE_LINES
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{node.name}: {lines} lines"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_module_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text())), "a module opens with what it promises"


def test_no_room_is_called_after_nothing():
    assert not [p for p in MODULES if p.stem in {"utils", "util", "helpers", "common", "misc"}]


def test_only_the_top_floor_reads_the_clock():
    """No code below dags/ and the CLI reads the clock: a rerun next week must give the same answer."""
    clock = re.compile(
        r"datetime\.now\(|date\.today\(|time\.time\(|utcnow\(|current_date\b|\bnow\(\)|get_current_"
    )
    top = {"cli", "demo.py", "demo_dags.py", "launch.py", "night.py", "province"}
    readers = [
        f"{p.relative_to(ROOT)}:{number}"
        for p in (ROOT / "pipelines").rglob("*")
        if p.suffix in {".py", ".sql"} and p.relative_to(ROOT / "pipelines").parts[0] not in top
        for number, line in enumerate(p.read_text().splitlines(), 1)
        if clock.search(line) and "clock:" not in line
    ]
    assert readers == []


def test_lock_file_is_hashed_and_names_no_host():
    for name in ("requirements.lock", "infra/bootstrap.lock"):
        text = (ROOT / name).read_text()
        assert not re.search(r"https?://|--index-url|--find-links|file:", text)
        for pin in re.findall(r"^[a-z0-9.-]+==.*(?:\n    .*)*", text, flags=re.MULTILINE):
            assert "--hash=sha256:" in pin


def test_nothing_of_this_machine_is_committed():
    here = f"{ROOT.parent}/"
    if here == "//":
        pytest.skip("the checkout lies at the root of the file system; its path says nothing")
    assert [p for p in tracked() if here.encode() in p.read_bytes()] == []


def test_secrets_are_never_committed():
    marks = (b"BEGIN " + b"PRIVATE KEY", b"BEGIN EC " + b"PRIVATE KEY", b"AGE-" + b"SECRET-KEY-1")
    assert [p for p in tracked() for mark in marks if mark in p.read_bytes()] == []
