"""Rows of raw text into what may leave the sealer: tokens, verdicts, derived columns, scrubbed text.

Promises: the columns of the contract's sealed schema, row for row; the same identifier gives the same token in
          every feed; a value that is not usable gives a verdict and no token.
Refuses:  nothing: an odd value is a verdict.
Not here: reading bytes (formats/), totals and the stream (sealer).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyrage

from pipelines.contracts import Contract, Field
from pipelines.identifiers import bank_account, citizen_id, mobile, name, opaque, plate
from pipelines.identifiers import text as columns
from pipelines.privacy import tokens
from pipelines.privacy.aes import BLOCK, Blocks, encrypt_blocks
from pipelines.sealing import scrub
from pipelines.sealing.parsed import Rows

_JUDGES: dict[str, Callable[[Any], Any]] = {
    "mobile": mobile.canonical_column,
    "bank_account": bank_account.canonical_column,
    "plate": plate.canonical_column,
    "name": name.canonical_column,
    "account": opaque.canonical_column,
    "record": opaque.canonical_column,
    "free": opaque.canonical_column,
}
_REFERENCE = re.compile(r"[A-Za-z0-9-]{8,32}")  # an institution's own application number (DOMAIN A4)


@dataclass(frozen=True, slots=True, repr=False)
class SealingKeys:
    """block: K1a. None of them shows in a repr."""

    block: bytes
    cmac: bytes
    record_hash: bytes
    release_recipient: str


@dataclass(slots=True)
class Identifier:
    """Turns the rows of one feed into sealed batches. withheld: SEALED values that were refused."""

    contract: Contract
    keys: SealingKeys
    business_date: date
    withheld: int = 0
    _recipients: list[Any] = field(default_factory=list)

    def sealed(self, object_no: int, rows: Rows) -> Any:
        """One RecordBatch of the contract's sealed schema."""
        schema = self.contract.sealed_schema()
        count = len(rows)
        out: dict[str, Any] = {
            "object_no": pa.array(np.full(count, object_no, np.int32)),
            "row_no": pa.array(rows.row_no),
            "parse_error": rows.parse_error if rows.parse_error is not None else pa.nulls(count, pa.string()),
        }
        canonical: dict[str, Any] = {}
        for f in self.contract.fields:
            raw = rows.fields[f.name]
            if f.identifier is not None:
                canonical[f.name] = self._identifier(f, raw, rows, out)
            elif f.sealed_to is not None:
                out[f.name + "_sealed"] = self._encrypted(raw)
            else:
                out[f.name] = scrub.column(raw, f)
        out["record_key"] = tokens.to_arrow(self._record_keys(rows, canonical))
        out["record_hash"] = tokens.to_arrow(self._record_hashes(rows))
        return pa.RecordBatch.from_arrays([out[n] for n in schema.names], schema=schema)

    def _identifier(self, f: Field, raw: Any, rows: Rows, out: dict[str, Any]) -> Any:
        """Writes the field's columns into `out`; returns its canonical text (the raw text where it has none)."""
        assert f.identifier is not None
        if f.identifier == "citizen_id":
            judged = citizen_id.canonical_column(raw, self.business_date)
            for suffix in ("birth_date", "gender", "region"):
                out[f"{f.name}_{suffix}"] = _one(judged.column(suffix))
        else:
            judged = _JUDGES[f.identifier](raw)
        value = _one(judged.column("value"))
        out[f.name + "_verdict"] = _one(judged.column("verdict"))
        out[f.name + "_token"] = self._tokens(f, value, rows)
        return pc.coalesce(value, raw) if value.null_count > raw.null_count else value

    def _tokens(self, f: Field, value: Any, rows: Rows) -> Any:
        absent = columns.is_null(value) if value.null_count else None
        present = value if absent is None else value.drop_null()
        issuers: Any = ""
        if f.issuer is not None:
            issuers = rows.fields[f.issuer]
            issuers = issuers if absent is None else issuers.filter(pa.array(~absent))
        blocks = self._blocks(f, present, issuers)
        if absent is None:
            return tokens.to_arrow(blocks)
        spread = np.zeros((len(value), BLOCK), np.uint8)
        spread[~absent] = blocks
        return tokens.to_arrow(spread, absent)

    def _blocks(self, f: Field, value: Any, issuers: Any) -> Blocks:
        if f.identifier == "citizen_id":
            return encrypt_blocks(self.keys.block, tokens.pack_citizen_id(value))
        if f.identifier == "mobile":
            return encrypt_blocks(self.keys.block, tokens.pack_mobile(value))
        if f.identifier == "bank_account":
            return self._account_blocks(value)
        if f.identifier in ("name", "plate"):
            return tokens.cmac_column(self.keys.cmac, f.identifier, "", value)
        return tokens.cmac_column(self.keys.cmac, f.namespace or f.name, issuers, value)

    def _account_blocks(self, value: Any) -> Blocks:
        fits = np.asarray(pc.binary_length(value)) <= tokens.LONGEST_PACKED_ACCOUNT
        short = pa.array(fits)
        blocks = np.empty((len(value), BLOCK), np.uint8)
        blocks[fits] = encrypt_blocks(self.keys.block, tokens.pack_bank_account(value.filter(short)))
        blocks[~fits] = tokens.cmac_column(self.keys.cmac, "bank_account", "", value.filter(pc.invert(short)))
        return blocks

    def _record_keys(self, rows: Rows, canonical: dict[str, Any]) -> Blocks:
        parts = [canonical.get(key, rows.fields[key]) for key in self.contract.key]
        return tokens.mac_rows(self.keys.cmac, f"record_key:{self.contract.feed}", [*parts, _broken(rows)])

    def _record_hashes(self, rows: Rows) -> Blocks:
        parts = [rows.fields[f.name] for f in self.contract.fields]
        return tokens.mac_rows(self.keys.record_hash, f"record:{self.contract.feed}", [*parts, _broken(rows)])

    def _encrypted(self, raw: Any) -> Any:
        """Each value for the egress alone. What passes as a person's or account's number is withheld."""
        if raw.null_count == len(raw):
            return pa.nulls(len(raw), pa.binary())
        self._recipients = self._recipients or [pyrage.x25519.Recipient.from_str(self.keys.release_recipient)]
        return pa.array([self._encrypted_value(text) for text in raw.to_pylist()], pa.binary())

    def _encrypted_value(self, text: str | None) -> bytes | None:
        if text is None:
            return None
        if _REFERENCE.fullmatch(text) is None or scrub.looks_personal(text):
            self.withheld += 1
            return None
        return bytes(pyrage.encrypt(text.encode(), self._recipients))


def _one(column: Any) -> Any:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _broken(rows: Rows) -> Any:
    """The bytes of a broken record take the place of its fields, so that two broken records are not one."""
    return rows.broken if rows.broken is not None else pa.nulls(len(rows), pa.binary())
