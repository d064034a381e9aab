"""The night's first step: a feed's window into the raw vault, encrypted, before anything in it is read.

Promises: objects first (content-addressed), then one commit that says the window was pulled; run again, nothing
          changes; killed anywhere, the next run ends in the same place.
Refuses:  to store a byte unless the day's public key is there (KeyUnavailable); it opens no other keyring than the
          puller's, so it cannot read back what it stored.
Not here: the protocols (http_api, sql_database, sftp_drop), reading what came (sealing/).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines import ledger, vault
from pipelines.contracts import Contract
from pipelines.errors import Bug, KeyUnavailable, SourceBroken
from pipelines.lake import Commit, Lake
from pipelines.privacy import Key, Keyring
from pipelines.receipt import Receipt
from pipelines.settings import Settings
from pipelines.sources import connections
from pipelines.sources.http_api import HttpApi
from pipelines.sources.sftp_drop import SftpDrop
from pipelines.sources.sql_database import SqlDatabase
from pipelines.sources.watermark import Plan, plan
from pipelines.sources.window_request import Source, SourceObject, Totals, WindowRequest

STEP = "pull"
SOURCES: dict[str, Callable[[WindowRequest], Source]] = {
    "http_api": HttpApi,
    "sql_database": SqlDatabase,
    "sftp_drop": SftpDrop,
}


@dataclass(frozen=True, slots=True)
class Pulled:
    """A row of control.pulled."""

    batch_id: str
    feed: str
    business_date: date
    window_from: date
    window_to: date
    object_no: int
    address: str
    ciphertext_sha256: str
    bytes: int
    declared_records: int | None
    declared_fen: int | None
    source_name: str


def pull(
    feed: str,
    *,
    contract: Contract,
    settings: Settings,
    lake: Lake,
    keyring: Keyring,
    business_date: date,
) -> Receipt:
    """Fetch what the feed's source shows for the window of this business date.

    Returns: a receipt, fate "pulled" or "unchanged"; counts objects, bytes, records (declared) and, from a drop,
    files waiting for their marker, absent, late, repeated and altered.
    Raises: SourceBusy, SourceBroken, TotalsDiffer, Refused, KeyUnavailable, Usage.
    """
    if contract.feed != feed:
        raise Bug(f"the contract of {contract.feed} was brought to a pull of {feed}")
    asked = plan(lake, feed, business_date, first_load_months=settings.first_load_months)
    known = _recorded(lake, asked.batch_id)
    damaged = [row for row in known if not _is_intact(settings, row)]
    if asked.has_landed or (known and not damaged):
        # A landed batch is done, whether or not its raw bytes are still kept.
        return _receipt(asked, known, "unchanged", {"raw_gone": len(damaged)} if damaged else {})
    for row in damaged:
        # The vault keeps a file that is there; one that is not what was stored must make room first.
        _path(settings, row).unlink(missing_ok=True)
    source, stored = _fetch(asked, contract=contract, settings=settings, lake=lake, keyring=keyring)
    with lake.commit(step=STEP, business_date=business_date) as commit:
        now_known = _recorded(commit, asked.batch_id)
        if now_known != known:  # another run of the same pull was faster: its commit stands
            return _receipt(asked, now_known, "unchanged", {})
        if known:  # the raw bytes were lost before they landed: what came now takes their place
            commit.execute("delete from control.pulled where batch_id = $batch", {"batch": asked.batch_id})
        commit.insert("control.pulled", pa.Table.from_pylist([asdict(row) for row in stored], _PULLED_SCHEMA))
        ledger.append(
            commit,
            stream=f"feed.{feed}",
            kind="pulled",
            business_date=business_date,
            body=_ledger_body(asked, stored, source.totals, replaces=len(known)),
        )
    return _receipt(asked, stored, "pulled", source.totals.counts)


def _fetch(
    asked: Plan, *, contract: Contract, settings: Settings, lake: Lake, keyring: Keyring
) -> tuple[Source, list[Pulled]]:
    """Every object of the window into the vault, one after the other."""
    recipient = _day_recipient(settings, asked.business_date)
    request = WindowRequest(
        contract=contract,
        connection=connections.load(settings, contract.source.connection),
        settings=settings,
        window=asked.window,
        business_date=asked.business_date,
        is_first=asked.is_first,
        already_named=_names_taken(lake, asked),
    )
    if contract.source.kind not in SOURCES:
        raise Bug(f"no way to pull {contract.source.kind!r}", where=contract.feed)
    source = SOURCES[contract.source.kind](request)
    shelf = _Shelf(asked, settings, keyring.key("vault"), recipient)
    taken = _addresses_taken(lake, asked) if source.may_resend else frozenset()
    for item in source.objects():
        if source.may_resend and shelf.address_of(item) in taken | shelf.addresses:
            if not item.was_taken:
                _count(source, "repeated")
        elif not shelf.put(item):
            raise _repeated(request, item.source_name)
        elif item.was_taken:  # the same name with other bytes: kept as evidence, the versions decide
            _count(source, "altered")
    if not shelf.rows:
        raise _repeated(request, "every file")
    return source, shelf.rows


class _Shelf:
    """Where the window's objects go; rows: what control.pulled will say of them."""

    def __init__(self, asked: Plan, settings: Settings, address_key: Key, recipient: str) -> None:
        self._asked, self._settings = asked, settings
        self._address_key, self._recipient = address_key, recipient
        self.rows: list[Pulled] = []
        self.addresses: set[str] = set()

    def address_of(self, item: SourceObject) -> str:
        return vault.address_of(self._asked.feed, item.content, address_key=self._address_key)

    def put(self, item: SourceObject) -> bool:
        """Store one object; False if this window has brought the same bytes before."""
        reference = vault.put(
            self._settings,
            self._asked.feed,
            self._asked.business_date,
            item.content,
            address_key=self._address_key,
            recipient=self._recipient,
        )
        if reference.address in self.addresses:
            return False
        self.addresses.add(reference.address)
        self.rows.append(_row(self._asked, len(self.rows), item, reference))
        return True


def _count(source: Source, what: str) -> None:
    source.totals.counts[what] = source.totals.counts.get(what, 0) + 1


def _repeated(request: WindowRequest, which: str) -> SourceBroken:
    return SourceBroken(
        f"{request.connection.conn_id} sent the same bytes twice",
        where=f"{request.where}, {which}",
        why="where a page or file repeats another one, something else is missing",
        do="nothing was recorded; run it again, and if it stays so tell the agency",
    )


def _row(asked: Plan, object_no: int, item: SourceObject, reference: vault.ObjectRef) -> Pulled:
    return Pulled(
        batch_id=asked.batch_id,
        feed=asked.feed,
        business_date=asked.business_date,
        window_from=asked.window.from_date,
        window_to=asked.window.to_date,
        object_no=object_no,
        address=reference.address,
        ciphertext_sha256=reference.ciphertext_sha256,
        bytes=reference.bytes,
        declared_records=item.declared_records,
        declared_fen=item.declared_fen,
        source_name=item.source_name,
    )


def _day_recipient(settings: Settings, business_date: date) -> str:
    """The public key under which the day's raw bytes are encrypted; its secret half is the sealer's."""
    path = vault.day_recipient_path(settings, business_date)
    if not path.is_file():
        raise KeyUnavailable(
            f"no key yet for the raw bytes of {business_date}",
            where=str(path),
            why="they are encrypted before they are stored; the secret half belongs to the sealer alone",
            do=f"sanche keys day --date {business_date}",
        )
    return str(path.read_text()).strip()


def _recorded(source: Lake | Commit, batch_id: str) -> list[Pulled]:
    columns = ", ".join(_PULLED_SCHEMA.names)
    sql = f"select {columns} from control.pulled where batch_id = $batch order by object_no"
    batch = {"batch": batch_id}
    found = source.execute(sql, batch).fetchall() if isinstance(source, Commit) else source.rows(sql, batch)
    return [Pulled(*row) for row in found]


# Only what landed counts as taken: a batch that was held may never land, and then this one brings its files.
_TAKEN = """from control.pulled where feed = $feed and batch_id <> $batch
and batch_id in (select batch_id from control.window where fate = 'landed')"""


def _names_taken(lake: Lake, asked: Plan) -> frozenset[str]:
    """Files that the feed's landed batches brought: fetched once."""
    return frozenset(_taken(lake, asked, "source_name"))


def _addresses_taken(lake: Lake, asked: Plan) -> frozenset[str]:
    """Bytes that the feed's landed batches hold: a resend under another name adds nothing."""
    return frozenset(_taken(lake, asked, "address"))


def _taken(lake: Lake, asked: Plan, column: str) -> list[str]:
    found = lake.rows(
        f"select distinct {column} {_TAKEN}",
        {"feed": asked.feed, "batch": asked.batch_id},
    )
    return [row[0] for row in found]


def _is_intact(settings: Settings, row: Pulled) -> bool:
    try:
        with _path(settings, row).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == row.ciphertext_sha256
    except OSError:
        return False


def _path(settings: Settings, row: Pulled) -> Path:
    return vault.object_path(settings, row.feed, row.business_date, row.address)


def _ledger_body(asked: Plan, stored: list[Pulled], totals: Totals, *, replaces: int) -> dict[str, Any]:
    listed = "".join(f"{row.address} {row.ciphertext_sha256}\n" for row in stored)
    body: dict[str, Any] = {
        "batch_id": asked.batch_id,
        "window_from": asked.window.from_date.isoformat(),
        "window_to": asked.window.to_date.isoformat(),
        "objects": len(stored),
        "bytes": sum(row.bytes for row in stored),
        # SHA-256 over "address ciphertext-hash" of each object: the raw batch that everything later leads back to.
        "objects_sha256": hashlib.sha256(listed.encode()).hexdigest(),
        "declared_records": totals.declared_records,
        "declared_fen": totals.declared_fen,
        **totals.counts,
    }
    return body | ({"replaces_objects": replaces} if replaces else {})


def _receipt(asked: Plan, rows: list[Pulled], fate: str, counts: dict[str, int]) -> Receipt:
    declared = [row.declared_records for row in rows if row.declared_records is not None]
    return Receipt(
        step=STEP,
        subject=asked.feed,
        business_date=asked.business_date,
        fate=fate,
        batch_id=asked.batch_id,
        counts={"objects": len(rows), "bytes": sum(row.bytes for row in rows)}
        | ({"records": sum(declared)} if declared else {})
        | counts,
    )


_ARROW = {"str": pa.string(), "date": pa.date32(), "int": pa.int64(), "int | None": pa.int64()}
_PULLED_SCHEMA = pa.schema([pa.field(column.name, _ARROW[str(column.type)]) for column in fields(Pulled)])
