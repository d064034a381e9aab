"""Requests to the small province's agencies, and as much of a contract as the sources look at."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace
from typing import Any

from pipelines.calendar import Window
from pipelines.province.servers import Agencies
from pipelines.settings import Settings
from pipelines.sources.connections import Connection
from pipelines.sources.window_request import WindowRequest

FIRST = date(2026, 8, 19)


def contract(feed: str, path: str, kind: str, connection: str, **more: Any) -> Any:
    """As much of a contract as the sources look at."""
    fields = [SimpleNamespace(name=name) for name in more.pop("columns", ())]
    source = SimpleNamespace(connection=connection, kind=kind, path=path)
    return SimpleNamespace(feed=feed, source=source, fields=fields, **{"key": [], "money_field": None, **more})


ORDERS = contract("platform_order", "/v1/platform_order", "http_api", "platforms")
PARAMETERS = contract(
    "si_param",
    "si.param",
    "sql_database",
    "social_insurance",
    columns=[
        "region",
        "param",
        "sector",
        "valid_from",
        "valid_to",
        "value",
        "unit",
        "reference",
        "op",
        "updated_at",
    ],
    key=["region", "param", "sector", "valid_from"],
)
COVER_DAYS = contract(
    "occ_injury_order_day",
    "si.occ_injury_order_day",
    "sql_database",
    "social_insurance",
    columns=["platform_code", "id_no", "cover_date", "sector", "fee_due_fen", "op", "updated_at"],
    key=["platform_code", "id_no", "cover_date", "sector"],
    money_field="fee_due_fen",
)
TRANSACTIONS = contract("bank_txn", "BANK_TXN", "sftp_drop", "banks")


def connection(agencies: Agencies, conn_id: str, **changes: Any) -> Connection:
    """The connection to an agency, with some of its entries changed."""
    entry = agencies.connections()[conn_id]
    plain = {name: entry[name] for name in ("host", "port", "login", "password", "extra")} | changes
    return Connection(conn_id=conn_id, **plain)


def request(contract: Any, connection: Connection, **changes: Any) -> WindowRequest:
    """A first load of the first business date, unless something else is asked for."""
    settings = Settings(page_rows=40, http_timeout_s=2.0, source_attempts=3)
    asked = {
        "contract": contract,
        "connection": connection,
        "settings": settings,
        "window": Window.first_load(FIRST, 13),
        "business_date": FIRST,
        "is_first": True,
    }
    return WindowRequest(**(asked | changes))
