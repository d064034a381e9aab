"""Which window a feed still lacks.

Promises: a new feed is asked for its history; after that for [watermark, business date], so that a night that
          was missed is made good by the next; a date that landed gives the window it landed with.
Refuses:  a date before the feed's history (Usage).
Not here: moving the watermark: it is a view on what landed (lake/schema.sql), and only landing adds to it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, timedelta

from pipelines.calendar import Window
from pipelines.errors import Usage
from pipelines.lake import Lake


@dataclass(frozen=True, slots=True)
class Plan:
    """What to pull. is_first: the feed never landed. has_landed: there is nothing left to do for this date."""

    feed: str
    business_date: date
    window: Window
    batch_id: str
    is_first: bool
    has_landed: bool


def batch_id(feed: str, window: Window) -> str:
    """The same feed and window is the same batch, whoever asks."""
    name = hashlib.sha256(f"{feed}|{window.from_date}|{window.to_date}".encode()).hexdigest()[:8]
    return f"{feed}-{window.to_date:%Y%m%d}-{name}"


def plan(lake: Lake, feed: str, business_date: date, *, first_load_months: int) -> Plan:
    """The window of this business date. Raises Usage for a date that lies before the feed's history."""
    landed = lake.rows(
        "select from_date, to_date, batch_id from control.window where feed = $feed and fate = 'landed' "
        "order by from_date, to_date",
        {"feed": feed},
    )
    for from_date, to_date, its_batch in landed:
        if from_date <= business_date < to_date:
            return Plan(feed, business_date, Window(from_date, to_date), its_batch, False, True)
    if not landed:
        window = Window.first_load(business_date, first_load_months)
        return Plan(feed, business_date, window, batch_id(feed, window), True, False)
    if business_date < landed[0][0]:
        raise Usage(
            f"{feed} has no history on {business_date}",
            why=f"its first load began with {landed[0][0]}",
            do="ask for a later date",
        )
    watermark = lake.rows("select watermark from control.watermark where feed = $feed", {"feed": feed})[0][0]
    window = _already_pulled(lake, feed, business_date, watermark) or Window.since(watermark, business_date)
    return Plan(feed, business_date, window, batch_id(feed, window), False, False)


def _already_pulled(lake: Lake, feed: str, business_date: date, watermark: date) -> Window | None:
    """The window of an earlier pull for this date that reaches back at least to the watermark.

    A pull of D before D-1 had landed has a longer window than one after it; run again, it stays the same.
    """
    found = lake.rows(
        "select distinct window_from, window_to from control.pulled "
        "where feed = $feed and window_from <= $watermark "
        "and business_date = $date and window_to = $until order by window_from desc limit 1",
        {
            "feed": feed,
            "date": business_date,
            "watermark": watermark,
            "until": business_date + timedelta(days=1),
        },
    )
    return Window(*found[0]) if found else None
