"""A drawn world: consents and persons as a table in a test, over a bare DuckDB with the lake's table names."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import duckdb
import pyarrow as pa

from pipelines.calendar import as_of, day_start
from pipelines.consent import Agreement, load
from pipelines.settings import REPOSITORY, Settings

SETTINGS = Settings(schemas=REPOSITORY / "schemas")
BANK = load("bank_a_c1", SETTINGS)
INSURER = load("insurer_b_i1", SETTINGS)
NIGHT = date(2026, 8, 20)
CUT = day_start(as_of(NIGHT))
SPACE = UUID("5b0f3c1e-0000-4000-8000-000000000000")


class BareLake:
    """What consent/ needs of a lake: `query`."""

    settings = SETTINGS

    def __init__(self) -> None:
        self.con = duckdb.connect()
        self.con.execute("set timezone = 'UTC'; create schema landed; create schema marts")
        self.con.execute(CONSENT_DDL)
        self.con.execute("""create table marts.person_link (person_id uuid, source varchar, issuer varchar,
            account_token uuid, id_token uuid, name_token uuid, mobile_token uuid, link_method varchar,
            confidence double, valid_from date, valid_to date)""")

    def query(self, sql: str, params: dict[str, Any] | None = None) -> pa.Table:
        return self.con.execute(sql, params or {}).to_arrow_table()

    def given_person(self, name: str) -> str:
        person = person_id(name)
        self.con.execute(
            "insert into marts.person_link by name select $p::uuid as person_id, 'consent' as source, "
            "$t::uuid as id_token, date '2025-01-01' as valid_from",
            {"p": person, "t": id_token(name)},
        )
        return person

    def given_consent(self, name: str, agreement: Agreement = BANK, **changes: Any) -> str:
        """A consent that is live for the agreement on NIGHT, but for the changes."""
        row = consent_row(name, agreement) | changes
        columns = ", ".join(f"${key} as {key}" for key in row)
        self.con.execute(f"insert into landed.consent by name select {columns}", row)
        return str(row["consent_id"])


CONSENT_DDL = """create table landed.consent (consent_id varchar, version int, person_id_no_token uuid,
    person_id_no_verdict varchar, person_id_no_birth_date date, person_id_no_gender varchar,
    person_id_no_region varchar, person_name_token uuid, person_name_verdict varchar,
    recipient_institution varchar, recipient_ref_sealed blob, purpose_code varchar, purpose_text_hash varchar,
    data_categories varchar[], legal_basis varchar, separate_consent boolean, written_form boolean,
    adverse_consequence_notice boolean, guardian_consent boolean, automated_decision_notice boolean,
    notice_version_hash varchar, identity_match varchar, granted_at timestamptz, expires_at timestamptz,
    withdrawn_at timestamptz, channel varchar, evidence_hash varchar, source_updated_at timestamptz,
    batch_id varchar, object_address varchar, row_no bigint, op varchar, known_on date, known_assumed boolean,
    record_key uuid, record_hash uuid, warnings varchar[])"""


def person_id(name: str) -> str:
    """As Arrow shows a UUID of DuckDB: text."""
    return str(uuid5(SPACE, "person " + name))


def id_token(name: str) -> str:
    return str(uuid5(SPACE, "id " + name))


def consent_row(name: str, agreement: Agreement) -> dict[str, Any]:
    consent_id = str(uuid5(SPACE, f"consent {name} {agreement.id}"))
    return {
        "consent_id": consent_id,
        "version": 1,
        "person_id_no_token": id_token(name),
        "recipient_institution": agreement.recipient,
        "recipient_ref_sealed": None,
        "purpose_code": agreement.purpose_code,
        "purpose_text_hash": agreement.purpose_text_hash,
        "data_categories": list(agreement.data_categories),
        "legal_basis": "consent",
        "separate_consent": True,
        "written_form": True,
        "adverse_consequence_notice": True,
        "guardian_consent": False,
        "automated_decision_notice": True,
        "notice_version_hash": agreement.notice_version_hash,
        "identity_match": "ID_NAME",
        "granted_at": datetime(2026, 3, 1, tzinfo=UTC),
        "expires_at": CUT + timedelta(days=200),
        "withdrawn_at": None,
        "source_updated_at": datetime(2026, 3, 1, tzinfo=UTC),
        "batch_id": "consent-20260820-00000000",
        "row_no": 1,
        "op": "I",
        "known_on": date(2026, 3, 1),
    }
