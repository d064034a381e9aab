"""What a step hands back: ids, counts, hashes. The only thing that an XCom ever holds.

Promises: one line of canonical JSON, the same for the same work.
Refuses:  values of records, by type: counts are integers, the rest are ids and hashes made by us.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import date


@dataclass(frozen=True, slots=True)
class Receipt:
    """step: name of the step; subject: feed, agreement or ''; fate: landed | held | unchanged | built | ..."""

    step: str
    business_date: date
    fate: str
    subject: str = ""
    batch_id: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        record = asdict(self) | {"business_date": self.business_date.isoformat()}
        return json.dumps(record, sort_keys=True, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Receipt:
        record = json.loads(text)
        return cls(**(record | {"business_date": date.fromisoformat(record["business_date"])}))
