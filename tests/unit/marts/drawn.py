"""Draw landed rows as tables, in the words of a domain person, and run the marts over them.

A column may be named as in the contract, or shortly: `worker`, `person`, `name` and the like stand for identifiers
(any word; the same word is the same identifier), `*_yuan` for `*_fen`. What is not drawn is filled in (DEFAULTS).
"""

from __future__ import annotations

import hashlib
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import duckdb

from pipelines.contracts import Contract, load_all
from pipelines.marts import derive
from pipelines.settings import Settings

SETTINGS = Settings()
CONTRACTS = load_all(SETTINGS)
FEEDS = tuple(sorted(CONTRACTS))
SHORT = {
    "platform": "platform_code",
    "worker": "platform_worker_id",
    "order": "order_id",
    "line": "line_id",
    "settlement": "settlement_id",
    "bank": "bank_code",
    "account": "account_no",
    "txn": "txn_id",
    "loan": "loan_id",
    "month": "contribution_month",
    "payee": "payee_account_no",
    "counterparty": "counterparty_account_no",
    "payer": "counterparty_uscc",
    "version": "source_updated_at",
    "vehicle": "vehicle_no",
}
PERSON = {"bank_account": "holder_id_no", "bank_obligation": "borrower_id_no", "consent": "person_id_no"}
NAME = {"bank_account": "holder_name", "consent": "person_name"}
DEFAULTS: dict[str, dict[str, str]] = {
    "platform_worker": {
        "platform_code": "food01",
        "platform_worker_id": "W1",
        "id_no": "Wang",
        "name": "",
        "id_type": "resident_id",
        "occupation_kind": "instant_delivery",
        "registered_region": "430102",
        "registered_at": "2024-01-01 09:00",
        "account_status": "active",
    },
    "platform_order": {
        "platform_code": "food01",
        "platform_worker_id": "W1",
        "segment_no": "0000",
        "sector": "instant_delivery",
        "region_code": "430102",
        "status": "completed",
        "task_count": "1",
    },
    "platform_earning_line": {"platform_code": "food01", "platform_worker_id": "W1", "line_type": "base_pay"},
    "platform_settlement": {
        "platform_code": "food01",
        "platform_worker_id": "W1",
        "cycle": "weekly",
        "status": "paid",
        "gross_fen": "0",
        "deductions_fen": "0",
        "pay_channel": "bank",
    },
    "platform_vehicle": {
        "platform_code": "food01",
        "platform_worker_id": "W1",
        "vehicle_type": "ebike",
        "state": "active",
    },
    "platform_credential": {
        "platform_code": "food01",
        "platform_worker_id": "W1",
        "status": "valid",
        "valid_from": "2020-01-01",
    },
    "si_person": {"person_status": "normal", "si_region": "430100"},
    "si_contribution_month": {
        "scheme": "emp_pension",
        "pay_kind": "normal",
        "source_office": "430100",
        "join_kind": "flexible_employment",
        "base_fen": "430800",
        "rate_bp": "2000",
        "due_fen": "86160",
        "region": "430100",
        "id_no": "Wang",
    },
    "occ_injury_order_day": {
        "platform_code": "food01",
        "sector": "instant_delivery",
        "order_count": "1",
        "base_fee_milli_yuan": "70",
        "fee_due_fen": "7",
        "region": "430102",
        "id_no": "Wang",
    },
    "si_param": {
        "region": "430000",
        "param": "occ_injury_pilot",
        "sector": "",
        "valid_from": "2020-01-01",
        "value": "1",
        "unit": "flag",
    },
    "bank_account": {"bank_code": "BK01", "account_class": "I", "status": "active", "holder_id_no": "Wang"},
    "bank_txn": {
        "bank_code": "BK01",
        "direction": "credit",
        "channel": "clearing",
        "is_pending": "false",
        "account_no": "C1",
    },
    "bank_obligation": {
        "bank_code": "BK01",
        "kind": "consumer",
        "status": "active",
        "days_past_due": "0",
        "borrower_id_no": "Wang",
        "outstanding_fen": "100000",
    },
    "consent": {"recipient_institution": "bank_a", "purpose_code": "credit_working_capital"},
}


def token(kind: str, word: str) -> UUID:
    """The same word of one kind is the same identifier."""
    return UUID(hashlib.md5(f"{kind}|{word}".encode()).hexdigest())


def moment(text: str) -> str:
    """A moment in Shanghai, drawn to the minute or the day."""
    return (text if len(text) > 10 else f"{text} 08:00") + ":00+08:00"


def rows_of(table: str) -> list[dict[str, str]]:
    """A drawn table: a header line, then one line per row, cells parted by `|`."""
    lines = [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]
    header, *body = [line for line in lines if not set("".join(line)) <= set("-+ ")]
    for line in body:
        assert len(line) == len(header), f"a row has not the header's cells: {line}"
    return [dict(zip(header, line, strict=True)) for line in body]


class Landed:
    """Turns drawn rows into landed rows."""

    def __init__(self, known_on: date) -> None:
        """known_on: the business date that brought whatever does not say another."""
        self._known_on = known_on.isoformat()
        self._row_no = 0

    def rows(self, feed: str, table: str | list[dict[str, str]]) -> list[dict[str, Any]]:
        """Landed rows of one feed, values as text or UUID."""
        found = []
        for drawn in rows_of(table) if isinstance(table, str) else table:
            self._row_no += 1
            found.append(self._landed(CONTRACTS[feed], dict(drawn)))
        return found

    def _landed(self, contract: Contract, drawn: dict[str, str]) -> dict[str, Any]:
        feed = contract.feed
        said = {self._long(feed, key): value for key, value in drawn.items()}
        known_on, born = said.pop("known_on", self._known_on), said.pop("born", "1990-05-01")
        version, op = said.pop("source_updated_at", f"{known_on} 08:00"), said.pop("op", "I")
        said = {**DEFAULTS.get(feed, {}), **said}
        self._implied(feed, said)
        row: dict[str, Any] = {}
        for field in contract.fields:
            value = said.pop(field.name, "")
            if field.identifier:
                row |= self._identifier(field.name, field.identifier, value, born)
            elif field.name not in ("op", "updated_at") and not field.sealed_to:
                row[field.name] = moment(value) if value and field.type == "timestamp" else value or None
        assert not said, f"{feed} has no {sorted(said)}"
        key = "|".join(str(row.get(f"{name}_token", row.get(name))) for name in contract.key)
        return row | {
            "op": op, "known_on": known_on, "source_updated_at": moment(version), "known_assumed": False,
            "row_no": self._row_no, "batch_id": f"{feed}-drawn", "record_key": token("key", f"{feed}|{key}"),
            "record_hash": token("hash", str(row)),
        }  # fmt: skip

    @staticmethod
    def _long(feed: str, key: str) -> str:
        if key == "person":
            return PERSON.get(feed, "id_no")
        if key == "name":
            return NAME.get(feed, "name")
        return SHORT.get(key, key)

    def _implied(self, feed: str, said: dict[str, str]) -> None:
        """What hardly ever matters: record numbers, and one moment from another."""
        for key in [key for key in said if key.endswith("_yuan") and "milli" not in key]:
            said[key.removesuffix("_yuan") + "_fen"] = str(int(Decimal(said.pop(key)) * 100))
        for key in ("order_id", "line_id", "settlement_id", "txn_id", "loan_id", "vehicle_no", "consent_id"):
            if any(field.name == key for field in CONTRACTS[feed].fields):
                said.setdefault(key, f"{key}{self._row_no}" if key in CONTRACTS[feed].key else "")
        if feed == "platform_order":
            said.setdefault("created_at", said.get("accepted_at", ""))
            said.setdefault("completed_at", said.get("accepted_at", ""))
        if feed == "platform_earning_line":
            said.setdefault("booked_at", f"{said['service_date']} 22:00")
        if feed == "bank_txn":
            said.setdefault("posted_at", f"{said['value_date']} 10:00")
        if feed == "platform_worker" and not said["name"]:
            said["name"] = said["id_no"]

    @staticmethod
    def _identifier(name: str, kind: str, value: str, born: str) -> dict[str, Any]:
        row: dict[str, Any] = {f"{name}_token": token(kind, value) if value else None}
        row[f"{name}_verdict"] = "ok" if value else None
        if kind == "citizen_id" and value:
            row |= {f"{name}_birth_date": born, f"{name}_gender": "male", f"{name}_region": "430102"}
        return row


def insert(con: duckdb.DuckDBPyConnection, table: str, row: dict[str, Any]) -> None:
    """One landed row into a table."""
    filled = {key: str(value) for key, value in row.items() if value is not None}
    con.execute(
        f"insert into {table} ({', '.join(filled)}) values ({', '.join('?' for _ in filled)})",
        list(filled.values()),
    )


class Drawing:
    """A small world: landed tables in a plain DuckDB. `derive` runs the marts."""

    def __init__(self, known_on: date) -> None:
        self._landed = Landed(known_on)
        self.con = duckdb.connect()
        self.con.execute("set timezone = 'UTC'; set threads = 1")
        for schema in ("landed", "stage", "marts"):
            self.con.execute(f"create schema {schema}")
        for feed in FEEDS:
            self.con.execute(CONTRACTS[feed].landed_ddl(f"landed.{feed}"))
        derive.load_reference(self.con, SETTINGS.schemas)
        self.con.execute(f"create table {derive.PERSON_KEY} ({derive.PERSON_KEY_DDL})")

    def land(self, feed: str, table: str | list[dict[str, str]]) -> None:
        """Add landed rows of one feed."""
        for row in self._landed.rows(feed, table):
            insert(self.con, f"landed.{feed}", row)

    def derive(self, as_of: date, *, history_from: date | None = None) -> None:
        """Make the marts of the night before `as_of`."""
        known_at = as_of - timedelta(days=1)
        derive.derive(
            self.con,
            derive.Night(known_at=known_at, as_of=as_of, link_known_at=known_at, history_from=history_from),
        )

    def person(self, word: str) -> UUID:
        """The hub's id of the person with that citizen number."""
        row = self.con.execute(
            f"select person_id from {derive.PERSON_KEY} where id_token = ?", [token("citizen_id", word)]
        ).fetchone()
        assert row, f"nobody is called {word}"
        return row[0]  # type: ignore[no-any-return]

    def rows(self, table: str, columns: list[str]) -> list[dict[str, Any]]:
        """Rows of a mart with `person` as a word, in the mart's own order."""
        words = {self._name_of(person): person for (person,) in self.con.execute(
            f"select distinct person_id from {derive.PERSON_KEY}").fetchall()}  # fmt: skip
        names = {person: word for word, person in words.items()}
        picked = ", ".join("person_id" if column == "person" else column for column in columns)
        found = self.con.execute(f"select {picked} from marts.{table}").fetchall()
        rows = [dict(zip(columns, row, strict=True)) for row in found]
        return [row | ({"person": names[row["person"]]} if "person" in row else {}) for row in rows]

    def _name_of(self, person: UUID) -> str:
        tokens = {row[0] for row in self.con.execute(
            f"select id_token from {derive.PERSON_KEY} where person_id = ?", [person]).fetchall()}  # fmt: skip
        known = ("Wang", "Li", "Zhao", "Chen", "Zhou", "Other", "Wang2")
        return next((word for word in known if token("citizen_id", word) in tokens), str(person))
