"""A lake in which features and consents are drawn by hand, so that a night can be decided without its marts."""

from __future__ import annotations

import hashlib
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml

from pipelines import consent
from pipelines.contracts import load_all
from pipelines.eligibility import Explanation, decide, explain, tables
from pipelines.eligibility.load import feature_types
from pipelines.lake import Lake
from pipelines.receipt import Receipt
from pipelines.settings import Settings

FIRST = date(2026, 8, 19)
STEADY: dict[str, Any] = {}
for _case in sorted(Path(__file__).with_name("cases").glob("*.yaml")):
    STEADY |= yaml.safe_load(_case.read_text(encoding="utf-8"))["steady"]
STEADY |= {"payout_cycle": "weekly", "payout_dom_mode": 5, "shared_account": False, "freshness_days_si": 2}
AGREEMENT = {"bank_a": "bank_a_c1", "insurer_b": "insurer_b_i1"}
SQL_TYPE = {"text": "varchar"}


def person_id(name: str) -> UUID:
    return UUID(hashlib.md5(f"person {name}".encode()).hexdigest())


def id_token(name: str) -> UUID:
    return UUID(hashlib.md5(f"number {name}".encode()).hexdigest())


class World:
    """settings, lake; `figures`, `consents`, `decide`, `row`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.lake = Lake.attach(settings)
        types = {n: t for n, t in feature_types(settings).items() if n not in ("consent_live", "guardian_ok")}
        columns = ", ".join(f"{name} {SQL_TYPE.get(kind, kind)}" for name, kind in types.items())
        self._columns = set(types)
        self._builds = 0
        if self.lake.has_table("marts.features"):
            return
        with self.lake.commit(step="draw", business_date=FIRST) as commit:
            commit.execute(load_all(settings)["consent"].landed_ddl())
            commit.execute(f"create table marts.features ({columns})")
            commit.execute(
                "create table marts.person_link (person_id uuid, source varchar, issuer varchar, "
                "account_token uuid, id_token uuid, name_token uuid, mobile_token uuid, link_method varchar, "
                "confidence double, "
                "valid_from date, valid_to date)"
            )
        for table, ddl in ((tables.DECISION, tables.DECISION_DDL), (tables.TRACE, tables.TRACE_DDL)):
            self.lake.ensure_table(f"create table if not exists {table} ({ddl})")

    def consents(self, *names: str, on: date = FIRST, **changes: Any) -> None:
        """Each grants a consent for both products, known on that business date."""
        agreements = consent.load_all(self.settings)
        with self.lake.commit(step="draw", business_date=on) as commit:
            for name in names:
                for recipient, agreement_id in AGREEMENT.items():
                    agreement = agreements[agreement_id]
                    row = {
                        "consent_id": f"{name}-{recipient}", "version": 1, "person_id_no_token": id_token(name),
                        "recipient_institution": recipient, "purpose_code": agreement.purpose_code,
                        "purpose_text_hash": agreement.purpose_text_hash,
                        "notice_version_hash": agreement.notice_version_hash,
                        "data_categories": list(agreement.data_categories), "legal_basis": "consent",
                        "separate_consent": True, "written_form": True, "adverse_consequence_notice": True,
                        "guardian_consent": False, "automated_decision_notice": True, "identity_match": "ID_NAME",
                        "granted_at": f"{on - timedelta(days=1)}T10:00:00+08:00",
                        "expires_at": "2027-08-01T10:00:00+08:00", "op": "I", "known_on": on, "row_no": 1,
                        "source_updated_at": f"{on}T10:00:00+08:00",
                        "record_key": id_token(name + recipient), "batch_id": f"consent-{on}",
                    } | changes  # fmt: skip
                    marks = ", ".join("?" for _ in row)
                    commit.execute(
                        f"insert into landed.consent ({', '.join(row)}) values ({marks})",
                        [value if isinstance(value, list | int) else str(value) for value in row.values()],
                    )
                commit.execute(
                    "insert into marts.person_link (person_id, source, id_token, link_method, valid_from) "
                    "select ?, 'consent', ?, 'consent_id', ? where not exists "
                    "(select 1 from marts.person_link where person_id = ?)",
                    [str(person_id(name)), str(id_token(name)), on, str(person_id(name))],
                )

    def figures(self, on: date, **people: dict[str, Any]) -> None:
        """The marts of a night: for each person what differs from the steady one. Replaces what was drawn."""
        self._builds += 1
        with self.lake.commit(step="draw", business_date=on) as commit:
            commit.execute("delete from marts.features where as_of = ?", [on + timedelta(days=1)])
            for name, changes in people.items():
                row = {key: value for key, value in (STEADY | changes).items() if key in self._columns}
                row |= {"person_id": str(person_id(name)), "as_of": on + timedelta(days=1), "known_at": on}
                marks = ", ".join("?" for _ in row)
                commit.execute(
                    f"insert into marts.features ({', '.join(row)}) values ({marks})", list(row.values())
                )
            commit.execute(
                "insert into control.build select 'marts', ?, ?, max(id) + 1 from lake.current_snapshot()",
                [on, f"drawn {self._builds}"],
            )

    def decide(self, on: date) -> Receipt:
        return decide(settings=self.settings, lake=self.lake, business_date=on)

    def night(self, on: date, **people: dict[str, Any]) -> Receipt:
        """Marts and decisions of a night."""
        self.figures(on, **people)
        return self.decide(on)

    def rows(self, name: str, product: str, on: date) -> list[dict[str, Any]]:
        """Every decision of a night, the one that stands last."""
        return self.lake.query(
            "select * from decisions.decision where person_id = ? and product = ? and business_date = ? "
            "order by revision",
            [str(person_id(name)), product, on],
        ).to_pylist()

    def row(self, name: str, product: str, on: date) -> dict[str, Any]:
        return self.rows(name, product, on)[-1]

    def explain(self, name: str, product: str, on: date) -> Explanation:
        return explain(
            self.lake, settings=self.settings, business_date=on, person_id=person_id(name), product=product
        )
