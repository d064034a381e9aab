"""Write report/<business date>.html: one file that needs nothing else, on screen and on paper.

Promises: the same lake gives the same bytes; written beside and renamed, so that a reader never sees half a page.
Refuses:  scripts and requests: styles and figures are inside the file.
Not here: the numbers (night.py), the figures (figures.py).
"""

from __future__ import annotations

import hashlib
import os
from datetime import date
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipelines.lake import Lake
from pipelines.receipt import Receipt
from pipelines.report.figures import OUTCOME_WORDS, all_figures, yuan
from pipelines.report.night import OUTCOMES, SMALL, Night, read
from pipelines.settings import Settings

HERE = Path(__file__).parent


def build(*, settings: Settings, lake: Lake, business_date: date) -> Receipt:
    """Write the night's page; fate "built", or "unchanged" if it is there with the same bytes."""
    night = read(lake, settings, business_date)
    page = render(night).encode()
    settings.report_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = settings.report_dir / f"{business_date.isoformat()}.html"
    fate = "unchanged" if target.exists() and target.read_bytes() == page else "built"
    if fate == "built":
        _replace(target, page)
    return Receipt(
        step="report",
        business_date=business_date,
        fate=fate,
        counts={
            "feeds": len(night.feeds),
            "physical": night.physical,
            "landed": night.landed,
            "quarantined": night.quarantined,
            "sent": night.sent,
            "faults": len(night.faults),
        },
        hashes={"page": hashlib.sha256(page).hexdigest()},
        paths={"page": str(target)},
    )


def render(night: Night) -> str:
    """The page as HTML text. Everything that is not ours is escaped."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"yuan": yuan, "count": lambda number: f"{number:,}"}
    figures = {name: Markup(svg) for name, svg in all_figures(night).items()}  # escaped there
    style = Markup((HERE / "page.css").read_text())
    return environment.get_template("page.html.j2").render(
        night=night, figures=figures, style=style, outcomes=OUTCOMES, outcome_words=OUTCOME_WORDS, small=SMALL
    )


def _replace(target: Path, page: bytes) -> None:
    part = target.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(page)
        out.flush()
        os.fsync(out.fileno())
    part.replace(target)
