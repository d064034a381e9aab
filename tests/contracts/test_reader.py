"""What is no contract is refused, with its place in the file, the reason and a cure (X11, X12)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts import Contract, load_all, read_yaml
from pipelines.contracts.predicate import checked
from pipelines.errors import ContractBroken
from pipelines.settings import Settings

GOOD = (Settings().schemas / "feeds" / "platform_order.odcs.yaml").read_text(encoding="utf-8")
Change = Callable[[str], str]


def swap(old: str, new: str) -> Change:
    assert old in GOOD, old
    return lambda text: text.replace(old, new, 1)


def load(folder: Path, text: str, feed: str = "platform_order") -> Contract:
    path = folder / f"{feed}.odcs.yaml"
    path.write_text(text, encoding="utf-8")
    return Contract.load(path)


def test_the_file_itself_loads(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD).feed == "platform_order"


RULE = "status <> 'completed' OR completed_at IS NOT NULL"


@pytest.mark.parametrize(
    ("change", "where", "why"),
    [
        (swap("required: true", "reqired: true"), "platform_code", "unknown key 'reqired'"),
        (swap("property: history", "property: hystory"), "customProperties", "unknown property 'hystory'"),
        (swap("logicalType: integer", "logicalType: decimal"), "task_count.logicalType", "not one of"),
        (swap("name: segment_no", "name: sector"), "sector", "stands twice"),
        (swap("name: segment_no", "name: known_on"), "known_on", "the hub's own"),
        (swap("name: segment_no", 'name: "a; drop"'), "a; drop.name", "a name is"),
        (swap("primaryKeyPosition: 2", "primaryKeyPosition: 7"), "properties", "does not count"),
        (swap("value: customer_paid_fen", "value: tips_fen"), "money_field", "no bigint field"),
        (swap("issuer, value: platform_code", "issuer, value: nobody"), "order_id.issuer", "not a plain field"),
        (swap("identifier, value: record", "identifier, value: secret"), "order_id.identifier", "not one of"),
        (swap("id: O-002", "id: O-001"), "O-001", "stands twice"),
        (swap("id: O-002", "id: sooner"), "quality.sooner", "letters and three digits"),
        (swap("An order cannot end before it begins.", "TODO describe this rule."), "O-001.desc", "no sentence"),
        (swap("When the customer placed the order.", "tbd"), "created_at.description", "no sentence"),
        (swap(" NULL while nobody has.", ""), "accepted_at.description", "what NULL means"),
        (swap("severity: warn", "severity: fatal"), "O-005.severity", "not one of"),
        (swap("apiVersion: v3.1.0", "apiVersion: v2.2.2"), "apiVersion", "not one of"),
        (swap("min_rows_nightly, value: 1", "min_rows_nightly, value: one"), "min_rows_nightly", "whole number"),
        (swap("pattern: '\\d{6}'", "pattern: '(\\d{6}'"), "region_code.pattern", "not a regular expression"),
        (swap(RULE, "created_at <= (SELECT max(a) FROM b)"), "O-004.implementation", "not allowed"),
        (swap(RULE, "read_text('/etc/passwd') = 'x'"), "O-004.implementation", "not allowed"),
        (swap(RULE, "created_at <= finished_at"), "O-004.implementation", "not a column"),
        (swap(RULE, "created_at"), "O-004.implementation", "does not answer yes or no"),
        (swap(RULE, "created_at <= completed_at; DROP TABLE x"), "O-004.implementation", "not one expression"),
        (swap("id: platform_order", "id: platform_orders"), "id", "not named after its feed"),
        (swap("name: updated_at", "name: changed_at"), "updated_at", "every feed has updated_at"),
    ],
)
def test_a_flaw_is_named_with_its_place(tmp_path: Path, change: Change, where: str, why: str) -> None:
    with pytest.raises(ContractBroken) as caught:
        load(tmp_path, change(GOOD))
    assert "platform_order.odcs.yaml" in caught.value.where
    assert where in caught.value.where
    assert why in caught.value.why
    assert caught.value.do


LAUGHS = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("a: !!python/object/apply:os.system ['touch {0}']\n", "tags are refused", id="object"),
        pytest.param("a: !!binary aGVsbG8=\n", "tags are refused", id="tag"),
        pytest.param(LAUGHS, "anchors and aliases are refused", id="bomb"),
        pytest.param("a: {b: &x 1, <<: *x}\n", "anchors and aliases are refused", id="merge"),
        pytest.param("a: 1\na: 2\n", "stands twice", id="duplicate"),
        pytest.param("x: {a: 1, b: 2, a: 3}\n", "stands twice", id="duplicate inside"),
        pytest.param("1: a\n", "not text", id="number as a key"),
        pytest.param("on: a\n", "not text", id="yes/no as a key"),
        pytest.param("? [a]\n: b\n", "not text", id="list as a key"),
        pytest.param("a: 1\n---\nb: 2\n", "a second document", id="two documents"),
        pytest.param("a: " + "[" * 40 + "]" * 40 + "\n", "nested deeper", id="deep"),
        pytest.param("a: " + "[" * 5_000, "", id="very deep"),
        pytest.param("a: [b\n", "", id="torn"),
        pytest.param("a: " + "x" * (1 << 20), "over", id="long"),
        pytest.param("- a\n", "not key: value", id="list"),
        pytest.param("", "not key: value", id="empty"),
        pytest.param("a: 2026-02-30\n", "", id="a date that is none"),
    ],
)
def test_X12_yaml_is_plain_data(tmp_path: Path, text: str, why: str) -> None:
    path, mark = tmp_path / "a.yaml", tmp_path / "touched"
    path.write_text(text.replace("{0}", str(mark)), encoding="utf-8")
    with pytest.raises(ContractBroken) as caught:
        read_yaml(path)
    assert why in caught.value.why
    assert not mark.exists()


def test_X12_only_a_regular_utf8_file_is_read(tmp_path: Path) -> None:
    latin = tmp_path / "a.yaml"
    latin.write_bytes("a: é".encode("latin-1"))
    for path in (latin, tmp_path, tmp_path / "missing.yaml", Path("/dev/zero")):
        with pytest.raises(ContractBroken):
            read_yaml(path)


def folder_with(tmp_path: Path, **texts: str) -> Settings:
    (tmp_path / "feeds").mkdir()
    for feed, text in texts.items():
        (tmp_path / "feeds" / f"{feed}.odcs.yaml").write_text(text, encoding="utf-8")
    return Settings(schemas=tmp_path)


def test_contracts_are_checked_against_one_another(tmp_path: Path) -> None:
    line = (Settings().schemas / "feeds" / "platform_earning_line.odcs.yaml").read_text(encoding="utf-8")
    own, other = "platform_earning_line.line_id", "platform_earning_line.order_id"
    flaws = [
        (f"references, value: {own}", "references, value: bank_txn.txn_id", "does not exist"),
        (f"references, value: {own}", f"references, value: {other}", "tokens never meet"),
        ("id: E-001", "id: O-001", "has a rule of that id"),
    ]
    for n, (old, new, why) in enumerate(flaws):
        home = tmp_path / str(n)
        home.mkdir()
        settings = folder_with(home, platform_earning_line=line.replace(old, new), platform_order=GOOD)
        with pytest.raises(ContractBroken) as caught:
            load_all(settings)
        assert why in caught.value.why


def test_no_contract_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ContractBroken):
        load_all(folder_with(tmp_path))


COLUMNS = ("a", "b", "status")


@pytest.mark.parametrize(
    ("sql", "printed"),
    [
        ("a <= b -- and a comment", '"a" <= "b"'),
        ("a<=b/* hidden */and not b is null", '"a" <= "b" AND NOT "b" IS NULL'),
        ("status in ('x', 'it''s')", "\"status\" IN ('x', 'it''s')"),
        ("ABS(a - b) <= 1", 'ABS("a" - "b") <= 1'),
        ("(a * b + 5) // 10 = b", '("a" * "b" + 5) // 10 = "b"'),
        ("a <= $window_end", '"a" <= $window_end'),
    ],
)
def test_a_rule_is_printed_anew(sql: str, printed: str) -> None:
    assert checked(sql, COLUMNS) == printed


HARMFUL = """
exists(select 1)|a in (select 1)|(select 1) = 1|a = (table b)|glob('/*') = a|now() = a|current_date = a
getenv('HOME') = a|getvariable('x') = a|t.a = 1|a.b.c = 1|a[1] = 1|* = 1|COLUMNS('a') = 1|a = $other|a = ?
a::INTEGER = 1|try_cast(a as bigint) = 1|a collate nocase = 'x'|a = 1 union select 1|a = [1]|a = {'x': 1}
'A' = A|random() > 0|a = 'x' AS b|nextval('s') = 1|list_filter([a], lambda x: x) = a|a like '%'
regexp_full_match(a, '(a+)+')|pg_sleep(9) is null|a = 1; b = 1|read_text('/etc/passwd') = a|'
"""
TOO_MUCH = [
    "(" * 900 + "a = 1" + ")" * 900, "a = 1 " + "and a = 1 " * 190, "not " * 480 + "a = 1",
    "a = '" + "x" * 3_000 + "'", "", "  ", "\x00",
]  # fmt: skip


@pytest.mark.parametrize("sql", [*HARMFUL.strip().replace("\n", "|").split("|"), *TOO_MUCH])
def test_X11_a_rule_is_one_harmless_expression(sql: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        checked(sql, COLUMNS)


@given(st.text(alphabet="ab=<>()'\"; ,.*-/$[]{}selctfromread_xANDOR1", max_size=40))
def test_X11_a_printed_rule_is_a_fixed_point(sql: str) -> None:
    try:
        printed = checked(sql, COLUMNS)
    except ValueError:
        return
    assert checked(printed, COLUMNS) == printed
