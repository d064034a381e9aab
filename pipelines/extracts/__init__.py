"""Extracts: agreement + consent + decision -> one recipient's package, encrypted and signed; and its receiver.

The receiver (extracts/receiver.py) is what an institution runs. Importing it brings nothing else of the hub in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.extracts.publish import extract
    from pipelines.extracts.receiver import Received, receive

__all__ = ["Received", "extract", "receive"]


def __getattr__(name: str) -> Any:
    # Lazily: an institution that imports the receiver does not load the lake.
    if name == "extract":
        from pipelines.extracts.publish import extract

        return extract
    if name in ("Received", "receive"):
        from pipelines.extracts import receiver

        return getattr(receiver, name)
    raise AttributeError(name)
