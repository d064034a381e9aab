"""Business dates, windows and cut-offs: the only module that knows a time zone.

Promises: a business date is a Shanghai calendar date; a window is half-open in business dates, and its two
          ends are exact UTC instants.
Refuses:  the clock. Nothing here reads it; every caller brings its business date.
Not here: which window a feed still lacks (sources/, from control.window).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from pipelines.errors import Usage

SHANGHAI = ZoneInfo("Asia/Shanghai")
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def parse_business_date(text: str) -> date:
    """YYYY-MM-DD to a date. Raises Usage for anything else (a partition key is not validated by Airflow)."""
    try:
        if not _ISO_DATE.fullmatch(text):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise Usage(
            "not a business date", why="a business date is YYYY-MM-DD", do="for instance --date 2026-08-20"
        ) from None


def day_start(day: date) -> datetime:
    """The UTC instant at which a Shanghai calendar day begins."""
    return datetime.combine(day, time.min, tzinfo=SHANGHAI).astimezone(UTC)


def shanghai_date(instant: datetime) -> date:
    """The Shanghai calendar date of an aware instant."""
    return instant.astimezone(SHANGHAI).date()


def months_back(day: date, months: int) -> date:
    """The same day of the month `months` earlier, or that month's last day (2026-03-31 - 1 -> 2026-02-28)."""
    index = day.year * 12 + day.month - 1 - months
    year, month = index // 12, index % 12 + 1
    following = date(year + month // 12, month % 12 + 1, 1)
    return date(year, month, min(day.day, (following - timedelta(days=1)).day))


def as_of(business_date: date) -> date:
    """The date D that features and decisions speak of: the morning after the business date (DOMAIN B2)."""
    return business_date + timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Window:
    """Half-open span of business dates [from_date, to_date)."""

    from_date: date
    to_date: date

    def __post_init__(self) -> None:
        if self.from_date >= self.to_date:
            raise Usage(
                "an empty window",
                where=f"{self.from_date} to {self.to_date}",
                why="a window ends after it begins",
            )

    @property
    def start(self) -> datetime:
        return day_start(self.from_date)

    @property
    def end(self) -> datetime:
        return day_start(self.to_date)

    @classmethod
    def first_load(cls, business_date: date, months: int) -> Window:
        return cls(months_back(business_date, months), business_date + timedelta(days=1))

    @classmethod
    def since(cls, watermark: date, business_date: date) -> Window:
        return cls(watermark, business_date + timedelta(days=1))
