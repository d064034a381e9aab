"""AES-256 over columns of 16-byte blocks: the permutation behind every token, and AES-CMAC in bulk.

ECB is right here and almost nowhere else: each row is exactly one block that is encrypted on its own, equal
identifiers are meant to give equal tokens (that is what joins them), and distinct identifiers are distinct
blocks, so there is no second block whose repetition could show. Linters distrust the mode, rightly; that is why
the hub uses it in this one small module, which has published vectors (FIPS 197, SP 800-38B).

Promises: one call to the cipher per column (per block position for CMAC); row i of the result belongs to row i.
Refuses:  anything but rows of 16 bytes and keys of 32 (16 for the published vectors).
Not here: what is in a block (tokens).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

Blocks = npt.NDArray[np.uint8]
BLOCK = 16


def encrypt_blocks(key: bytes, blocks: Blocks) -> Blocks:
    """(n, 16) in, (n, 16) out: each row encrypted by itself."""
    return _run(_cipher(key).encryptor(), blocks)


def decrypt_blocks(key: bytes, blocks: Blocks) -> Blocks:
    """The inverse of encrypt_blocks."""
    return _run(_cipher(key).decryptor(), blocks)


class Chain:
    """AES-CMAC (SP 800-38B) over many messages in lock-step: block j of every message at once.

    Feed whole blocks with `absorb`, then `finish` with the last, complete or padded, block.
    """

    def __init__(self, key: bytes, rows: int) -> None:
        self._encryptor = _cipher(key).encryptor()
        self._complete, self._padded = _subkeys(self._encryptor.update(bytes(BLOCK)))
        self._state: Blocks = np.zeros((rows, BLOCK), np.uint8)
        self._spare: Blocks = np.empty(rows * BLOCK + BLOCK - 1, np.uint8)

    def absorb(self, blocks: Blocks, rows: npt.NDArray[np.intp] | None = None) -> None:
        """One more block for every row, or for the given rows only."""
        if rows is None:
            np.bitwise_xor(self._state, blocks, out=self._state)
            self._encrypt()
        else:
            self._state[rows] = _run(self._encryptor, self._state[rows] ^ blocks)

    def finish(self, last: Blocks, *, padded: bool) -> Blocks:
        self.absorb(last ^ (self._padded if padded else self._complete))
        return self._state

    def _encrypt(self) -> None:
        flat: Any = self._state.reshape(-1)
        room: Any = self._spare
        if flat.size:
            self._encryptor.update_into(flat, room)
            self._state[:] = self._spare[: flat.size].reshape(-1, BLOCK)


def cmac(key: bytes, messages: Blocks) -> Blocks:
    """AES-CMAC of each row of a (n, length) byte matrix: 16 bytes a row."""
    count, length = messages.shape
    whole = max(-(-length // BLOCK), 1) * BLOCK
    padded = np.zeros((count, whole), np.uint8)
    padded[:, :length] = messages
    if length < whole:
        padded[:, length] = 0x80
    chain = Chain(key, count)
    for at in range(0, whole - BLOCK, BLOCK):
        chain.absorb(padded[:, at : at + BLOCK])
    return chain.finish(padded[:, whole - BLOCK :], padded=length < whole)


def _cipher(key: bytes) -> Cipher[modes.ECB]:
    return Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305  see the module's head


def _run(context: CipherContext, blocks: Blocks) -> Blocks:
    if blocks.ndim != 2 or blocks.shape[1] != BLOCK or blocks.dtype != np.uint8:
        raise ValueError("rows of 16 bytes are needed")
    flat: Any = np.ascontiguousarray(blocks).reshape(-1)
    # the cipher asks for up to one block less one byte of room beyond the output
    out: Any = np.empty(flat.size + BLOCK - 1, np.uint8)
    written = context.update_into(flat, out) if flat.size else 0
    assert written == flat.size
    return np.asarray(out[: flat.size].reshape(-1, BLOCK))


def _subkeys(zero: bytes) -> tuple[Blocks, Blocks]:
    first = _doubled(zero)
    return np.frombuffer(first, np.uint8), np.frombuffer(_doubled(first), np.uint8)


def _doubled(block: bytes) -> bytes:
    """Multiplication by x in GF(2^128), as SP 800-38B 6.1 makes its subkeys."""
    number = int.from_bytes(block) << 1
    if number >> 128:
        number = (number & ((1 << 128) - 1)) ^ 0x87
    return number.to_bytes(BLOCK)
