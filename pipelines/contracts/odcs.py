"""Build a Contract from an Open Data Contract Standard 3.1 file.

Promises: a contract that loads is complete: every field and rule has its sentence, every name refers to something.
Refuses:  unknown keys and properties (a typo never passes in silence), duplicate names, unknown types, keys and
          references that lead nowhere, placeholder texts, rules that predicate.py refuses (ContractBroken).
Not here: the published JSON schema, which a test holds every file against.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pipelines.contracts.model import Contract, Field, Rule, SourceSpec
from pipelines.contracts.predicate import checked
from pipelines.contracts.shapes import SYSTEM_COLUMNS, landed_names, rule_columns
from pipelines.contracts.yaml_file import read_yaml
from pipelines.errors import ContractBroken

if TYPE_CHECKING:
    from pipelines.settings import Settings

SUFFIX = ".odcs.yaml"
NAME = re.compile(r"[a-z][a-z0-9_]{0,60}")
RULE_ID = re.compile(r"[A-Z]{1,3}-\d{3}")
PLACEHOLDER = re.compile(r"\b(todo|tbd|fixme|xxx|lorem|placeholder|description|n/a)\b|\?\?|^\W*$", re.IGNORECASE)
IDENTIFIERS = ("citizen_id", "mobile", "bank_account", "plate", "name", "account", "record", "free")
NAMESPACED = ("account", "record", "free")
SEVERITIES = ("reject", "warn", "hold")
KINDS = {"http_api": ("ndjson",), "sql_database": ("arrow",), "sftp_drop": ("delimited",)}

_TOP = {"apiVersion", "kind", "id", "name", "version", "status", "domain", "description", "customProperties",
        "schema", "tags"}  # fmt: skip
_TOP_PROPERTIES = {"connection", "source_kind", "source_path", "format", "encoding", "history", "source_id",
                   "money_field", "min_rows_nightly", "max_rejected_share", "max_age_days",
                   "min_usual_share", "max_usual_share"}  # fmt: skip
_TABLE = {"name", "logicalType", "physicalType", "description", "properties", "quality"}
_FIELD = {"name", "businessName", "description", "logicalType", "logicalTypeOptions", "items", "primaryKey",
          "primaryKeyPosition", "required", "classification", "customProperties"}  # fmt: skip
_FIELD_PROPERTIES = {"identifier", "namespace", "issuer", "sealed_to", "references", "scrub", "empty_is_value",
                     "unit", "enum"}  # fmt: skip
_OPTIONS = {"string": {"pattern", "maxLength"}, "integer": {"format", "minimum", "maximum"}}
_RULE = {"id", "type", "engine", "severity", "implementation", "description"}


class _Place:
    """Where in the file we are, so that every refusal can say it."""

    def __init__(self, file: str, path: str = "") -> None:
        self.file, self.path = file, path

    def __truediv__(self, step: str) -> _Place:
        return _Place(self.file, f"{self.path}.{step}" if self.path else step)

    def refuse(self, why: str, do: str = "") -> NoReturn:
        raise ContractBroken(
            f"{self.file} is not a contract",
            where=f"{self.file}: {self.path}" if self.path else self.file,
            why=why,
            do=do or "correct the file; its neighbours in schemas/feeds show the form",
        )

    def mapping(self, value: Any, known: set[str], needed: set[str] | None = None) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.refuse("a mapping is expected here")
        for key in value:
            if key not in known:
                self.refuse(f"unknown key {key[:60]!r}", "known here: " + ", ".join(sorted(known)))
        for key in sorted(needed or ()):
            if key not in value:
                self.refuse(f"{key} is missing")
        result: dict[str, Any] = value
        return result

    def text(self, value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            self.refuse("a text is expected here", "quote it if it looks like a number or yes/no")
        return value

    def name(self, value: Any) -> str:
        text = self.text(value)
        if not NAME.fullmatch(text):
            self.refuse("a name is lower-case letters, digits and underscores")
        return text

    def one_of(self, value: Any, allowed: tuple[str, ...]) -> str:
        if not isinstance(value, str) or value not in allowed:
            self.refuse("not one of the allowed values", "one of: " + ", ".join(allowed))
        return value

    def whole(self, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            self.refuse("a whole number is expected here")
        return value

    def share(self, value: Any, most: int) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            self.refuse(f"a number between 0 and {most} is expected here")
        return float(value)

    def flag(self, value: Any) -> bool:
        if not isinstance(value, bool):
            self.refuse("true or false is expected here")
        return value

    def sentence(self, value: Any) -> str:
        text = self.text(value).strip()
        if PLACEHOLDER.search(text) or len(text) < 12 or not text.endswith("."):
            self.refuse(
                "this is no sentence that tells a reader anything", "say what it means, and end with a full stop"
            )
        return text

    def properties(self, value: Any, known: set[str]) -> dict[str, Any]:
        """ODCS's list of {property, value} as a mapping."""
        found: dict[str, Any] = {}
        if not isinstance(value, list):
            self.refuse("customProperties is a list of {property, value}")
        for item in value:
            pair = self.mapping(item, {"property", "value"}, {"property", "value"})
            key = self.text(pair["property"])
            if key not in known:
                self.refuse(f"unknown property {key[:60]!r}", "known here: " + ", ".join(sorted(known)))
            if key in found:
                self.refuse(f"property {key} stands twice")
            found[key] = pair["value"]
        return found


def load(path: Path) -> Contract:
    """The contract in one file. Raises ContractBroken."""
    here = _Place(path.name)
    document = here.mapping(read_yaml(path), _TOP, _TOP - {"tags"})
    (here / "apiVersion").one_of(document["apiVersion"], ("v3.1.0",))
    (here / "kind").one_of(document["kind"], ("DataContract",))
    (here / "status").one_of(document["status"], ("active", "draft", "deprecated"))
    feed = (here / "id").name(document["id"])
    if path.name != feed + SUFFIX:
        (here / "id").refuse("the file is not named after its feed", f"name it {feed}{SUFFIX}")
    about = (here / "description").mapping(
        document["description"], {"purpose", "usage", "limitations"}, {"purpose", "usage", "limitations"}
    )
    extra = (here / "customProperties").properties(document["customProperties"], _TOP_PROPERTIES)
    tables = document["schema"]
    if not isinstance(tables, list) or len(tables) != 1:
        (here / "schema").refuse("one table is expected")
    at = here / "schema" / feed
    table = at.mapping(tables[0], _TABLE, _TABLE)
    if table["name"] != feed or table["logicalType"] != "object":
        at.refuse("the table is not the feed's own object", f"name: {feed}, logicalType: object")
    fields, key = _fields(at, table["properties"])
    return Contract(
        feed=feed,
        version=(here / "version").text(document["version"]),
        title=(here / "name").text(document["name"]),
        grain=(at / "description").sentence(table["description"]),
        purpose=(here / "description.purpose").sentence(about["purpose"]),
        usage=(here / "description.usage").sentence(about["usage"]),
        limitations=(here / "description.limitations").sentence(about["limitations"]),
        fields=fields,
        key=key,
        rules=_rules(at, table["quality"], fields),
        source=_source(here / "customProperties", extra),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        **_limits(here / "customProperties", extra, fields),
    )


def load_all(settings: Settings) -> dict[str, Contract]:
    """Every contract in schemas/feeds by feed, in the order of their names. Raises ContractBroken."""
    folder = settings.schemas / "feeds"
    contracts = {c.feed: c for c in (load(path) for path in sorted(folder.glob("*" + SUFFIX)))}
    if not contracts:
        raise ContractBroken("no contracts", where=str(folder), why=f"no file ends in {SUFFIX}")
    owner: dict[str, str] = {}
    for contract in contracts.values():
        here = _Place(contract.feed + SUFFIX)
        for rule in contract.rules:
            if rule.id in owner:
                (here / rule.id).refuse(
                    f"{owner[rule.id]} has a rule of that id", "rule ids are unique over all feeds"
                )
            owner[rule.id] = contract.feed
        for field in contract.reference_fields:
            _check_reference(here / field.name, field, contracts)
    return contracts


def _check_reference(here: _Place, field: Field, contracts: dict[str, Contract]) -> None:
    feed, _, name = str(field.references).partition(".")
    target = contracts[feed].by_name.get(name) if feed in contracts else None
    if target is None:
        here.refuse("it references a field that does not exist", "references: <feed>.<field>")
    same = (target.identifier, target.namespace, target.issuer) == (
        field.identifier,
        field.namespace,
        field.issuer,
    )
    if not same:
        here.refuse(
            "it and what it references are not the same kind of number, so their tokens never meet",
            "same identifier, namespace and issuer on both",
        )


def _source(here: _Place, extra: dict[str, Any]) -> SourceSpec:
    for key in ("connection", "source_kind", "source_path", "format", "encoding", "history", "source_id"):
        if key not in extra:
            here.refuse(f"{key} is missing")
    kind = (here / "source_kind").one_of(extra["source_kind"], tuple(KINDS))
    return SourceSpec(
        connection=(here / "connection").name(extra["connection"]),
        kind=kind,
        path=(here / "source_path").text(extra["source_path"]),
        format=(here / "format").one_of(extra["format"], KINDS[kind]),
        encoding=(here / "encoding").one_of(extra["encoding"], ("utf-8", "gb18030")),
        history=(here / "history").one_of(extra["history"], ("versions", "current_only")),
        source_id=(here / "source_id").name(extra["source_id"]),
    )


def _limits(here: _Place, extra: dict[str, Any], fields: tuple[Field, ...]) -> dict[str, Any]:
    """What the gate holds a batch to, and the field whose sum is conserved."""
    money = extra.get("money_field")
    if money is not None and not any(f.name == money and f.type == "bigint" for f in fields):
        (here / "money_field").refuse("it names no bigint field of this contract")
    least = (here / "min_rows_nightly").whole(extra.get("min_rows_nightly", 0))
    age = extra.get("max_age_days")
    if least < 0 or (age is not None and (here / "max_age_days").whole(age) < 1):
        here.refuse("min_rows_nightly is 0 or more, max_age_days 1 or more")
    return {
        "money_field": money,
        "max_rejected_share": (here / "max_rejected_share").share(extra.get("max_rejected_share", 0.05), 1),
        "min_usual_share": (here / "min_usual_share").share(extra.get("min_usual_share", 0.1), 1),
        "max_usual_share": (here / "max_usual_share").share(extra.get("max_usual_share", 5.0), 1_000),
        "min_rows_nightly": least,
        "max_age_days": age,
    }


def _fields(here: _Place, value: Any) -> tuple[tuple[Field, ...], tuple[str, ...]]:
    if not isinstance(value, list) or not value:
        (here / "properties").refuse("a list of fields is expected")
    fields: list[Field] = []
    positions: dict[int, str] = {}
    for item in value:
        raw_name = item.get("name") if isinstance(item, dict) else None
        at = here / str(raw_name)[:60]
        fields.append(_field(at, item))
        if "primaryKey" in item and (at / "primaryKey").flag(item["primaryKey"]):
            position = (at / "primaryKeyPosition").whole(item.get("primaryKeyPosition"))
            if position in positions or not fields[-1].required:
                at.refuse("a key field is required and has a position of its own")
            positions[position] = fields[-1].name
    names = [column for f in fields for column in landed_names(f)]
    for name in names:
        if names.count(name) > 1 or name in SYSTEM_COLUMNS:
            (here / name).refuse("this column stands twice, or is one of the hub's own", "choose another name")
    by_name = {f.name: f for f in fields}
    if sorted(positions) != list(range(1, len(positions) + 1)) or not positions:
        (here / "properties").refuse("primaryKeyPosition does not count 1, 2, 3 …")
    for name, kind in (("op", "string"), ("updated_at", "timestamp")):
        if name not in by_name or by_name[name].type != kind or not by_name[name].required:
            (here / name).refuse(f"every feed has {name}, a required {kind}")
    for f in fields:
        if f.issuer is not None and (f.issuer not in by_name or by_name[f.issuer].identifier is not None):
            (here / f.name / "issuer").refuse("the issuer is not a plain field of this contract")
    return tuple(fields), tuple(positions[i] for i in sorted(positions))


def _field(here: _Place, item: Any) -> Field:
    needed = {"name", "businessName", "description", "logicalType", "required", "classification"}
    raw = here.mapping(item, _FIELD, needed)
    extra = (here / "customProperties").properties(raw.get("customProperties", []), _FIELD_PROPERTIES)
    logical = (here / "logicalType").one_of(
        raw["logicalType"], ("string", "integer", "date", "timestamp", "boolean", "array")
    )
    options = (here / "logicalTypeOptions").mapping(
        raw.get("logicalTypeOptions", {}), _OPTIONS.get(logical, set())
    )
    required = (here / "required").flag(raw["required"])
    description = (here / "description").sentence(raw["description"])
    if not required and "NULL" not in description:
        (here / "description").refuse("it may be NULL, and the description does not say what NULL means")
    kind = _type(here, logical, raw, options)
    enum, labels = _enum(here / "enum", extra.get("enum"), kind)
    if kind in ("integer", "bigint", "date", "timestamp") and "unit" not in extra:
        here.refuse("a number or a time has a unit", "for instance {property: unit, value: fen}")
    return Field(
        name=(here / "name").name(raw["name"]),
        type=kind,
        required=required,
        label_zh=(here / "businessName").text(raw["businessName"]),
        description=description,
        cls=(here / "classification").one_of(raw["classification"], ("P0", "P1", "P2", "P3")),
        enum=enum,
        enum_labels=labels,
        pattern=_pattern(here / "pattern", options.get("pattern")),
        minimum=_optional_whole(here / "minimum", options.get("minimum")),
        maximum=_optional_whole(here / "maximum", options.get("maximum")),
        max_length=_optional_whole(here / "maxLength", options.get("maxLength")),
        scrub=(here / "scrub").flag(extra.get("scrub", False)),
        unit=(here / "unit").text(extra["unit"]) if "unit" in extra else None,
        empty_is_value=(here / "empty_is_value").flag(extra.get("empty_is_value", False)),
        **_secrecy(here, extra, kind, raw["classification"]),
    )


def _type(here: _Place, logical: str, raw: dict[str, Any], options: dict[str, Any]) -> str:
    if logical == "array":
        if raw.get("items") != {"logicalType": "string"}:
            (here / "items").refuse("the only lists are lists of texts", "items: {logicalType: string}")
        return "string[]"
    if "items" in raw:
        (here / "items").refuse("only an array has items")
    if logical == "integer":
        width = (here / "logicalTypeOptions.format").one_of(options.get("format"), ("i32", "i64"))
        return {"i32": "integer", "i64": "bigint"}[width]
    return logical


def _secrecy(here: _Place, extra: dict[str, Any], kind: str, cls: str) -> dict[str, Any]:
    """How the sealer treats the field; texts only."""
    identifier = extra.get("identifier")
    if identifier is not None:
        (here / "identifier").one_of(identifier, IDENTIFIERS)
    if identifier is not None and (kind != "string" or cls not in ("P2", "P3")):
        here.refuse("an identifier is a string of class P2 or P3")
    if (identifier in NAMESPACED) != ("namespace" in extra):
        (here / "namespace").refuse("account, record and free name their value space, the others have one already")
    if "issuer" in extra and identifier not in NAMESPACED:
        (here / "issuer").refuse("only account, record and free have an issuer")
    sealed = extra.get("sealed_to")
    if sealed is not None and (sealed != "release" or identifier is not None or kind != "string"):
        (here / "sealed_to").refuse("a text may be sealed to release, and is then no identifier")
    if "references" in extra and identifier not in NAMESPACED:
        (here / "references").refuse("only account, record and free numbers reference others")
    return {
        "identifier": identifier,
        "namespace": (here / "namespace").name(extra["namespace"]) if "namespace" in extra else None,
        "issuer": (here / "issuer").name(extra["issuer"]) if "issuer" in extra else None,
        "sealed_to": sealed,
        "references": (here / "references").text(extra["references"]) if "references" in extra else None,
    }


def _enum(here: _Place, value: Any, kind: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if value is None:
        return (), ()
    if not isinstance(value, dict) or not value or kind != "string":
        here.refuse("an enum maps each value of a string field to its Chinese name")
    return tuple(value), tuple(here.text(label) for label in value.values())


def _pattern(here: _Place, value: Any) -> str | None:
    if value is None:
        return None
    try:
        re.compile(here.text(value))
    except re.error:
        here.refuse("it is not a regular expression")
    if re.search(r"\\[1-9]|\(\?", value):
        here.refuse("back-references and look-arounds are not part of RE2, in which it is run")
    return str(value)


def _optional_whole(here: _Place, value: Any) -> int | None:
    return None if value is None else here.whole(value)


def _rules(here: _Place, value: Any, fields: tuple[Field, ...]) -> tuple[Rule, ...]:
    if not isinstance(value, list):
        (here / "quality").refuse("a list of rules is expected")
    columns = rule_columns(fields)
    rules: dict[str, Rule] = {}
    for item in value:
        at = here / "quality" / str(item.get("id") if isinstance(item, dict) else None)[:20]
        raw = at.mapping(item, _RULE, _RULE)
        if raw["type"] != "custom" or raw["engine"] != "sanche":
            at.refuse("a rule is type: custom, engine: sanche")
        if not RULE_ID.fullmatch(at.text(raw["id"])):
            at.refuse("a rule's id is letters and three digits, such as O-014")
        if raw["id"] in rules:
            at.refuse("this id stands twice")
        try:
            sql = checked((at / "implementation").text(raw["implementation"]), columns)
        except ValueError as flaw:
            (at / "implementation").refuse(str(flaw), "one yes-or-no expression over the fields of this contract")
        rules[raw["id"]] = Rule(
            id=raw["id"],
            severity=(at / "severity").one_of(raw["severity"], SEVERITIES),
            sql=sql,
            description=(at / "description").sentence(raw["description"]),
        )
    return tuple(rules.values())
