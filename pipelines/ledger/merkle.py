"""The Merkle tree of RFC 6962, section 2.1: one root over many leaves, and short proofs that a leaf is under it.

Promises: roots and audit paths as the RFC defines them; leaf and node hashes differ in their first byte, so that
          no leaf can pass for a node.
Refuses:  an empty tree (a head over nothing says nothing); a path that does not lead to the root.
Not here: what a leaf says (head.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pipelines.errors import Bug, VerificationFailed


def leaf_hash(leaf: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + leaf).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _split(count: int) -> int:
    """The largest power of two smaller than count."""
    return 1 << (count - 1).bit_length() - 1


def root_of(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 over leaves in their order."""
    if not leaves:
        raise Bug("a Merkle tree without leaves")
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    at = _split(len(leaves))
    return _node(root_of(leaves[:at]), root_of(leaves[at:]))


def path_of(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """PATH of RFC 6962: the siblings from the leaf at index up to the root."""
    if not 0 <= index < len(leaves):
        raise Bug("an audit path for a leaf that is not in the tree")
    if len(leaves) == 1:
        return []
    at = _split(len(leaves))
    if index < at:
        return [*path_of(leaves[:at], index), root_of(leaves[at:])]
    return [*path_of(leaves[at:], index - at), root_of(leaves[:at])]


def check_path(leaf: bytes, *, index: int, count: int, path: Sequence[bytes], root: bytes) -> None:
    """Raises VerificationFailed unless path leads from the leaf at index, of count leaves, to root."""
    if _climb(leaf_hash(leaf), index, count, list(path)) != root:
        raise VerificationFailed("an audit path does not lead to the ledger's head")


def _climb(start: bytes, index: int, count: int, path: list[bytes]) -> bytes | None:
    if not 0 <= index < count:
        return None
    if count == 1:
        return start if not path else None
    if not path:
        return None
    at, top = _split(count), path[-1]
    if index < at:
        below = _climb(start, index, at, path[:-1])
        return None if below is None else _node(below, top)
    below = _climb(start, index - at, count - at, path[:-1])
    return None if below is None else _node(top, below)
