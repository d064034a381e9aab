"""Which batch a business date lands, and what the lake already knows about it.

Promises: the batch that was pulled for the window that ends with the business date; what landed is never landed
          again, what was held is not judged again under the same contract.
Refuses:  a date for which nothing was pulled.
Not here: pulling (sources/), which moves nothing here either: the watermark follows from control.window.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, timedelta

import pyarrow as pa

from pipelines.calendar import Window
from pipelines.contracts import Contract
from pipelines.errors import Refused
from pipelines.lake import Lake, door

USUAL_NIGHTS = (5, 14)  # at least five nights make a habit; older ones than the last fourteen do not count

OBJECTS = """
select batch_id, window_from, window_to, address, declared_records, declared_fen, coalesce(source_name, '')
from control.pulled where feed = $feed and business_date = $day and window_to = $until
order by window_from desc, batch_id, object_no
"""
FATES = """
select batch_id, fate, gate, physical, control_records, landed, quarantined, duplicates
from control.batch where feed = $feed and batch_id in (select unnest($batches))
"""
USUAL_ROWS = """
select count(*), median((physical - control_records) / (window_to - window_from)) from (
    from control.batch where feed = $feed and fate = 'landed' and kind = 'nightly' and business_date < $day
    order by business_date desc limit $most)
"""
KNOWN = """
select record_key, source_updated_at, record_hash, batch_id, object_address, row_no
from landed.{feed} semi join batch_keys using (record_key)
"""


@dataclass(frozen=True, slots=True)
class PulledObject:
    """One object in the vault, and what its sender said of it."""

    address: str
    declared_records: int | None
    declared_fen: int | None
    source_name: str


@dataclass(frozen=True, slots=True)
class PulledBatch:
    """What was pulled for one window. is_first: the feed's history, known only from the records' own clocks."""

    batch_id: str
    feed: str
    business_date: date
    window: Window
    objects: tuple[PulledObject, ...]
    is_first: bool

    @property
    def kind(self) -> str:
        return "first_load" if self.is_first else "nightly"

    def seal_request(self) -> bytes:
        """What the sealer is asked for: JSON, ids only."""
        day = self.business_date.isoformat()
        objects = []
        for item in self.objects:
            told = {"address": item.address, "business_date": day}
            declared = {"declared_records": item.declared_records, "declared_fen": item.declared_fen}
            objects.append(told | {name: value for name, value in declared.items() if value is not None})
        request = {"batch_id": self.batch_id, "feed": self.feed, "business_date": day, "objects": objects}
        return json.dumps(request).encode()


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a batch earlier."""

    batch_id: str
    fate: str
    contract_sha256: str
    reasons: list[str]
    counts: dict[str, int]


def find(lake: Lake, feed: str, business_date: date) -> PulledBatch:
    """The batch of this date's window: of several, the one that reaches back least. Raises Refused."""
    until = business_date + timedelta(days=1)
    rows = lake.rows(OBJECTS, {"feed": feed, "day": business_date, "until": until})
    if not rows:
        raise Refused(
            f"nothing to land for {feed} on {business_date}",
            why="its window was not pulled",
            do=f"sanche pull {feed} --date {business_date}",
        )
    batch_id, window_from, window_to = rows[0][:3]
    objects = tuple(PulledObject(*row[3:]) for row in rows if row[0] == batch_id)
    is_first = not lake.rows("select 1 from control.window where feed = $feed limit 1", {"feed": feed})
    return PulledBatch(batch_id, feed, business_date, Window(window_from, window_to), objects, is_first)


def landed_for(lake: Lake, feed: str, business_date: date) -> Fate | None:
    """The batch that has landed this business date already, if one has."""
    covering = lake.rows(
        "select batch_id from control.window where feed = $feed and fate = 'landed' "
        "and from_date <= $day and $day < to_date order by from_date desc limit 1",
        {"feed": feed, "day": business_date},
    )
    return _fate(lake, feed, covering[0][0], "landed") if covering else None


def held_before(lake: Lake, batch: PulledBatch, contract: Contract) -> Fate | None:
    """The batch's earlier refusal by the gate, under the very same contract."""
    fate = _fate(lake, batch.feed, batch.batch_id, "held")
    return fate if fate is not None and fate.contract_sha256 == contract.sha256 else None


def _fate(lake: Lake, feed: str, batch_id: str, fate: str) -> Fate | None:
    rows = [row for row in lake.rows(FATES, {"feed": feed, "batches": [batch_id]}) if row[1] == fate]
    if not rows:
        return None
    *_, (_, _, gate, physical, control, landed, quarantined, duplicates) = rows
    told = json.loads(gate)
    counts = {
        "physical": physical,
        "control_records": control,
        "landed": landed,
        "quarantined": quarantined,
        "duplicates": duplicates,
    }
    return Fate(batch_id, fate, told["contract_sha256"], told["reasons"], counts)


def windows_landed(lake: Lake, feed: str) -> int:
    """How many windows the feed has landed: who looks something up and commits later compares."""
    return int(lake.rows("select count(*) from control.window where feed = $feed", {"feed": feed})[0][0])


def usual_rows(lake: Lake, batch: PulledBatch) -> int | None:
    """What the feed brings in as many nights as this window has, if it has a habit yet."""
    least, most = USUAL_NIGHTS
    nights, median = lake.rows(USUAL_ROWS, {"feed": batch.feed, "day": batch.business_date, "most": most})[0]
    if nights < least:
        return None
    return int(median * (batch.window.to_date - batch.window.from_date).days)


def known_versions(lake: Lake, feed: str, keys: pa.Table) -> pa.Table:
    """Every landed version of these records. keys: one column record_key."""
    if not lake.has_table(f"landed.{feed}"):
        return _NO_VERSIONS
    return _looked_up(lake, keys.rename_columns(["record_key"]), KNOWN.format(feed=feed))


def known_tokens(lake: Lake, feed: str, field: str, tokens: pa.Table) -> pa.Table:
    """Those of these tokens that a landed record of another feed, or of this one, is known by."""
    column = f"{field}_token"
    if column not in lake.columns(f"landed.{feed}"):
        return pa.table({"token": pa.array([], pa.string())})
    sql = f'select token from batch_keys semi join landed.{feed} there on there."{column}" = batch_keys.token'
    return _looked_up(lake, tokens.rename_columns(["token"]), sql)


def _looked_up(lake: Lake, keys: pa.Table, sql: str) -> pa.Table:
    # Copied first: a join may push a filter on a UUID down into an Arrow scan, which DuckDB 1.5 cannot do (seen).
    lake.con.register("arrow_keys", keys)
    # A UUID stays 16 bytes: its text is four times as long and twelve times as slow.
    lake.con.execute("set arrow_lossless_conversion = true")
    try:
        with door("looking up what is known"):
            lake.con.execute("create or replace temp table batch_keys as from arrow_keys")
        return lake.query(sql)
    finally:
        lake.con.execute("drop table if exists temp.batch_keys; set arrow_lossless_conversion = false")
        lake.con.unregister("arrow_keys")


_NO_VERSIONS = pa.table(
    {
        "record_key": pa.array([], pa.string()),
        "source_updated_at": pa.array([], pa.timestamp("us", "UTC")),
        "record_hash": pa.array([], pa.string()),
        "batch_id": pa.array([], pa.string()),
        "object_address": pa.array([], pa.string()),
        "row_no": pa.array([], pa.int64()),
    }
)
