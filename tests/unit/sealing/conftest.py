"""One hub with keys for the whole room, and a short way from raw bytes to sealed rows."""

import io
import json
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
import pytest

from pipelines import vault
from pipelines.contracts import Contract, load_all
from pipelines.privacy import Keyring, day_recipient, init_keyrings, open_keyring
from pipelines.sealing import ObjectRequest, SealRequest, seal
from pipelines.settings import Settings

TONIGHT = date(2026, 8, 20)


@dataclass(frozen=True)
class Sealed:
    """What the landing gets: rows (as dicts), the trailer (None = there is none), and the bytes."""

    rows: list[dict[str, Any]]
    trailer: dict[str, Any] | None
    stream: bytes


@dataclass(frozen=True)
class Hub:
    settings: Settings
    contracts: dict[str, Contract]
    keyring: Keyring
    address_key: bytes
    recipient: str

    def store(self, feed: str, data: bytes, **declared: int) -> ObjectRequest:
        reference = vault.put(
            self.settings, feed, TONIGHT, data, address_key=self.address_key, recipient=self.recipient
        )
        return ObjectRequest(reference.address, TONIGHT, **declared)

    def seal(self, feed: str, *objects: bytes | ObjectRequest, settings: Settings | None = None) -> Sealed:
        stored = tuple(self.store(feed, item) if isinstance(item, bytes) else item for item in objects)
        request = SealRequest(f"{feed}-20260820-0123abcd", feed, TONIGHT, stored)
        out = io.BytesIO()
        seal(
            SealRequest.from_json(request.to_json()),
            settings=settings or self.settings,
            keyring=self.keyring,
            contract=self.contracts[feed],
            out=out,
        )
        return read(out.getvalue())

    @staticmethod
    def bank_file(
        feed: str, columns: list[str], rows: list[list[str]], fen: int, encoding: str = "gb18030"
    ) -> bytes:
        lines = [f"H|{feed.upper()}|BK01|20260820", "|".join(columns), *("|".join(row) for row in rows)]
        return "".join(line + "\n" for line in [*lines, f"T|{len(rows)}|{fen}"]).encode(encoding)

    def identity_key(self, purpose: str) -> bytes:
        return self.keyring.key(purpose).material


def read(stream: bytes) -> Sealed:
    rows: list[dict[str, Any]] = []
    trailer = None
    reader = pa.ipc.open_stream(stream)
    while True:
        try:
            batch, metadata = reader.read_next_batch_with_custom_metadata()
        except StopIteration:
            return Sealed(rows, trailer, stream)
        rows += batch.to_pylist()
        if metadata is not None:
            assert batch.num_rows == 0
            trailer = json.loads(metadata[b"sanche.trailer"])


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Hub:
    settings = Settings(home=tmp_path_factory.mktemp("hub") / "var", threads=1)
    init_keyrings(settings)
    recipient = day_recipient(settings, TONIGHT)
    address_key = open_keyring(settings, "pull").key("vault").material
    return Hub(settings, load_all(settings), open_keyring(settings, "seal"), address_key, recipient)


@pytest.fixture(scope="session")
def page() -> Any:
    """Records as a page of NDJSON."""

    def make(*records: dict[str, Any] | str) -> bytes:
        lines = [r if isinstance(r, str) else json.dumps(r, ensure_ascii=False) for r in records]
        return "".join(line + "\n" for line in lines).encode()

    return make


WORKER = {
    "op": "I",
    "updated_at": "2026-08-20T08:00:00+08:00",
    "platform_code": "ride01",
    "platform_uscc": "91350100M000100Y43",
    "platform_worker_id": "W1",
    "id_type": "resident_id",
    "id_no": "430102199003078014",
    "name": "王伟",
    "mobile": "13873100001",
    "occupation_kind": "ride_hailing_driver",
    "registered_region": "430102",
    "registered_at": "2025-01-01T00:00:00+08:00",
    "account_status": "active",
}
ORDER = {
    "op": "I",
    "updated_at": "2026-08-20T08:00:00+08:00",
    "platform_code": "ride01",
    "order_id": "O1",
    "segment_no": "0000",
    "platform_worker_id": "W1",
    "plate_no": "湘A12345",
    "sector": "trip",
    "region_code": "430102",
    "created_at": "2026-08-20T08:00:00+08:00",
    "status": "completed",
    "task_count": 1,
    "customer_paid_fen": 1234,
    "pay_state": 1,
}


@pytest.fixture(scope="session")
def worker() -> dict[str, Any]:
    return WORKER


@pytest.fixture(scope="session")
def order() -> dict[str, Any]:
    return ORDER


@pytest.fixture(scope="session")
def txn_columns(hub: Hub) -> list[str]:
    return [field.name for field in hub.contracts["bank_txn"].fields]


@pytest.fixture(scope="session")
def txn(txn_columns: list[str]) -> Any:
    """One line of a transaction file, with some fields changed."""
    usual = {
        "op": "I",
        "updated_at": "2026-08-20T08:00:00+08:00",
        "bank_code": "BK01",
        "txn_id": "T1",
        "account_no": "4111111111111111",
        "posted_at": "2026-08-20T08:00:00+08:00",
        "value_date": "2026-08-20",
        "direction": "credit",
        "amount_fen": "100",
        "channel": "payroll",
        "is_pending": "false",
    }

    def make(**changes: str) -> list[str]:
        record = usual | changes
        return [record.get(name, "") for name in txn_columns]

    return make
