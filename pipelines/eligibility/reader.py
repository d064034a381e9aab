"""Take a YAML document apart key by key; what is left over is a typo.

Promises: a complaint names the file and the key, and what would be right.
Refuses:  missing and unknown keys, values of another kind (ContractBroken).
Not here: what a product means (load.py).
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any, NoReturn

from pipelines.errors import ContractBroken

MISSING = object()


class Reader:
    """One mapping of a document. `close` complains about keys that nobody asked for."""

    def __init__(self, document: Any, *, file: str, at: str = "") -> None:
        self.file = file
        self.at = at
        if not isinstance(document, dict):
            self.broken("", "is a mapping of keys to values")
        self._left: dict[str, Any] = dict(document)

    def broken(self, key: str, why: str) -> NoReturn:
        place = ".".join(part for part in (self.at, key) if part)
        raise ContractBroken(
            f"product file {self.file} is malformed",
            where=f"{self.file}, {place}" if place else self.file,
            why=why,
            do="schemas/products/c1.yaml and gate.yaml show every key",
        ) from None

    def take(self, key: str, default: Any = MISSING) -> Any:
        if key in self._left:
            return self._left.pop(key)
        if default is MISSING:
            self.broken(key, "is missing")
        return default

    def names(self) -> list[str]:
        """The keys not taken yet, in the file's order."""
        return list(self._left)

    def close(self) -> None:
        if self._left:
            self.broken(", ".join(sorted(map(str, self._left))), "no such key")

    def text(self, key: str, default: Any = MISSING) -> str:
        value = self.take(key, default)
        if not isinstance(value, str) or (not value and default is MISSING):
            self.broken(key, "is text")
        return value

    def one_of(self, key: str, allowed: tuple[str, ...], default: Any = MISSING) -> str:
        value = self.text(key, default)
        if value not in allowed:
            self.broken(key, "is one of " + ", ".join(filter(None, allowed)))
        return value

    def whole(self, key: str, *, low: int = 0, default: Any = MISSING) -> int:
        value = self.take(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < low:
            self.broken(key, f"is a whole number from {low} up")
        return value

    def number(self, key: str) -> Decimal:
        """An exact decimal, as written."""
        value = self.take(key)
        if not isinstance(value, int | float) or isinstance(value, bool):
            self.broken(key, "is a number")
        return Decimal(str(value))

    def day(self, key: str) -> date:
        value = self.take(key)
        if type(value) is not date:
            self.broken(key, "is a date, YYYY-MM-DD, without quotes")
        return value

    def day_or_none(self, key: str) -> date | None:
        if self._left.get(key, MISSING) is None:
            return self._left.pop(key)  # type: ignore[no-any-return]
        return self.day(key)

    def words(self, key: str) -> tuple[str, ...]:
        value = self.take(key)
        if not isinstance(value, list) or not value or not all(isinstance(word, str) and word for word in value):
            self.broken(key, "is a list of words")
        return tuple(value)

    def inner(self, key: str, default: Any = MISSING) -> Reader:
        return Reader(self.take(key, default), file=self.file, at=".".join(filter(None, (self.at, key))))
