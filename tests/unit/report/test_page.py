"""The night's page: it says what the lake says, to the fen; it asks nobody; it names no single person."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.lake import Lake
from pipelines.report import build, figures_expected
from pipelines.report.figures import yuan
from tests.unit.report.world import NIGHT, draw, hub_at


class Tables(HTMLParser):
    """Text of every row of every table, by data-table; and the tags that were never closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: dict[str, list[list[str]]] = {}
        self.open: list[str] = []
        self._table = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)
        if tag == "table":
            self._table = dict(attributes).get("data-table") or ""
            self.rows[self._table] = []
        elif tag == "tr":
            self.rows[self._table].append([])
        elif tag in ("td", "th"):
            self.rows[self._table][-1].append("")

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """An SVG shape."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.rows[self._table][-1][-1] += data.strip()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    hub = hub_at(tmp_path_factory.mktemp("drawn"))
    with Lake.attach(hub) as lake:
        draw(lake)
    with Lake.attach(hub, read_only=True) as lake:
        return Path(build(settings=hub, lake=lake, business_date=NIGHT).paths["page"]).read_text()


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Lake]:
    with Lake.attach(hub_at(tmp_path)) as lake:
        yield lake


def row(page: str, table: str, start: str) -> list[str]:
    (found,) = [cells for cells in Tables(page).rows[table] if cells and cells[0].startswith(start)]
    return found


def test_every_figure_is_there_once(page: str) -> None:
    assert re.findall(r'data-figure="([^"]+)"', page) == list(figures_expected())
    assert page.count("<svg") == len(figures_expected())
    assert "nothing to show" not in page


def test_the_page_is_well_formed_and_asks_nobody(page: str) -> None:
    assert Tables(page).open == []
    assert "<script" not in page
    assert not re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?:https?:)?//""", page)


def test_records_have_one_fate_each(page: str) -> None:
    earnings = row(page, "feeds", "Earnings")
    assert earnings[3:9] == ["6,240", "0", "6,181", "38", "21", "0"]
    assert "landed" in earnings[9]
    assert "held" in row(page, "feeds", "Orders")[9]
    assert "did not arrive" in row(page, "feeds", "Loans")[9]
    assert row(page, "feeds", "all feeds")[3:8] == ["7,616", "", "7,539", "49", "22"]


def test_money_is_shown_to_the_fen_with_a_verdict(page: str) -> None:
    earnings = row(page, "money", "Earnings")
    assert earnings[1:6] == ["412,880,516.37", "412,100,000.00", "780,516.00", "0.37", "0.00"]
    assert "conserved" in earnings[6]
    assert "unprovable" in row(page, "money", "Payouts")[6]
    differs = row(page, "money", "Bank transactions")
    assert (differs[5], "differs" in differs[6]) == ("0.01", True)


def test_rules_are_counted_with_their_sentence(page: str) -> None:
    assert "platform_earning_line · E-001" in page
    assert "2 · " in page
    assert "校验位不符" in page


def test_what_left_adds_up_with_reasons_and_manifest(page: str) -> None:
    bank = row(page, "packages", "bank_a")
    assert bank[2:4] == ["42", "40"]
    assert "consent.withdrawn_at 2" in bank[4]
    assert "adds up" in bank[5]
    assert "ab" * 32 in bank[1]
    assert "1 deletion notice:" in bank[1]


def test_few_persons_are_not_told(page: str) -> None:
    outcomes = row(page, "outcomes", "C1")
    assert outcomes[1:] == [
        "21",
        "0",
        "few 少",
        "few 少",
        "11",
        "0",
        "0",
    ]  # two under review
    assert "R107" not in page  # their reason neither
    assert "42 persons" not in page  # nor the total
    assert "1 further reason" in page


def test_reasons_have_their_chinese_text(page: str) -> None:
    assert any("从业时间" in "".join(cells) for cells in Tables(page).rows["reasons"])


def test_what_needs_a_person_stands_on_top(page: str) -> None:
    verdict = page[page.index('data-section="verdict"') : page.index('class="tiles"')]
    for words in ("platform_order: held", "bank_txn: money differs", "platform_settlement: money unprovable"):
        assert words in verdict


def test_a_rerun_changes_nothing_and_an_empty_night_still_has_its_page(empty: Lake) -> None:
    first = build(settings=empty.settings, lake=empty, business_date=NIGHT)
    again = build(settings=empty.settings, lake=empty, business_date=NIGHT)
    assert (first.fate, again.fate) == ("built", "unchanged")
    page = Path(first.paths["page"]).read_text()
    assert all(f'data-figure="{name}"' in page for name in figures_expected())
    assert "nothing to show" in page
    assert Path(first.paths["page"]).stat().st_mode & 0o777 == 0o600


@given(st.integers(-(10**18), 10**18))
def test_S19_yuan_loses_no_fen(fen: int) -> None:
    assert int(yuan(fen).replace(",", "").replace(".", "").replace("−", "-")) == fen
