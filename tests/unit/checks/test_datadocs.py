"""Data Docs: legible pages that load nothing, the same bytes for the same gate, thirty nights of them."""

from __future__ import annotations

import json
import re
import shutil
import stat
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from pipelines.checks import Bench, Gate, datadocs
from pipelines.settings import Settings

BenchOf = Callable[..., Bench]
NIGHT = date(2026, 8, 19)
BAD = {"completed_at": "2026-08-19T09:00:00+08:00"}


@pytest.fixture
def held(bench_of: BenchOf) -> Gate:
    return bench_of([BAD] * 40 + [{"distance_m": "90000"}] * 3 + [{}] * 200).judge()


def test_a_page_says_what_happened(hub: Settings, held: Gate) -> None:
    datadocs.store(hub, held, NIGHT)
    index = datadocs.build(hub)
    page = (index.parent / "2026-08-19" / "platform_order.html").read_text(encoding="utf-8")
    for said in (
        "Orders 平台订单",
        "HELD",
        "40 of 243 rows (16.5 %)",
        "O-001: An order cannot end before it begins.",
    ):
        assert said in page
    assert "HELD platform_order 2026-08-19" in index.read_text(encoding="utf-8")


def test_pages_load_nothing_from_anywhere(hub: Settings, held: Gate) -> None:
    datadocs.store(hub, held, NIGHT)
    for page in datadocs.build(hub).parent.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"https?:|src=|@import|url\(|<script|<link|<iframe|//cdn", text), page.name
        for target in re.findall(r'href="([^"]+)"', text):
            assert target.startswith("#") or (page.parent / target).is_file()


def test_the_same_gate_writes_the_same_bytes(hub: Settings, held: Gate) -> None:
    def all_bytes() -> dict[str, bytes]:
        datadocs.store(hub, held, NIGHT)
        datadocs.build(hub)
        return {str(p.relative_to(hub.docs_dir)): p.read_bytes() for p in hub.docs_dir.rglob("*") if p.is_file()}

    first = all_bytes()
    shutil.rmtree(hub.docs_dir / "site")  # a lost page is rendered again from the stored result
    assert all_bytes() == first
    assert set(first) == {
        "validations/2026-08-19/platform_order.json",
        "site/2026-08-19/platform_order.html",
        "site/index.html",
    }


def test_only_the_owner_reads_them(hub: Settings, held: Gate) -> None:
    datadocs.store(hub, held, NIGHT)
    datadocs.build(hub)
    for path in [hub.docs_dir, *hub.docs_dir.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_thirty_nights_are_shown(hub: Settings, held: Gate) -> None:
    stored = datadocs.store(hub, held, NIGHT)
    record = json.loads(stored.read_text(encoding="utf-8"))
    for ago in range(1, 40):
        night = (NIGHT - timedelta(days=ago)).isoformat()
        for folder, name, text in (
            ("validations", "platform_order.json", json.dumps(record | {"business_date": night})),
            ("site", "platform_order.html", "<p>rendered that night</p>"),
        ):
            path = hub.docs_dir / folder / night / name
            path.parent.mkdir(parents=True)
            path.write_text(text, encoding="utf-8")
    index = datadocs.build(hub)
    shown = sorted(p.name for p in index.parent.iterdir() if p.is_dir())
    assert (len(shown), shown[-1]) == (30, "2026-08-19")
    assert index.read_text(encoding="utf-8").count("<th>2026-") == 30


def test_a_hub_without_a_night_has_an_index(hub: Settings) -> None:
    assert datadocs.build(hub).is_file()


def test_great_expectations_leaves_nothing_in_the_home_of_the_user(hub: Settings, held: Gate) -> None:
    assert not list(Path.home().glob(".great_expectations/*"))
