"""The roster: persons with their numbers, names and platform accounts.

Promises: the first persons are the scenarios of archetypes.py, in that order, repeated when the province is large;
          everybody else is drawn. Numbers, phones, cards and account ids are unique, unless a flag says shared.
Refuses:  nothing.
Not here: what they do every day (work), what the agencies keep of them (papers, bank, welfare).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np

from pipelines.calendar import months_back
from pipelines.province import names
from pipelines.province.archetypes import ORDINARY, SCENARIOS, Archetype

PLATFORM_SECTOR = {
    "ride01": "trip",
    "ride02": "trip",
    "taxi01": "taxi",
    "food01": "instant_delivery",
    "food02": "instant_delivery",
    "exp01": "express",
    "frt01": "intracity_freight",
    "frt02": "longhaul_freight",
}
PLATFORMS = tuple(PLATFORM_SECTOR)
OCCUPATION = {
    "trip": "ride_hailing_driver",
    "taxi": "taxi_driver",
    "instant_delivery": "instant_delivery",
    "express": "courier",
    "intracity_freight": "truck_driver",
    "longhaul_freight": "truck_driver",
}
DEFAULT_RATE = {
    "trip": 17.0,
    "taxi": 19.0,
    "instant_delivery": 23.0,
    "express": 19.0,
    "intracity_freight": 2.6,
    "longhaul_freight": 1.3,
}
VEHICLE_KIND = {"trip": "car", "taxi": "taxi", "instant_delivery": "ebike", "express": "ebike"}


@dataclass(frozen=True)
class Dates:
    """The calendar of a world. history: first day of the first load; first: business date of the first load."""

    history: date
    first: date
    last: date

    @classmethod
    def of(cls, first_date: date, nights: int) -> Dates:
        return cls(months_back(first_date, 13), first_date, first_date + timedelta(days=nights))

    @property
    def days(self) -> int:
        return (self.last - self.history).days + 1

    @property
    def business_dates(self) -> list[date]:
        return [self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1)]


@dataclass
class Account:
    """A worker's account at a platform. first, last: first and last day of work (last: None while working)."""

    index: int
    person: int
    platform: str
    worker_id: str
    first: date
    last: date | None
    rate: float
    payout: str  # single | combined | split | agency
    plate: str = ""
    plate_color: str = ""

    @property
    def sector(self) -> str:
        return PLATFORM_SECTOR[self.platform]


@dataclass
class Person:
    """index: position on the roster, 0-based; number: `P00001`."""

    index: int
    archetype: Archetype
    is_scenario: bool
    name: str
    gender: str
    birth: date
    id_no: str
    mobile: str
    region: str
    accounts: list[Account] = field(default_factory=list)
    bank_code: str = ""
    card: str = ""
    cards: list[tuple[str, str]] = field(default_factory=list)  # every (bank, account) that he holds
    id_at_bank: str = ""
    name_at_bank: str = ""
    id_at_platform: str = ""

    @property
    def number(self) -> str:
        return f"P{self.index + 1:05d}"

    @property
    def occupation(self) -> str:
        return OCCUPATION[self.accounts[0].sector] if self.accounts else ""

    def has(self, flag: str) -> bool:
        return flag in self.archetype.flags


def make_roster(rng: np.random.Generator, *, persons: int, dates: Dates) -> list[Person]:
    """Everybody, scenarios first."""
    rounds = 1 + persons // 200
    scenarios = (SCENARIOS * rounds)[:persons]
    weights = np.array([w for w, _ in ORDINARY])
    picks = rng.choice(len(ORDINARY), size=persons - len(scenarios), p=weights / weights.sum())
    chosen = list(scenarios) + [ORDINARY[int(i)][1] for i in picks]
    taken: set[str] = set()
    roster = [
        _person(rng, i, a, is_scenario=i < len(scenarios), dates=dates, taken=taken) for i, a in enumerate(chosen)
    ]
    for person in roster:
        _open_accounts(rng, person, roster, dates)
    _share(roster)
    _write_differently(roster)
    return roster


def _person(
    rng: np.random.Generator, index: int, archetype: Archetype, *, is_scenario: bool, dates: Dates, taken: set[str]
) -> Person:
    """One person with a number nobody else has."""
    gender = archetype.gender or ("female" if rng.random() < 0.14 else "male")
    low, high = archetype.age
    age = int(rng.integers(low, high + 1))
    # Not on the eve of a birthday: whoever is 17 stays 17 for the nights of this world.
    birth = months_back(dates.last, age * 12 + 1) - timedelta(days=int(rng.integers(0, 300)))
    counties = names.COUNTIES + (names.RETIRED_COUNTIES if age > 20 else ())
    county = counties[int(rng.integers(len(counties)))]
    id_no = names.citizen_id(county, birth, gender, int(rng.integers(500)))
    while id_no in taken:
        id_no = names.citizen_id(county, birth, gender, int(rng.integers(500)))
    taken.add(id_no)
    name = names.person_name(rng, gender)
    if index % 10 == 9:
        name = names.RARE[(index // 10) % len(names.RARE)]
    return Person(
        index,
        archetype,
        is_scenario,
        name,
        gender,
        birth,
        id_no,
        names.mobile(rng),
        names.CITIES[int(rng.integers(len(names.CITIES)))],
        id_at_bank=id_no,
        name_at_bank=name,
        id_at_platform=id_no,
    )


def _open_accounts(rng: np.random.Generator, person: Person, roster: list[Person], dates: Dates) -> None:
    """Bank cards, then platform accounts with their vehicle's plate."""
    archetype = person.archetype
    person.bank_code = "BK01" if rng.random() < 0.6 else "BK02"
    person.card = names.card(rng, person.bank_code)
    person.cards = [(person.bank_code, person.card)]
    if not person.is_scenario and rng.random() < 0.2:
        other = "BK02" if person.bank_code == "BK01" else "BK01"
        person.cards.append((other, names.card(rng, other)))
    for nth, platform in enumerate(p for p in (archetype.platform, archetype.second) if p):
        index = sum(len(p.accounts) for p in roster)
        person.accounts.append(_account(rng, person, platform, index, nth, dates))


def _account(
    rng: np.random.Generator, person: Person, platform: str, index: int, nth: int, dates: Dates
) -> Account:
    archetype, sector = person.archetype, PLATFORM_SECTOR[platform]
    days = archetype.days
    if not person.is_scenario:
        days = int(rng.choice([LONG_AGO, 500, 300, 200, 120, 60, 20], p=[0.4, 0.15, 0.13, 0.1, 0.1, 0.07, 0.05]))
        days += int(rng.integers(0, 60))
    last = None if archetype.stopped is None else dates.first - timedelta(days=archetype.stopped)
    if last is not None:
        days = max(days, archetype.stopped + 200 if archetype.stopped else 200)
    payout = "single"
    if person.has("agency"):
        payout = "agency"
    elif not person.is_scenario:
        payout = str(rng.choice(["single", "combined", "split", "agency"], p=[0.74, 0.15, 0.07, 0.04]))
    kind = VEHICLE_KIND.get(sector, "light_truck" if sector == "intracity_freight" else "heavy_truck")
    if kind == "car" and rng.random() < 0.6:
        kind = "car_new_energy"
    number, color = ("", "") if kind == "ebike" else names.plate(rng, person.region, kind)
    return Account(
        index,
        person.index,
        platform,
        f"{10_000_000 + index * 7919 + nth}",
        dates.first - timedelta(days=days),
        last,
        (archetype.rate or DEFAULT_RATE[sector]) * (0.5 if archetype.second else 1.0),
        payout,
        number,
        color,
    )


LONG_AGO = 900


def _share(roster: list[Person]) -> None:
    """Persons who use one phone, or whose pay goes to one card (E19)."""
    for size in range(0, len(roster), len(SCENARIOS)):
        group = [p for p in roster[size : size + len(SCENARIOS)] if p.is_scenario]
        phones = [p for p in group if p.has("phone_shared")]
        cards = [p for p in group if p.has("card_shared")]
        for person in phones[1:]:
            person.mobile = phones[0].mobile
        for person in cards[1:]:
            person.bank_code, person.card = cards[0].bank_code, cards[0].card


def _write_differently(roster: list[Person]) -> None:
    """The same number and name as other agencies wrote them down (E1, E2, E6), and one name that is another's."""
    for person in roster:
        if person.has("id_15_at_bank"):
            person.id_at_bank = names.fifteen_digits(person.id_no)
        if person.has("id_full_width_at_bank"):
            person.id_at_bank = names.full_width(person.id_no)
        if person.has("name_conflict"):
            person.name_at_bank = "周" + person.name[1:] + "生"
        if person.id_no.endswith("X"):
            person.id_at_platform = person.id_no.lower()
        person.name_at_bank = person.name_at_bank.replace("·", "•")
