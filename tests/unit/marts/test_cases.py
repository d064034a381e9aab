"""Every file of cases/ is a case: what landed, drawn; what the marts must say; and why, with the sum."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from .drawn import Drawing, rows_of

CASES = sorted(Path(__file__).with_name("cases").glob("*.yaml"))


@pytest.mark.parametrize("path", CASES, ids=[path.stem for path in CASES])
def test_case(path: Path) -> None:
    case = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert case["why"].strip(), "a case says why"
    world = Drawing(case["as_of"] - timedelta(days=1))
    for feed, table in case["given"].items():
        world.land(feed, table)
    world.derive(case["as_of"], history_from=case.get("history_from"))
    for mart, table in case["expect"].items():
        expected = rows_of(table)
        columns = list(expected[0])
        read = [
            column.removesuffix("_yuan") + "_fen" if column.endswith("_yuan") else column for column in columns
        ]
        found = [dict(zip(columns, row.values(), strict=True)) for row in world.rows(mart, read)]
        asked = {row["person"] for row in expected} if "person" in columns else None
        shown = [{key: said(key, value) for key, value in row.items()} for row in found]
        shown = [row for row in shown if asked is None or row["person"] in asked]
        assert sorted(shown, key=str) == sorted(expected, key=str), case["why"]


def said(column: str, value: Any) -> str:
    """A value as it is drawn: NULL, yes/no, yuan without trailing zeros, plain dates."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if column.endswith("_yuan"):
        return f"{(Decimal(value) / 100).normalize():f}"
    if isinstance(value, float):
        return f"{Decimal(repr(value)).normalize():f}"
    return value.isoformat() if isinstance(value, date) else str(value)
