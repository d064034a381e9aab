"""The raw columns of every feed, as its source writes them, and how the province keeps them.

Promises: one Parquet file per feed, `feeds/<feed>.parquet`: the source's columns in the contract's order, all
          versions, in the order in which the source changed them; then `visible_on`, the business date whose
          window shows the record (the Shanghai date of updated_at, but for a clock that runs ahead); for bank
          feeds also `raw_line_override`, which a server writes instead of the line that it would make.
          Platforms and banks: instants and dates are text (ISO 8601, +08:00), so that a wrong one can be carried;
          money and counts are int64. Social insurance: typed, since a database refuses what is not.
Refuses:  nothing. What a clean record is, contracts/ says.
Not here: where the records come from (people, work, pay, ...).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

Seconds = npt.NDArray[np.int64]  # Shanghai wall-clock seconds since 1970-01-01T00:00 on that same wall
Days = npt.NDArray[np.int64]  # days since 1970-01-01
DAY_S = 86_400
ROW_GROUP = 200_000
_AT = "at_s"  # never written: the order in which the source shows the versions


def words(text: str) -> tuple[str, ...]:
    """Names set down with blanks between them."""
    return tuple(text.split())


_TEXT, _INT, _BOOL = pa.string(), pa.int64(), pa.bool_()
_DATE, _INSTANT = pa.date32(), pa.timestamp("us", tz="Asia/Shanghai")
_INTEGERS = words(
    "seats task_count distance_m duration_s wait_s customer_paid_fen list_price_fen cash_fen electronic_fen "
    "discount_fen amount_fen gross_fen deductions_fen net_fen balance_after_fen principal_fen outstanding_fen "
    "monthly_due_fen days_past_due version base_fen rate_bp due_fen paid_fen order_count base_fee_milli_yuan "
    "fee_due_fen value"
)
_BOOLEANS = words(
    "shared_account_flag occ_injury_covered is_joint is_pending separate_consent written_form "
    "adverse_consequence_notice guardian_consent automated_decision_notice"
)
_SI_DATES = frozenset({"death_date", "paid_on", "cover_date", "valid_from", "valid_to"})

COLUMNS: Mapping[str, str] = {
    "platform_worker": "platform_code platform_uscc platform_worker_id id_type id_no name mobile gender "
    "birth_date occupation_kind work_mode contract_company contract_on contract_off registered_region "
    "registered_at first_order_at deactivated_at account_status shared_account_flag",
    "platform_vehicle": "platform_code vehicle_no platform_worker_id plate_no plate_color vehicle_type "
    "use_character ownership vin fuel_type seats first_registered_on inspection_valid_to trans_valid_from "
    "trans_valid_to state",
    "platform_credential": "platform_code platform_worker_id credential_type credential_no licence_class "
    "first_issued_on valid_from valid_to issuing_org status",
    "platform_order": "platform_code order_id segment_no platform_worker_id plate_no sector order_type "
    "region_code created_at accepted_at picked_at completed_at cancelled_at cancel_by cancel_type status "
    "task_count distance_m duration_s wait_s customer_paid_fen list_price_fen cash_fen electronic_fen "
    "discount_fen pay_state paid_at occ_injury_covered",
    "platform_earning_line": "platform_code line_id platform_worker_id order_id line_type amount_fen "
    "service_date booked_at reverses_line_id memo",
    "platform_settlement": "platform_code settlement_id platform_worker_id period_start period_end cycle "
    "gross_fen deductions_fen net_fen paid_at pay_channel payee_account_no bank_ref status",
    "consent": "consent_id version person_id_no person_name recipient_institution recipient_ref purpose_code "
    "purpose_text_hash data_categories legal_basis separate_consent written_form adverse_consequence_notice "
    "guardian_consent automated_decision_notice notice_version_hash identity_match granted_at expires_at "
    "withdrawn_at channel evidence_hash",
    "si_person": "id_no name person_status death_date household_type si_region",
    "si_contribution_month": "id_no scheme contribution_month pay_kind source_office join_kind base_fen rate_bp "
    "due_fen paid_fen paid_on region",
    "occ_injury_order_day": "platform_code id_no cover_date sector order_count base_fee_milli_yuan fee_due_fen "
    "region",
    "si_param": "region param sector valid_from valid_to value unit reference",
    "bank_account": "bank_code account_no account_class id_type holder_id_no holder_name opened_on status "
    "is_joint",
    "bank_txn": "bank_code txn_id account_no posted_at value_date direction amount_fen balance_after_fen channel "
    "counterparty_name counterparty_uscc counterparty_account_no summary purpose_code reverses_txn_id is_pending",
    "bank_obligation": "bank_code loan_id borrower_id_no kind principal_fen outstanding_fen monthly_due_fen "
    "next_due_on days_past_due status opened_on",
}
FEEDS = tuple(COLUMNS)
SI_FEEDS = frozenset({"si_person", "si_contribution_month", "occ_injury_order_day", "si_param"})
BANK_FEEDS = frozenset({"bank_account", "bank_txn", "bank_obligation"})
KEYS: Mapping[str, tuple[str, ...]] = {
    "platform_worker": ("platform_code", "platform_worker_id"),
    "platform_vehicle": ("platform_code", "vehicle_no"),
    "platform_credential": ("platform_code", "platform_worker_id", "credential_type"),
    "platform_order": ("platform_code", "order_id", "segment_no", "platform_worker_id"),
    "platform_earning_line": ("platform_code", "line_id"),
    "platform_settlement": ("platform_code", "settlement_id"),
    "consent": ("consent_id",),
    "si_person": ("id_no",),
    "si_contribution_month": ("id_no", "scheme", "contribution_month", "pay_kind", "source_office"),
    "occ_injury_order_day": ("platform_code", "id_no", "cover_date", "sector"),
    "si_param": ("region", "param", "sector", "valid_from"),
    "bank_account": ("bank_code", "account_no"),
    "bank_txn": ("bank_code", "txn_id"),
    "bank_obligation": ("bank_code", "loan_id"),
}


def schema(feed: str) -> pa.Schema:
    """Arrow schema of the feed's Parquet file."""
    fields = [pa.field(name, _kind(feed, name)) for name in COLUMNS[feed].split()]
    fields += [pa.field("op", _TEXT), pa.field("updated_at", _INSTANT if feed in SI_FEEDS else _TEXT)]
    fields.append(pa.field("visible_on", _DATE))
    if feed in BANK_FEEDS:
        fields.append(pa.field("raw_line_override", _TEXT))
    return pa.schema(fields)


def _kind(feed: str, name: str) -> pa.DataType:
    if name in _INTEGERS:
        return _INT
    if name in _BOOLEANS:
        return _BOOL
    if name == "data_categories":
        return pa.list_(_TEXT)
    return _DATE if feed in SI_FEEDS and name in _SI_DATES else _TEXT


def instant_text(seconds: Seconds, missing: npt.NDArray[np.bool_] | None = None) -> Any:
    """Wall-clock seconds to `2026-08-19T10:00:00+08:00`; NULL where missing."""
    stamps: Any = pa.array(seconds, mask=missing).cast(pa.timestamp("s")).cast(_TEXT)
    return pc.binary_join_element_wise(pc.replace_substring(stamps, " ", "T"), "+08:00", "")


def date_text(days: Days, missing: npt.NDArray[np.bool_] | None = None) -> Any:
    """Day numbers to `2026-08-19`; NULL where missing."""
    return pa.array(days.astype(np.int32), mask=missing).cast(_DATE).cast(_TEXT)


def instant(seconds: Seconds) -> Any:
    """Wall-clock seconds to instants, for the feeds of the database."""
    return pa.array((seconds - 8 * 3600) * 1_000_000).cast(pa.timestamp("us", tz="UTC")).cast(_INSTANT)


def visible_on(seconds: Seconds) -> Any:
    """The Shanghai date on which a version with this change time is shown."""
    return pa.array((seconds // DAY_S).astype(np.int32)).cast(_DATE)


def look_up(
    values: Sequence[str | None], rows: npt.NDArray[np.int64], missing: npt.NDArray[np.bool_] | None = None
) -> Any:
    """values[row] for each row; NULL where missing."""
    return pa.array(values, _TEXT).take(pa.array(rows, pa.int64(), mask=missing))


def numbered(prefixes: Sequence[str], rows: npt.NDArray[np.int64], digits: int) -> Any:
    """A running number of fixed width behind each row's prefix: no two are alike."""
    running: Any = pc.utf8_lpad(pa.array(np.arange(len(rows))).cast(_TEXT), digits, "0")
    return pc.binary_join_element_wise(look_up(prefixes, rows), running, "")


def table(feed: str, columns: Mapping[str, Any], at: Seconds) -> pa.Table:
    """A feed's table from some of its columns; a scalar fills the column, a missing one is NULL.

    at: when each version is shown, by which `write` sorts; `updated_at` and `visible_on` follow from it.
    """
    rows = len(at)
    stamps = instant(at) if feed in SI_FEEDS else instant_text(at)
    columns = {"updated_at": stamps, "visible_on": visible_on(at)} | dict(columns)
    arrays: list[Any] = []
    for field in schema(feed):
        value = columns.get(field.name)
        if value is None or isinstance(value, (str, int, bool)):
            arrays.append(pa.repeat(pa.scalar(value, type=field.type), rows))
        else:
            arrays.append(pa.array(value, type=field.type) if isinstance(value, (list, np.ndarray)) else value)
    return pa.table(arrays, schema=schema(feed)).append_column(_AT, pa.array(at))


def from_rows(feed: str, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """A feed's table from dicts with `at` in wall-clock seconds; a row may bring an `updated_at` of its own."""
    at = np.array([r["at"] for r in rows], dtype=np.int64)
    derived = {"op", "updated_at", "visible_on"}
    columns: dict[str, Any] = {n: [r.get(n) for r in rows] for n in schema(feed).names if n not in derived}
    columns["op"] = [r.get("op", "I") for r in rows]
    if any("updated_at" in r for r in rows):
        own = [r.get("updated_at") for r in rows]
        columns["updated_at"] = pc.coalesce(pa.array(own, pa.string()), instant_text(at))  # a clock of its own
    return table(feed, columns, at)


def write(feed: str, parts: Sequence[pa.Table], folder: Path) -> int:
    """Sort the versions as the source shows them and write the feed's file. Returns its rows."""
    folder.mkdir(parents=True, exist_ok=True)
    at = [part.column(_AT).to_numpy() for part in parts]
    every = np.sort(np.concatenate([*at, np.array([], dtype=np.int64)]))
    # Group by group, so that no second copy of a large feed is ever in memory.
    edges = [*np.unique(every[::ROW_GROUP]).tolist(), np.iinfo(np.int64).max]
    with pq.ParquetWriter(folder / f"{feed}.parquet", schema(feed), compression="zstd", version="2.6") as out:
        for low, high in pairwise(edges):
            some = [p.filter(pa.array((a >= low) & (a < high))) for p, a in zip(parts, at, strict=True)]
            group = pa.concat_tables(some)
            order = np.argsort(group.column(_AT).to_numpy(), kind="stable")
            out.write_table(group.drop_columns(_AT).take(order))
    return len(every)
