"""Who lives in the province: ways of working and living whose outcome in both products is known beforehand.

Promises: SCENARIOS covers every outcome and reason of C1 and I1 that depends on a person, each with wide margins
          on the thresholds of DOMAIN.md C; the same list for every seed, so that a test can ask for one by key.
Refuses:  nothing.
Not here: the products (schemas/products); the persons (people).
"""

from __future__ import annotations

from dataclasses import dataclass, field

STEADY = (1.0,)
LOW_HIGH = (0.5, 1.3)  # coefficient of variation 0.44 over an even number of months
WILD = (0.3, 2.2)  # 0.76
LONG = 1200  # days since the first order: before the history begins


@dataclass(frozen=True)
class Expected:
    """What a product must answer. Empty: not foretold.

    detail: the tier, or the variant of the day's cover; reason: one that must be among the reasons.
    """

    outcome: str
    detail: str = ""
    reason: str = ""


A, B, C = (Expected("ELIGIBLE", tier) for tier in "ABC")
TOP_UP, FULL = Expected("ELIGIBLE", "top_up"), Expected("ELIGIBLE", "full")
UNSURE = Expected("REVIEW", "", "R106")
ANY = None  # not foretold


def no(reason: str) -> Expected:
    return Expected("INELIGIBLE", "", reason)


@dataclass(frozen=True)
class Archetype:
    """One way of working. c1, i1: expected on a day with orders and a live consent; None: not foretold.

    platform, second: of the accounts.  days: orders begin so many days before the first load.
    work, of: works `work` days out of every `of`.  rate: orders per working day.  factors: cycle over months.
    stopped: last order so many days before the first load (None: still working).  debt: monthly dues as a share of
    the 25th percentile of monthly income.  flags: see people, papers, bank and welfare.
    """

    key: str
    platform: str
    c1: Expected | None = ANY
    i1: Expected | None = ANY
    second: str = ""
    days: int = LONG
    work: int = 6
    of: int = 7
    rate: float = 0.0
    factors: tuple[float, ...] = STEADY
    stopped: int | None = None
    debt: float = 0.0
    age: tuple[int, int] = (24, 50)
    gender: str = ""
    flags: frozenset[str] = field(default_factory=frozenset)


def _a(key: str, platform: str, *flags: str, **more: object) -> Archetype:
    return Archetype(key, platform, flags=frozenset(flags), **more)  # type: ignore[arg-type]


NO_ORDER = Expected("", "", "R302")  # no cover declared for the day, whatever the standing
SCENARIOS: tuple[Archetype, ...] = (
    _a("steady_rider", "food01", c1=A, i1=TOP_UP),
    _a("steady_driver", "ride01", c1=A, i1=TOP_UP, debt=0.1),
    _a("steady_taxi", "taxi01", "id_15_at_bank", c1=A, i1=FULL),
    _a("steady_courier", "exp01", "id_full_width_at_bank", c1=A, i1=FULL),
    _a("steady_city_truck", "frt01", c1=A, i1=TOP_UP, rate=3.0),
    _a("steady_long_haul", "frt02", i1=FULL, rate=2.0),
    _a("two_platforms", "food02", c1=A, i1=TOP_UP, second="ride02"),
    _a("eight_months", "food01", c1=B, i1=TOP_UP, days=275),
    _a("swinging_driver", "ride01", c1=B, i1=TOP_UP, factors=LOW_HIGH),
    _a("five_months", "food02", c1=C, i1=TOP_UP, days=165),
    _a("wild_driver", "ride01", c1=C, i1=TOP_UP, factors=WILD, rate=17.0),
    _a("newcomer", "food02", "phone_shared", c1=no("R201"), i1=TOP_UP, days=50),
    _a("few_days", "food01", "phone_shared", "card_shared", c1=no("R202"), i1=ANY, work=3, of=14),
    _a("stopped", "food01", "card_shared", c1=no("R203"), i1=NO_ORDER, stopped=25),
    _a("pocket_money", "food02", "phone_shared", c1=no("R204"), i1=TOP_UP, rate=1.6),
    # Income that swings is no ground to refuse (tier C does not ask): R205 stands beside R206, if at all.
    _a("wild_in_debt", "ride02", c1=no("R206"), i1=TOP_UP, factors=WILD, debt=1.4),
    _a("in_debt", "food02", c1=no("R206"), i1=TOP_UP, debt=0.9),
    _a("small_limit", "food02", c1=no("R207"), i1=TOP_UP, work=3, of=7, rate=9.0),
    _a("shared_account", "food01", "shared_flag", c1=UNSURE, i1=UNSURE),
    _a("two_names", "ride02", "name_conflict", c1=UNSURE, i1=UNSURE),
    _a("no_bank", "food01", "no_bank", c1=Expected("INSUFFICIENT_DATA"), i1=TOP_UP),
    _a("over_sixty", "taxi01", c1=no("R102"), i1=FULL, age=(61, 63)),
    _a("over_sixty_five", "taxi01", c1=no("R102"), i1=no("R301"), age=(67, 69)),
    _a("seventeen", "food02", c1=no("R102"), i1=TOP_UP, days=100, age=(17, 17)),
    _a("fifteen", "food02", c1=no("R102"), i1=no("R301"), days=60, age=(15, 15)),
    _a("deceased", "food01", "deceased", c1=no("R103"), i1=no("R103")),
    _a("merged_number", "food02", "merged", c1=no("R101"), i1=no("R101")),
    _a("closed_account", "food01", "closed", "card_shared", c1=no("R105"), i1=no("R105"), stopped=5),
    _a("resting", "food01", c1=A, i1=NO_ORDER, stopped=2),
    _a("on_foot", "food02", "no_vehicle", c1=A, i1=no("R303")),
    _a("licence_expired", "ride01", "licence_expired", c1=A, i1=no("R303")),
    _a("licence_unknown", "ride02", "no_licence", c1=A, i1=Expected("INSUFFICIENT_DATA")),
    _a("licence_ends_soon", "ride01", "licence_soon", c1=A, i1=Expected("ELIGIBLE_WITH_CONDITIONS", "top_up")),
    _a("agency_rider", "food02", "agency", c1=Expected("ELIGIBLE_WITH_CONDITIONS", "A"), i1=TOP_UP),
    _a("withdraws", "food01", "withdraws", c1=A, i1=TOP_UP),
    _a("consent_expired", "food02", "expired", c1=A, i1=TOP_UP),
    _a("notice_missing", "food01", "no_notice", c1=A, i1=TOP_UP),
    _a("consents_late", "food02", "consents_in_night", c1=A, i1=TOP_UP),
    _a("unknown_person", "", "no_records", c1=ANY, i1=ANY),
)  # fmt: skip

# (weight, archetype): everybody else. No promise is made about their outcomes.
ORDINARY: tuple[tuple[float, Archetype], ...] = (
    (0.17, _a("rider", "food01", age=(19, 48))),
    (0.10, _a("rider", "food02", age=(19, 48))),
    (0.05, _a("crowd_rider", "food02", work=4, rate=15.0, age=(19, 55), second="food01")),
    (0.05, _a("weekend_rider", "food01", work=2, rate=18.0, age=(20, 40))),
    (0.12, _a("driver", "ride01", debt=0.25)),
    (0.08, _a("driver", "ride02")),
    (0.05, _a("evening_driver", "ride02", "night_shift", work=4, rate=8.0)),
    (0.09, _a("taxi", "taxi01", age=(30, 59))),
    (0.09, _a("courier", "exp01", age=(20, 50))),
    (0.05, _a("seasonal_courier", "exp01", factors=(0.0, 0.0, 0.6, 1.2, 1.4, 1.0))),
    (0.07, _a("city_truck", "frt01", rate=2.6)),
    (0.04, _a("long_haul", "frt02", rate=1.2)),
    (0.04, _a("leaver", "food01", stopped=90)),
)  # fmt: skip
