"""The page's figures as SVG text, written by hand: no library, no script, no font file, sharp on paper.

Promises: each figure has an id that `figures_expected` lists; its texts are escaped; without data it says so.
Refuses:  to draw a bar for a count of persons that is not shown.
Not here: the numbers (night.py), the page around it (page.html.j2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from pipelines.report.night import OUTCOMES, Night

WIDTH = 1040
INK, FAINT, GRID = "#1f2933", "#64748b", "#e2e8f0"
LANDED, ASIDE, TWICE, OUT = "#0f766e", "#d97706", "#94a3b8", "#2563eb"
OUTCOME_COLOURS = {
    "ELIGIBLE": "#0f766e",
    "ELIGIBLE_WITH_CONDITIONS": "#5eada5",
    "REVIEW": "#d9a441",
    "INSUFFICIENT_DATA": "#a3b1c2",
    "INELIGIBLE": "#b4534b",
    "PENDING": "#cbd5e1",
    "UNAVAILABLE": "#e2d5c3",
}
OUTCOME_WORDS = {
    "ELIGIBLE": "eligible 符合",
    "ELIGIBLE_WITH_CONDITIONS": "with conditions 附条件",
    "REVIEW": "review 人工复核",
    "INSUFFICIENT_DATA": "insufficient data 数据不足",
    "INELIGIBLE": "not eligible 不符合",
    "PENDING": "pending 待判定",
    "UNAVAILABLE": "no data 无数据",
}
STATE_WORDS = {"missing": "did not arrive 未到", "held": "held 整批暂扣", "pulled": "not landed 未入库"}
MOST_RULES = 12


def figures_expected() -> tuple[str, ...]:
    """Ids (`data-figure="…"`) of every figure on the page, in order."""
    return (
        "fate-by-feed",
        "money-by-feed",
        "quarantine-by-rule",
        "orders-by-month",
        "earnings-by-month",
        "decisions-by-outcome",
        "sent-by-recipient",
    )


def all_figures(night: Night) -> dict[str, str]:
    """Every expected figure as an <svg> element."""
    drawn = {
        "fate-by-feed": _fates(night),
        "money-by-feed": _money(night),
        "quarantine-by-rule": _rules(night),
        "orders-by-month": _columns([(m, n) for m, n, _ in night.months], OUT, "completed orders 完单量", 1),
        "earnings-by-month": _columns([(m, fen) for m, _, fen in night.months], LANDED, "yuan 元", 100),
        "decisions-by-outcome": _outcomes(night),
        "sent-by-recipient": _sent(night),
    }
    return {name: drawn[name] for name in figures_expected()}


def yuan(fen: int) -> str:
    """Fen to yuan with two decimals, exactly: 41288051637 -> 412,880,516.37."""
    whole, rest = divmod(abs(fen), 100)
    return f"{'−' if fen < 0 else ''}{whole:,}.{rest:02d}"


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of a bar. shown: what stands in or beside it."""

    size: float
    colour: str
    shown: str


Row = tuple[str, list[_Piece], str]  # label, bar, words


def _fates(night: Night) -> str:
    """What share of each feed was held back; the rest landed. Scale: the largest share, at least 1 %."""
    rows: list[Row] = []
    for feed in night.feeds:
        aside, twice = (_share(count, feed.physical) for count in (feed.quarantined, feed.duplicates))
        pieces = [_Piece(aside, ASIDE, ""), _Piece(twice, TWICE, "")]
        if feed.state != "landed":
            word = {"missing": "did not arrive 未到", "held": "held 整批暂扣", "pulled": "not landed 未入库"}[
                feed.state
            ]
            rows.append((feed.title, [], word))
        else:
            words = f"{aside + twice:.2f} % of {feed.physical:,}" if feed.physical else "no record 无记录"
            rows.append((feed.title, pieces, words))
    key = [(ASIDE, "quarantined 隔离"), (TWICE, "duplicate 重复")]
    top = max([1.0, *(sum(piece.size for piece in pieces) for _, pieces, _ in rows)])
    return _bars(rows, top=top, key=key, title="Share of each feed's records that did not land, per cent")


def _money(night: Night) -> str:
    rows: list[Row] = []
    for feed in night.feeds:
        if feed.money:
            pieces = [
                _Piece(feed.money.landed, LANDED, ""),
                _Piece(feed.money.quarantined, ASIDE, ""),
                _Piece(feed.money.duplicates, TWICE, ""),
            ]
            total = max(sum(abs(piece.size) for piece in pieces), 1)
            pieces = [_Piece(100 * abs(p.size) / total, p.colour, "") for p in pieces]
            rows.append((feed.title, pieces, f"{yuan(feed.money.accounted)} yuan 元"))
    key = [(LANDED, "landed 入库"), (ASIDE, "quarantined 隔离"), (TWICE, "duplicate 重复")]
    return _bars(rows, top=100.0, key=key, title="Where each feed's money went, share of the declared sum")


def _rules(night: Night) -> str:
    shown = night.rules[:MOST_RULES]
    rows = [
        (
            f"{rule.feed} · {rule.id}",
            [_Piece(rule.records, ASIDE, "")],
            " · ".join(filter(None, (f"{rule.records:,}", rule.what))),
        )
        for rule in shown
    ]
    top = max([1, *(rule.records for rule in shown)])
    return _bars(rows, top=top, key=[], title="Records quarantined, by rule", label=330, bar=220)


def _outcomes(night: Night) -> str:
    """A bar per product, over the outcomes that are told."""
    rows: list[Row] = []
    for product, counts in sorted(night.outcomes.items()):
        told = {outcome: n for outcome, n in night.told(product).items() if n}
        total = sum(told.values())
        pieces = [_Piece(100 * n / total, OUTCOME_COLOURS[outcome], f"{n:,}") for outcome, n in told.items()]
        is_whole = total == sum(counts.values())
        words = f"{total:,} persons 人" if is_whole else "few persons left out 少数未列"
        rows.append((f"{product} {night.products.get(product, '')}", pieces, words))
    present = {outcome for counts in night.outcomes.values() for outcome in counts}
    key = [(OUTCOME_COLOURS[outcome], OUTCOME_WORDS[outcome]) for outcome in OUTCOMES if outcome in present]
    return _bars(rows, top=100.0, key=key, title="Decisions by product and outcome", height=34, gap=16)


def _sent(night: Night) -> str:
    rows: list[Row] = []
    for package in night.packages:
        held = package.in_scope - package.sent
        pieces = [_Piece(package.sent, OUT, ""), _Piece(held, ASIDE, "")]
        rows.append(
            (f"{package.recipient} · {package.agreement}", pieces, f"{package.sent:,} of {package.in_scope:,}")
        )
    top = max([1, *(package.in_scope for package in night.packages)])
    key = [(OUT, "sent 送出"), (ASIDE, "withheld 未送")]
    return _bars(rows, top=top, key=key, title="Rows sent and withheld, by recipient", height=26)


def _share(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0


def _bars(
    rows: Sequence[Row], *, top: float, key: list[tuple[str, str]], title: str,
    label: int = 330, bar: int = 450, height: int = 18, gap: int = 10,
) -> str:  # fmt: skip
    """Horizontal stacked bars: label, bar, words. One row each."""
    if not rows:
        return _empty(title)
    start = 34 if key else 8
    parts = _key(key)
    for number, (name, pieces, words) in enumerate(rows):
        y = start + number * (height + gap)
        middle = y + height / 2 + 4.5
        parts.append(_text(label - 12, middle, name, anchor="end"))
        x = float(label)
        parts.append(f'<rect x="{label}" y="{y}" width="{bar}" height="{height}" fill="#f1f5f9" rx="2"/>')
        for piece, width in zip(pieces, _widths(pieces, bar, top), strict=True):
            size = f'width="{width:.1f}" height="{height}"'
            parts.append(f'<rect x="{x:.1f}" y="{y}" {size} fill="{piece.colour}"/>')
            if piece.shown and width > 9 * len(piece.shown):
                centre = x + width / 2
                parts.append(_text(centre, middle, piece.shown, anchor="middle", colour="#ffffff", bold=True))
            x += width
        parts.append(_text(label + bar + 12, middle, words, colour=FAINT))
    return _svg(start + len(rows) * (height + gap), title, parts)


def _widths(pieces: list[_Piece], bar: int, top: float) -> list[float]:
    """In proportion, but nothing that is there is invisible; the widest piece makes the room for that."""
    widths = [max(bar * piece.size / top, 1.5 if piece.size > 0 else 0.0) for piece in pieces]
    too_much = sum(widths) - bar
    if too_much > 0:
        widest = widths.index(max(widths))
        widths[widest] -= too_much
    return widths


def _key(key: list[tuple[str, str]]) -> list[str]:
    """Colours and their words, in one line that ends at the right edge if it is long."""
    widths = [34.0 + sum(13 if ord(letter) > 0x2E80 else 6.8 for letter in words) for _, words in key]
    x = min(330.0, WIDTH - sum(widths))
    parts = []
    for (colour, words), width in zip(key, widths, strict=True):
        parts.append(f'<rect x="{x:.0f}" y="6" width="12" height="12" fill="{colour}" rx="2"/>')
        parts.append(_text(x + 18, 16.5, words, colour=FAINT))
        x += width
    return parts


def _columns(values: list[tuple[str, int]], colour: str, unit: str, per: int) -> str:
    """One column a month; the last is the night's own, unfinished month, drawn lighter."""
    title = f"{unit} by month"
    if not any(value for _, value in values):
        return _empty(title)
    width, floor, ceiling = 510, 168, 26
    top = _round_up(max(value for _, value in values) / per)
    step = (width - 56) / len(values)
    parts = [_text(0, 12, unit, colour=FAINT, size=12)]
    for line in range(5):
        y = floor - (floor - ceiling) * line / 4
        parts.append(f'<line x1="52" x2="{width}" y1="{y:.1f}" y2="{y:.1f}" stroke="{GRID}"/>')
        parts.append(_text(46, y + 4, _short(top * line / 4), anchor="end", colour=FAINT, size=11))
    for number, (month, value) in enumerate(values):
        x = 56 + number * step
        height = (floor - ceiling) * max(value, 0) / per / top
        faded = ' fill-opacity="0.45"' if number == len(values) - 1 else ""
        parts.append(
            f'<rect x="{x:.1f}" y="{floor - height:.1f}" width="{step * 0.72:.1f}" height="{height:.1f}" '
            f'fill="{colour}"{faded} rx="1"><title>{escape(month)}: {value / per:,.0f}</title></rect>'
        )
        middle = x + step * 0.36
        parts.append(_text(middle, floor + 15, month[5:], anchor="middle", colour=FAINT, size=11))
        if number == 0 or month.endswith("-01"):
            parts.append(_text(middle, floor + 29, month[:4], anchor="middle", colour=FAINT, size=11))
    return _svg(floor + 36, title, parts, width=width)


def _round_up(value: float) -> float:
    """The next of 1, 2, 2.5, 5 × 10^n: a scale that a person reads at a glance; never under 4."""
    scale = 1.0
    while scale * 10 <= value:
        scale *= 10
    return max(4.0, next(scale * step for step in (1, 2, 2.5, 4, 5, 8, 10) if scale * step >= value))


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _empty(title: str) -> str:
    words = "nothing to show for this night 当夜无数据"
    return _svg(44, title, [_text(WIDTH / 2, 27, words, anchor="middle", colour=FAINT)])


def _text(
    x: float, y: float, words: str, *, anchor: str = "start", colour: str = INK, size: int = 13, bold: bool = False
) -> str:
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}"{weight}>'
        f"{escape(words)}</text>"
    )


def _svg(height: float, title: str, parts: list[str], width: int = WIDTH) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height:.0f}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )
