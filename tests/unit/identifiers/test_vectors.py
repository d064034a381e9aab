"""The published vectors hold, for the plain functions and for whole columns."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines import identifiers

VECTORS = json.loads((Path(__file__).parents[2] / "contracts/vectors/identifiers.json").read_text("utf-8"))
TONIGHT = date.fromisoformat(VECTORS["business_date"])
KINDS = ["citizen_id", "mobile", "bank_account", "plate", "uscc", "name"]


def extra(kind: str) -> tuple[Any, ...]:
    return (TONIGHT,) if kind == "citizen_id" else ()


@pytest.mark.parametrize("kind", KINDS)
def test_the_plain_function_gives_the_published_answer(kind: str) -> None:
    judge = getattr(identifiers, kind).canonical
    for vector in VECTORS[kind]:
        judged = judge(vector["in"], *extra(kind))
        for field in set(vector) - {"in"}:
            got = getattr(judged, field)
            assert (got.isoformat() if isinstance(got, date) else got) == vector[field], vector["in"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_column_gives_the_published_answer_and_keeps_null(kind: str) -> None:
    texts = [None] + [vector["in"] for vector in VECTORS[kind]]
    rows = getattr(identifiers, kind).canonical_column(pa.array(texts, pa.string()), *extra(kind)).to_pylist()
    assert set(rows[0].values()) == {None}
    for vector, row in zip(VECTORS[kind], rows[1:], strict=True):
        shown = {key: value.isoformat() if isinstance(value, date) else value for key, value in row.items()}
        assert shown == {key: value for key, value in vector.items() if key != "in"}
