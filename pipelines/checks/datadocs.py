"""Great Expectations Data Docs that open without a network: one page per feed and night, one index.

Promises: the same gate writes the same bytes; a page loads nothing but itself; only counts, no values.
Refuses:  nothing; a night without results has no page.
Not here: the gate itself (gate.py), the night's report (report/).
"""

from __future__ import annotations

import json
import os
import re
import shutil
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader

if TYPE_CHECKING:
    from pipelines.checks.gate import Gate
    from pipelines.settings import Settings

NIGHTS = 30  # as many as the retention of raw batches: later a held batch cannot be looked into any more
TEMPLATES = Path(__file__).with_name("templates")
_NIGHT = re.compile(r"\d{4}-\d{2}-\d{2}")
_KEPT = "Kept by every row"


def store(settings: Settings, gate: Gate, business_date: date) -> Path:
    """Write the validation result as JSON and, where Great Expectations judged, its page; returns the JSON's path.

    The page is rendered here since this process has the library loaded already, which takes 5 s.
    """
    night = business_date.isoformat()
    record = {
        "feed": gate.feed,
        "title": gate.title,
        "grain": gate.grain,
        "business_date": night,
        "held": gate.held,
        "reasons": list(gate.reasons),
        "results": gate.results,
        "validation": gate.validation,
    }
    path = _validations(settings) / night / f"{gate.feed}.json"
    _write(path, json.dumps(record, ensure_ascii=False, sort_keys=True, indent=1) + "\n")
    if gate.validation:
        _write(_page_path(settings, night, gate.feed), _page(record))
    return path


def build(settings: Settings) -> Path:
    """Bring docs/site up to date from the stored results of the last 30 nights; returns the index page."""
    site, stored = settings.docs_dir / "site", _validations(settings)
    nights = (
        sorted((p.name for p in stored.iterdir() if _NIGHT.fullmatch(p.name)), reverse=True)
        if stored.is_dir()
        else []
    )
    nights = nights[:NIGHTS]
    batches: dict[tuple[str, str], dict[str, Any]] = {}
    for night in nights:
        for file in sorted((stored / night).glob("*.json")):
            record = json.loads(file.read_text(encoding="utf-8"))
            batches[record["feed"], night] = _summary(record)
            page = _page_path(settings, night, record["feed"])
            if record["validation"] and not page.exists():
                _write(page, _page(record))
    if site.is_dir():
        for old in (p for p in site.iterdir() if _NIGHT.fullmatch(p.name) and p.name not in nights):
            shutil.rmtree(old)
    titles = {feed: batch["title"] for (feed, _), batch in reversed(batches.items())}
    index = _own_templates().get_template("index.j2")
    held = [batch for (_, night), batch in batches.items() if batch["held"]]
    path = site / "index.html"
    _write(
        path, index.render(nights=nights, most=NIGHTS, batches=batches, held=held, feeds=sorted(titles.items()))
    )
    return path


def _validations(settings: Settings) -> Path:
    return settings.docs_dir / "validations"


def _page_path(settings: Settings, night: str, feed: str) -> Path:
    return settings.docs_dir / "site" / night / f"{feed}.html"


def _summary(record: dict[str, Any]) -> dict[str, Any]:
    """What index and page say about a batch at a glance."""
    results = record["results"]
    facts = {key: record[key] for key in ("feed", "title", "grain", "business_date", "held", "reasons")}
    return facts | {
        "rows": results["rows"],
        "evaluated": results["evaluated"],
        "rejected": results["broken"].get("record.accepted", 0),
    }


@cache
def _own_templates() -> Environment:
    return Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)


def _page(record: dict[str, Any]) -> str:
    """One validation result, rendered by Great Expectations into our frame."""
    from pipelines.checks.gx_pages import render

    return render(record["validation"], batch=_summary(record), fold=_KEPT, templates=TEMPLATES)


def _write(path: Path, text: str) -> None:
    """Whole or not at all; 0600 below 0700."""
    for folder in reversed((path.parent, *path.parent.parents)):
        folder.mkdir(mode=0o700, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    part.replace(path)
