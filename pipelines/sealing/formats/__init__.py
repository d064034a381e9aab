"""One module per format that a source may send: ndjson, arrow, delimited.

Promises: each reads one object's bytes into stretches of rows and counts physical records on its own.
Refuses:  what is not the format at all (SourceBroken); a single broken record is a row, not an error.
Not here: which format a feed has (contracts/).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import duckdb

from pipelines.contracts import Contract
from pipelines.sealing.parsed import Rows, Tally


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader may use: the contract, a DuckDB connection that cannot spill, a place for its counts."""

    contract: Contract
    con: duckdb.DuckDBPyConnection
    tally: Tally
    where: str

    @property
    def names(self) -> list[str]:
        return [field.name for field in self.contract.fields]


Reader = Callable[[bytes, Reading], Iterator[Rows]]


def reader_of(format_name: str) -> Reader:
    """Raises ContractBroken."""
    from pipelines.errors import ContractBroken
    from pipelines.sealing.formats import arrow_stream, delimited, ndjson

    readers: dict[str, Reader] = {
        "ndjson": ndjson.read,
        "arrow": arrow_stream.read,
        "delimited": delimited.read,
    }
    if format_name not in readers:
        raise ContractBroken(f"no such format: {format_name}", why=f"sealing reads {', '.join(readers)}")
    return readers[format_name]
