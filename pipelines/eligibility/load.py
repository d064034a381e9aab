"""Read schemas/products into products, strictly.

Promises: what a file says is what decides; a parameter that is named must have a value on the date asked for.
Refuses:  whatever is not understood to the last key (ContractBroken); two versions of a product on one date.
Not here: the meaning of a cell (cell.py); checks over all rows for gaps.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.contracts import read_yaml
from pipelines.eligibility import cell as cells
from pipelines.eligibility.cell import Cell, Result
from pipelines.eligibility.product import (
    CONTEXT,
    GATE,
    Column,
    Condition,
    Declaration,
    GateCell,
    Limit,
    Product,
    ReasonText,
    Row,
    RowLimit,
)
from pipelines.eligibility.reader import Reader
from pipelines.errors import ContractBroken
from pipelines.settings import Settings

SOURCES = ("platform", "bank", "social_insurance")
EVENTS = ("", "IDENTITY", "CONSENT")
BAD = ("REVIEW", "INSUFFICIENT_DATA", "INELIGIBLE")
FEN = 100  # a yuan
# Never an input: protected attributes (DOMAIN D2), and what only names or dates a row. Age has a place of its own
# (`ages`, with its ground).
FORBIDDEN = frozenset({"gender", "birth_date", "region", "person_id", "as_of", "known_at", "feature_version"})
_REASON = re.compile(r"R\d{3}")
_PARAMETER = re.compile(r"\$([a-z_]+)\.([a-z_]+)")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,40}")


def products_on(settings: Settings, on: date) -> dict[str, Product]:
    """Every product whose version is in effect on a date. Raises ContractBroken."""
    found: dict[str, Product] = {}
    for path in sorted((settings.schemas / "products").glob("*.yaml")):
        if path.stem == "gate":
            continue
        product = load_product(path, settings=settings, on=on)
        if on < product.effective_from or (product.effective_to and on > product.effective_to):
            continue
        if product.id in found:
            raise ContractBroken(
                f"two versions of product {product.id} are in effect on {on}",
                where=path.name,
                why="on each date one version decides",
                do="end the older one with effective_to",
            )
        found[product.id] = product
    return found


def load_product(path: Path, *, settings: Settings, on: date) -> Product:
    """One product file, with the gate beside it. Raises ContractBroken."""
    document = read_yaml(path)
    gate = read_yaml(path.with_name("gate.yaml"))
    parameters = _parameters(settings.schemas / "reference" / "parameters.csv", on)
    return _Builder(document, gate, file=path.name, types=feature_types(settings), parameters=parameters).product()


def feature_types(settings: Settings) -> dict[str, str]:
    """Name -> type of everything that a cell may ask for."""
    document = read_yaml(settings.schemas / "marts" / "features.odcs.yaml")
    try:
        columns = document["schema"][0]["properties"]
        return {column["name"]: column["physicalType"] for column in columns} | CONTEXT
    except (KeyError, IndexError, TypeError):
        raise ContractBroken("features.odcs.yaml does not describe the features mart") from None


def _parameters(path: Path, on: date) -> dict[str, str]:
    """`parameter.key` -> value in effect on the date."""
    found: dict[str, str] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if date.fromisoformat(row["valid_from"]) <= on and (
                not row["valid_to"] or on <= date.fromisoformat(row["valid_to"])
            ):
                found[f"{row['parameter']}.{row['key']}"] = row["value"]
    return found


class _Builder:
    """One product from its document and the gate's."""

    def __init__(
        self, document: dict[str, Any], gate: dict[str, Any], *, file: str, types: Mapping[str, str],
        parameters: Mapping[str, str],
    ) -> None:  # fmt: skip
        self._doc = Reader(document, file=file)
        self._gate_doc = Reader(gate, file="gate.yaml")
        self._types = types
        self._parameters = parameters
        self._used: dict[str, str] = {}
        self._said = {"product": _plain(document), "gate": _plain(gate), "parameters": self._used}

    def product(self) -> Product:
        doc = self._doc
        sources = doc.words("sources")
        if not set(sources) <= set(SOURCES):
            doc.broken("sources", "are of " + ", ".join(SOURCES))
        gate = self._gate(doc.inner("ages"), sources)
        appeal_zh, appeal_en = self._gate_doc.text("appeal_zh"), self._gate_doc.text("appeal_en")
        reasons = self._reasons(self._gate_doc.inner("reasons")) | self._reasons(doc.inner("reasons"))
        self._gate_doc.close()
        table = doc.inner("table")
        hit_policy = table.one_of("hit_policy", ("PRIORITY", "UNIQUE"))
        columns = self._columns(table.inner("columns"))
        rows = self._rows(table.inner("rows"), columns, hit_policy)
        table.close()
        terms = doc.inner("terms")
        made = Product(
            id=doc.text("id"),
            version=doc.text("version"),
            title_zh=doc.text("title_zh"),
            title_en=doc.text("title_en"),
            kind=doc.one_of("kind", ("credit", "insurance")),
            effective_from=doc.day("effective_from"),
            effective_to=doc.day_or_none("effective_to"),
            sources=sources,
            gate=gate,
            hit_policy=hit_policy,
            columns=columns,
            rows=rows,
            limit=self._limit(doc, columns, rows),
            declaration=self._declaration(doc),
            grades=self._grades(doc.inner("grades")),
            conditions=self._conditions(doc.inner("conditions")),
            valid_days=terms.whole("valid_days", low=1),
            pending_days=terms.whole("pending_days"),
            sweep_bp=terms.whole("sweep_bp", default=0) or None,
            reasons=reasons,
            appeal_zh=appeal_zh,
            appeal_en=appeal_en,
            said=self._said,
        )
        terms.close()
        doc.close()
        self._check_reasons(made)
        return made

    def _cell(
        self, reader: Reader, key: str, feature: str, text: Any, absent: Result = Result.UNKNOWN
    ) -> Cell | None:
        if not isinstance(text, str):
            reader.broken(key, 'is a test in quotes, such as ">= 12"')
        if feature not in self._types:
            reader.broken(key, f"no feature is called {feature}; schemas/marts/features.odcs.yaml lists them")
        if feature in FORBIDDEN or (feature == "age_years" and reader.file != self._gate_doc.file):
            reader.broken(key, f"{feature} may not decide; an age range belongs to `ages`, with its ground")
        try:
            return cells.parse(
                self._filled(text, reader, key), feature=feature, feature_type=self._types[feature], absent=absent
            )
        except ValueError as error:
            reader.broken(key, str(error))

    def _filled(self, text: str, reader: Reader, key: str) -> str:
        def value(match: re.Match[str]) -> str:
            name = f"{match[1]}.{match[2]}"
            if name not in self._parameters:
                reader.broken(key, f"no dated parameter {name} is in effect; see schemas/reference/parameters.csv")
            self._used[name] = self._parameters[name]
            return self._parameters[name]

        return _PARAMETER.sub(value, text)

    def _asked(self, reader: Reader, key: str, feature: str, text: Any, absent: Result = Result.UNKNOWN) -> Cell:
        cell = self._cell(reader, key, feature, text, absent)
        if cell is None:
            reader.broken(key, "asks nothing")
        return cell

    def _gate(self, ages: Reader, sources: tuple[str, ...]) -> tuple[GateCell, ...]:
        age_test, age_reason = ages.text("test"), self._reason(ages, "reason")
        ages.text("ground")  # an age range needs a legal or actuarial ground (DOMAIN C0)
        ages.close()
        if self._gate_doc.text("id") != GATE:
            self._gate_doc.broken("id", f"is {GATE}")
        self._gate_doc.text("version")
        self._gate_doc.one_of("hit_policy", ("COLLECT",))
        found, listed = [], self._gate_doc.inner("cells")
        for name in listed.names():
            said = listed.inner(name)
            absent = Result.PASS if said.one_of("absence", ("", "PASS"), "") == "PASS" else Result.UNKNOWN
            feature, test, reason = said.text("feature"), said.text("test"), said.text("reason")
            source = said.one_of("source", ("", *SOURCES), "")
            test, reason = (age_test if test == "$ages" else test), (age_reason if reason == "$ages" else reason)
            made = GateCell(
                name,
                self._asked(said, "test", feature, test, absent),
                reason,
                said.one_of("on_fail", BAD),
                said.one_of("event", EVENTS, ""),
            )
            said.close()
            if not source or source in sources:
                found.append(made)
        listed.close()
        return tuple(found)

    def _reason(self, reader: Reader, key: str) -> str:
        code = reader.text(key)
        if not _REASON.fullmatch(code):
            reader.broken(key, "is a reason code such as R201")
        return code

    def _columns(self, said: Reader) -> tuple[Column, ...]:
        found = []
        for feature in said.names():
            column = said.inner(feature)
            found.append(
                Column(
                    feature, self._reason(column, "reason"), column.one_of("role", ("test", "selector"), "test")
                )
            )
            column.close()
        return tuple(found)

    def _rows(self, said: Reader, columns: tuple[Column, ...], hit_policy: str) -> tuple[Row, ...]:
        rows = []
        for name in said.names():
            texts = said.take(name)
            if not _NAME.fullmatch(name):
                said.broken(name, "is no name for a row")
            if not isinstance(texts, list) or len(texts) != len(columns):
                said.broken(name, f"has one cell per column, that is {len(columns)}")
            row = tuple(
                self._cell(said, name, column.feature, text) for column, text in zip(columns, texts, strict=True)
            )
            if not any(row):
                said.broken(name, "asks nothing, so everybody would pass")
            rows.append(Row(name, row))
        if not rows:
            said.broken("", "has at least one row")
        if hit_policy == "UNIQUE":
            _refuse_overlap(rows, said)
        return tuple(rows)

    def _limit(self, doc: Reader, columns: tuple[Column, ...], rows: tuple[Row, ...]) -> Limit | None:
        if doc.take("limit", None) is None:
            return None
        said = Reader(self._said["product"]["limit"], file=doc.file, at="limit")
        burden = said.text("burden")
        at = [column.feature for column in columns].index(burden) if burden in {c.feature for c in columns} else -1
        if at < 0:
            said.broken("burden", "is a column of the table")
        listed, limits = said.inner("rows"), {}
        for row in rows:
            one = listed.inner(row.name)
            cell = row.cells[at]
            if cell is None or cell.high is None:
                one.broken("", f"the row needs an upper bound on {burden}, which is its ceiling")
            cap = one.take("cap_yuan", None)
            if cap is not None and (type(cap) is not int or cap < 1):
                one.broken("cap_yuan", "is a whole number of yuan")
            limits[row.name] = RowLimit(
                int(one.number("multiple") * 10_000), int(cell.high * 10_000), None if cap is None else cap * FEN
            )
            one.close()
        listed.close()
        made = Limit(
            income=self._money(said, "income"),
            burden_income=self._money(said, "burden_income"),
            dues=self._money(said, "dues"),
            rows=limits,
            cap_fen=said.whole("cap_yuan", low=1) * FEN,
            step_fen=said.whole("step_yuan", low=1) * FEN,
            minimum_fen=said.whole("minimum_yuan", low=1) * FEN,
            repay_months=said.whole("repay_months", low=1),
            annual_rate_bp=said.whole("annual_rate_bp"),
            reason=self._reason(said, "reason"),
        )
        said.close()
        return made

    def _money(self, said: Reader, key: str) -> str:
        feature = said.text(key)
        if self._types.get(feature) != "bigint" or not feature.endswith("_fen"):
            said.broken(key, "is a feature in fen")
        return feature

    def _declaration(self, doc: Reader) -> Declaration | None:
        if doc.take("declaration", None) is None:
            return None
        said = Reader(self._said["product"]["declaration"], file=doc.file, at="declaration")
        variant, sums = said.inner("variant"), said.inner("sum_insured_yuan")
        when_true, when_false = variant.text("when_true"), variant.text("when_false")
        made = Declaration(
            orders=self._typed(said, "orders", ("bigint", "integer")),
            reason=self._reason(said, "reason"),
            cover_from_minutes=said.whole("cover_from_minutes"),
            cover_to_minutes=said.whole("cover_to_minutes", low=1),
            premium_milli_yuan=said.whole("premium_milli_yuan"),
            variant_feature=self._typed(variant, "feature", ("boolean",)),
            variant_true=when_true,
            variant_false=when_false,
            sum_insured_fen={name: sums.whole(name, low=1) * FEN for name in (when_true, when_false)},
            vehicle=self._typed(said, "vehicle", ("text",)),
        )
        for part in (variant, sums, said):
            part.close()
        return made

    def _typed(self, said: Reader, key: str, allowed: tuple[str, ...]) -> str:
        feature = said.text(key)
        if self._types.get(feature) not in allowed:
            said.broken(key, "is a feature of type " + " or ".join(allowed))
        return feature

    def _grades(self, said: Reader) -> tuple[tuple[str, tuple[Cell, ...]], ...]:
        found = tuple((grade, self._tests(said.inner(grade))) for grade in said.names())
        if not found or found[-1][1]:
            said.broken("", "end with a grade that asks nothing, for everybody else")
        return found

    def _tests(self, said: Reader) -> tuple[Cell, ...]:
        """Tests by feature; as a mapping {test, absence: PASS} where absence proves nothing."""
        tests = []
        for name in said.names():
            value, absent = said.take(name), Result.UNKNOWN
            if isinstance(value, dict):
                one = Reader(value, file=said.file, at=f"{said.at}.{name}")
                value, absent = one.text("test"), Result(one.one_of("absence", ("PASS",)))
                one.close()
            tests.append(self._asked(said, name, name, value, absent))
        said.close()
        return tuple(tests)

    def _conditions(self, said: Reader) -> tuple[Condition, ...]:
        found = []
        for code in said.names():
            one = said.inner(code)
            found.append(
                Condition(
                    code,
                    self._tests(one.inner("when")),
                    one.one_of("unknown", ("APPLIES", "IGNORED")) == "APPLIES",
                    one.text("zh"),
                    one.text("en"),
                )
            )
            one.close()
        return tuple(found)

    def _reasons(self, said: Reader) -> dict[str, ReasonText]:
        found = {}
        for code in said.names():
            one = said.inner(code)
            words = {key: one.text(key) for key in ReasonText.__slots__ if key != "code"}
            one.close()
            found[code] = ReasonText(code=code, **words)
        return found

    def _check_reasons(self, made: Product) -> None:
        used = {gate.reason for gate in made.gate} | {column.reason for column in made.columns}
        used |= {made.limit.reason} if made.limit else set()
        used |= {made.declaration.reason} if made.declaration else set()
        wordless = used - made.reasons.keys()
        if wordless:
            self._doc.broken("reasons", "no words for " + ", ".join(sorted(wordless)))


def _refuse_overlap(rows: list[Row], said: Reader) -> None:
    """UNIQUE is a claim: it is proven here, pair by pair, or the file does not load."""
    for index, first in enumerate(rows):
        for second in rows[index + 1 :]:
            pairs = zip(first.cells, second.cells, strict=True)
            if not any(mine and theirs and mine.excludes(theirs) for mine, theirs in pairs):
                said.broken(
                    f"{first.name}, {second.name}", "may both pass: a UNIQUE table needs a column that parts them"
                )


def _plain(document: Any) -> Any:
    """As JSON has it, so that it can be hashed: dates as text, decimals as written."""
    if isinstance(document, dict):
        return {str(key): _plain(value) for key, value in document.items()}
    if isinstance(document, list):
        return [_plain(value) for value in document]
    return document.isoformat() if isinstance(document, date) else document
