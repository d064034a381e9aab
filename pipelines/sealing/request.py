"""What the landing asks a sealer for: one batch, its objects in order, and what was declared of them.

Promises: the same request is the same bytes of JSON.
Refuses:  anything that is not such a request (Usage); a request holds ids, dates and counts, never a record.
Not here: who may ask (the landing's process starts the sealer).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import date
from typing import Any

from pipelines.errors import Usage

_ADDRESS = re.compile(r"[0-9a-f]{64}")
_WORD = re.compile(r"[a-z0-9_-]{1,100}")


@dataclass(frozen=True, slots=True)
class ObjectRequest:
    """One vault object. declared_*: what the source said of it, None = it said nothing."""

    address: str
    business_date: date
    declared_records: int | None = None
    declared_fen: int | None = None


@dataclass(frozen=True, slots=True)
class SealRequest:
    """One batch of one feed."""

    batch_id: str
    feed: str
    business_date: date
    objects: tuple[ObjectRequest, ...]

    def to_json(self) -> bytes:
        document = {
            "batch_id": self.batch_id,
            "feed": self.feed,
            "business_date": self.business_date.isoformat(),
            "objects": [_object_to_json(item) for item in self.objects],
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes | str) -> SealRequest:
        """Raises Usage."""
        try:
            document = json.loads(text)
            request = cls(
                batch_id=_matched(_WORD, document["batch_id"]),
                feed=_matched(_WORD, document["feed"]),
                business_date=date.fromisoformat(document["business_date"]),
                objects=tuple(_object_from_json(item) for item in document["objects"]),
            )
        except (ValueError, KeyError, TypeError):
            raise Usage(
                "not a request to seal",
                why="it needs batch_id, feed, business_date and objects, each with address and business_date",
                do="sealing is started by `sanche land`",
            ) from None
        return request


def _object_to_json(item: ObjectRequest) -> dict[str, Any]:
    told = {"declared_records": item.declared_records, "declared_fen": item.declared_fen}
    return {
        "address": item.address,
        "business_date": item.business_date.isoformat(),
        **{name: value for name, value in told.items() if value is not None},
    }


def _object_from_json(item: dict[str, Any]) -> ObjectRequest:
    declared = [item.get("declared_records"), item.get("declared_fen")]
    if any(value is not None and type(value) is not int for value in declared):
        raise ValueError
    return ObjectRequest(
        _matched(_ADDRESS, item["address"]), date.fromisoformat(item["business_date"]), declared[0], declared[1]
    )


def _matched(pattern: re.Pattern[str], value: Any) -> str:
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise ValueError
    return value
