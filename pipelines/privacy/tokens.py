"""Identifiers as tokens: one 16-byte block per identifier, or a CMAC where the value does not fit one.

Promises: the same identifier gives the same token in every feed, and no two packable identifiers share one;
          a wrong key shows in the fixed bytes when a block is opened again.
Refuses:  a block that does not open to an identifier (VerificationFailed).
Not here: the cipher (aes), the keys (keyring), canonical forms (identifiers/).

A block, big-endian:   byte 0  suite (1 = AES-256)          byte 1  kind of value
  a number of digits:  bytes 2-6 zero, byte 7 its length, bytes 8-15 the number
  free-form text:      bytes 2-3 zero, bytes 4-15 18 characters, three to each 16 bits in base 40
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import VerificationFailed
from pipelines.identifiers import citizen_id
from pipelines.identifiers import text as columns
from pipelines.privacy.aes import BLOCK, Blocks, Chain, cmac

SUITE_AES = 1
CITIZEN_ID, FREE_ID, MOBILE, BANK_ACCOUNT = 1, 2, 3, 4
LONGEST_PACKED_ACCOUNT = 19  # 10^19 < 2^64
_BASE40 = "\x000123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-()"
_FREE_LENGTH = 18
_TO_BASE40 = np.zeros(256, np.uint16)
for _index, _character in enumerate(_BASE40):
    _TO_BASE40[ord(_character)] = _index


def pack_citizen_id(values: Any) -> Blocks:
    """Blocks for canonical citizen ids: 18 characters, or the free form of those who have no such number.

    values: text column without NULLs, canonical. The check character is left out: it follows from the digits.
    """
    array = columns.one_array(values)
    data, starts, lengths = columns.buffers(array)
    blocks = np.zeros((len(array), BLOCK), np.uint8)
    resident = lengths == 18
    if resident.any():
        rows = columns.matrix(data, starts[resident], 18)
        digits = columns.digits(rows[:, :17])
        resident[resident] = digits
        blocks[resident] = _number_blocks(CITIZEN_ID, rows[digits][:, :17])
    if not resident.all():
        blocks[~resident] = _free_blocks(array.filter(pa.array(~resident)))
    return blocks


def pack_mobile(values: Any) -> Blocks:
    """Blocks for canonical mobile numbers (eleven digits)."""
    return _pack_digits(MOBILE, values, 11, 11)


def pack_bank_account(values: Any) -> Blocks:
    """Blocks for canonical account numbers of at most 19 digits; leading zeros count."""
    return _pack_digits(BANK_ACCOUNT, values, 1, LONGEST_PACKED_ACCOUNT)


def unpack_block(block: bytes) -> tuple[int, str]:
    """(kind, canonical value) of one block. Raises VerificationFailed if it is none: wrong key, or not a token."""
    suite, kind = block[0], block[1]
    if suite == SUITE_AES and kind in (CITIZEN_ID, MOBILE, BANK_ACCOUNT) and not any(block[2:7]):
        length, number = block[7], int.from_bytes(block[8:])
        value = f"{number:0{length}d}"
        if len(value) == length and length <= LONGEST_PACKED_ACCOUNT:
            return kind, value + (citizen_id.make_check_digit(value) if kind == CITIZEN_ID else "")
    if suite == SUITE_AES and kind == FREE_ID and not any(block[2:4]):
        groups = struct.unpack(">6H", block[4:])
        if all(group < 40**3 for group in groups):
            text = "".join(_BASE40[g // 1600] + _BASE40[g // 40 % 40] + _BASE40[g % 40] for g in groups)
            return kind, text.rstrip("\0")
    raise VerificationFailed("not an identifier's block", why="its fixed bytes are wrong: another key made it")


def cmac_column(key: bytes, kind: str, issuers: Any, values: Any) -> Blocks:
    """AES-CMAC of (kind, issuer, value), each with its length before it, for a whole column.

    issuers: a text column as long as `values`, or one text for all rows; values: text without NULLs.
    """
    array = columns.one_array(values)
    result = np.empty((len(array), BLOCK), np.uint8)
    data, starts, lengths = columns.buffers(array)
    names, codes = _issuers(issuers, len(array))
    order = np.lexsort((lengths, codes))
    for rows in np.split(order, np.flatnonzero(_changes(codes[order], lengths[order])) + 1):
        if len(rows):
            length = int(lengths[rows[0]])
            head = message_head(kind, names[int(codes[rows[0]])], length)
            result[rows] = cmac(key, _messages(head, columns.matrix(data, starts[rows], length)))
    return result


def message_head(kind: str, issuer: str, value_bytes: int) -> bytes:
    """What stands before the value in a CMAC's message."""
    parts = [struct.pack(">H", len(part)) + part for part in (kind.encode(), issuer.encode())]
    return b"".join(parts) + struct.pack(">I", value_bytes)


def mac_rows(key: bytes, label: str, row_columns: list[Any]) -> Blocks:
    """AES-CMAC over whole rows of text or binary columns (NULL differs from empty): 16 bytes a row.

    The message of a row is `encode_row`, in whole blocks; columns are fed one after the other in lock-step.
    """
    rows = len(row_columns[0])
    chain = Chain(key, rows)
    for block in _label_blocks(label):
        chain.absorb(block)
    for column in row_columns:
        _absorb_text(chain, _bytes(column))
    last = np.frombuffer(struct.pack(">12sI", b"end of row", len(row_columns)), np.uint8)
    return chain.finish(last, padded=False)


def encode_row(label: str, values: Sequence[str | bytes | None]) -> bytes:
    """The message that `mac_rows` authenticates, for one row: the plain definition (tests compare the two).

    A value is cut into pieces of 15 bytes; after each piece, padded with zeros, stands one byte: 16 = more
    follows, 0 to 15 = so many bytes here and the end, 255 = NULL. Instead of a value of more than 1,024 bytes
    stands its SHA-256, behind a block that says so. The row ends in the number of its columns.
    """
    blocks = list(_label_bytes(label))
    for value in values:
        raw = value.encode() if isinstance(value, str) else value or b""
        if len(raw) > _LONGEST_VALUE:
            blocks.append(_LONG_BLOCK)
            raw = hashlib.sha256(raw).digest()
        while len(raw) > 15:
            blocks.append(raw[:15] + b"\x10")
            raw = raw[15:]
        blocks.append(raw.ljust(15, b"\0") + (b"\xff" if value is None else bytes([len(raw)])))
    return b"".join(blocks) + struct.pack(">12sI", b"end of row", len(values))


def to_arrow(blocks: Blocks, null: columns.Mask | None = None) -> Any:
    """(n, 16) bytes as an Arrow fixed_size_binary(16) column, NULL where `null` is true."""
    data: Any = np.ascontiguousarray(blocks)
    validity = None
    if null is not None and null.any():
        bits: Any = np.packbits(~null, bitorder="little")
        validity = pa.py_buffer(bits)
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(BLOCK), len(blocks), [validity, pa.py_buffer(data)])


def from_arrow(column: Any) -> Blocks:
    """The (n, 16) bytes of a fixed_size_binary(16) or UUID column; NULL rows are zeros."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    array = getattr(array, "storage", array)
    buffer: Any = array.buffers()[1]
    data = np.frombuffer(buffer, np.uint8) if len(array) else np.empty(0, np.uint8)
    blocks = data[array.offset * BLOCK : (array.offset + len(array)) * BLOCK].reshape(-1, BLOCK)
    if array.null_count:
        blocks = np.where(columns.is_null(array)[:, None], np.uint8(0), blocks)
    return blocks


def to_uuid(column: Any) -> Any:
    """A fixed_size_binary(16) column as Arrow UUIDs, which DuckDB reads as UUID; the same bytes, big-endian."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return pa.ExtensionArray.from_storage(pa.uuid(), array)


def to_hex(column: Any) -> Any:
    """A 16-byte column as 32 lower-case hex characters, the form that packages carry."""
    blocks = from_arrow(column)
    text = columns.fixed_strings(_HEX[blocks].reshape(-1, 2 * BLOCK))
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return pc.if_else(pc.is_valid(array), text, pa.scalar(None, pa.string())) if array.null_count else text


def from_hex(column: Any) -> Any:
    """The inverse of to_hex; also takes the hyphens that DuckDB prints in a UUID."""
    array = pc.replace_substring(columns.one_array(column), "-", "")
    null = columns.is_null(array)
    filled = pc.fill_null(array, "0" * 2 * BLOCK)
    data, starts, lengths = columns.buffers(filled)
    if (lengths != 2 * BLOCK).any():
        raise ValueError("32 hex characters are needed")
    nibbles = _NIBBLE[columns.matrix(data, starts, 2 * BLOCK)]
    if (nibbles > 15).any():
        raise ValueError("32 hex characters are needed")
    return to_arrow(((nibbles[:, ::2] << 4) | nibbles[:, 1::2]).astype(np.uint8), null)


_HEX = np.frombuffer("".join(f"{value:02x}" for value in range(256)).encode(), np.uint8).reshape(256, 2)
_NIBBLE = np.full(256, 255, np.uint8)
for _index, _digit in enumerate("0123456789abcdef"):
    _NIBBLE[ord(_digit)] = _NIBBLE[ord(_digit.upper())] = _index


def _pack_digits(kind: int, values: Any, shortest: int, longest: int) -> Blocks:
    array = columns.one_array(values)
    data, starts, lengths = columns.buffers(array)
    blocks = np.empty((len(array), BLOCK), np.uint8)
    for width in np.unique(lengths):
        here = lengths == width
        rows = columns.matrix(data, starts[here], int(width))
        if not shortest <= width <= longest or not columns.digits(rows).all():
            raise ValueError("only canonical digits can be packed")
        blocks[here] = _number_blocks(kind, rows)
    return blocks


def _number_blocks(kind: int, rows: Blocks) -> Blocks:
    count, width = rows.shape
    number = _numbers(rows)
    blocks = np.zeros((count, BLOCK), np.uint8)
    blocks[:, 0], blocks[:, 1], blocks[:, 7] = SUITE_AES, kind, width
    blocks[:, 8:] = number.astype(">u8").view(np.uint8).reshape(count, 8)
    return blocks


def _numbers(rows: Blocks) -> npt.NDArray[np.uint64]:
    """Up to 24 ASCII digits a row as a number, eight digits to a machine word."""
    count, width = rows.shape
    padded = np.full((count, 24), 48, np.uint8)
    padded[:, 24 - width :] = rows
    words = padded.view("<u8") - np.uint64(0x3030303030303030)
    words = (words * np.uint64(10) + (words >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    words = (words * np.uint64(100) + (words >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    words = (words * np.uint64(10_000) + (words >> np.uint64(32))) & np.uint64(0xFFFFFFFF)
    return np.asarray((words[:, 0] * np.uint64(10**8) + words[:, 1]) * np.uint64(10**8) + words[:, 2])


def _free_blocks(array: Any) -> Blocks:
    padded = columns.one_array(pc.utf8_rpad(array, _FREE_LENGTH, "\0"))
    data, starts, lengths = columns.buffers(padded)
    if (lengths != _FREE_LENGTH).any():
        raise ValueError("only canonical free-form identifiers can be packed")
    characters = columns.matrix(data, starts, _FREE_LENGTH)
    codes = _TO_BASE40[characters]
    if ((codes == 0) & (characters != 0)).any():
        raise ValueError("only canonical free-form identifiers can be packed")
    groups = codes[:, 0::3] * np.uint16(1600) + codes[:, 1::3] * np.uint16(40) + codes[:, 2::3]
    blocks = np.zeros((len(padded), BLOCK), np.uint8)
    blocks[:, 0], blocks[:, 1] = SUITE_AES, FREE_ID
    blocks[:, 4:] = groups.astype(">u2").view(np.uint8).reshape(-1, 12)
    return blocks


def _issuers(issuers: Any, rows: int) -> tuple[list[str], npt.NDArray[np.int64]]:
    if isinstance(issuers, str):
        return [issuers], np.zeros(rows, np.int64)
    encoded = columns.one_array(issuers).dictionary_encode()
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return [*encoded.dictionary.to_pylist(), ""], codes  # index -1, an absent issuer, is the last: ""


def _changes(*keys: npt.NDArray[Any]) -> columns.Mask:
    changed = np.zeros(max(len(keys[0]) - 1, 0), np.bool_)
    for key in keys:
        changed |= key[1:] != key[:-1]
    return changed


def _messages(head: bytes, values: Blocks) -> Blocks:
    """head + value for values that all have one length."""
    messages = np.empty((len(values), len(head) + values.shape[1]), np.uint8)
    messages[:, : len(head)] = np.frombuffer(head, np.uint8)
    messages[:, len(head) :] = values
    return messages


def _bytes(column: Any) -> Any:
    return column if pa.types.is_binary(column.type) else columns.one_array(column)


def _label_bytes(label: str) -> list[bytes]:
    raw = label.encode().ljust(-(-len(label.encode()) // 15) * 15, b"\0")
    return [raw[at : at + 15] + b"L" for at in range(0, len(raw), 15)]


def _label_blocks(label: str) -> list[Blocks]:
    return [np.frombuffer(block, np.uint8) for block in _label_bytes(label)]


_KEEP = np.zeros((16, BLOCK), np.uint8)  # row n keeps a block's first n bytes
for _index in range(16):
    _KEEP[_index, :_index] = 255
_KEEP_ITEMS = _KEEP.view(f"V{BLOCK}").reshape(-1)
_PIECE, _MORE, _LONG, _NULL = 15, 16, 17, 255  # bytes of a value per block; the last byte's words
_LONGEST_VALUE = 1024  # lock-step costs a numpy call per piece: a cell of 10 MB would take a minute
_LONG_BLOCK = b"digest follows:" + bytes([_LONG])


def _absorb_text(chain: Chain, array: Any) -> None:
    data, starts, lengths = columns.buffers(array)
    if len(lengths) and int(lengths.max()) > _LONGEST_VALUE:
        long = lengths > _LONGEST_VALUE
        chain.absorb(np.frombuffer(_LONG_BLOCK, np.uint8), np.flatnonzero(long))
        ends = starts + lengths
        digests = [hashlib.sha256(data[a:b].data).digest() for a, b in zip(starts[long], ends[long], strict=True)]
        array = pc.replace_with_mask(array.cast(pa.binary()), pa.array(long), pa.array(digests, pa.binary()))
        data, starts, lengths = columns.buffers(array)
    if len(lengths) and (lengths == lengths[0]).all():
        _absorb_equal(chain, data, starts, int(lengths[0]))
    elif len(lengths):
        _absorb_unequal(chain, data, starts, lengths)


def _absorb_equal(chain: Chain, data: Blocks, starts: npt.NDArray[np.int64], length: int) -> None:
    """Most columns of a feed hold values of one length (times, codes): then there is nothing to mask."""
    if length < 0:
        chain.absorb(np.frombuffer(bytes(_PIECE) + bytes([_NULL]), np.uint8))
        return
    values = columns.matrix(data, starts, length)
    for at in range(0, max(length, 1), _PIECE):
        piece = values[:, at : at + _PIECE]
        more = length - at > _PIECE
        block = np.zeros((len(starts), BLOCK), np.uint8)
        block[:, : piece.shape[1]] = piece
        block[:, _PIECE] = _MORE if more else length - at
        chain.absorb(block)


def _absorb_unequal(
    chain: Chain, data: Blocks, starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
) -> None:
    null = lengths < 0
    lengths, starts = np.where(null, 0, lengths), np.where(null, 0, starts)
    first, last = int(starts.min()), int((starts + lengths).max())
    window = columns.windows(np.concatenate([data[first:last], np.zeros(BLOCK, np.uint8)]), BLOCK)
    starts = np.where(null, 0, starts - first)
    rows: npt.NDArray[np.intp] | None = None
    while True:
        more = lengths > _PIECE
        here = np.minimum(lengths, _PIECE)
        blocks = window[starts].view(np.uint8).reshape(-1, BLOCK)
        blocks &= _KEEP_ITEMS[here].view(np.uint8).reshape(-1, BLOCK)
        blocks[:, _PIECE] = np.where(null, _NULL, here + more)
        chain.absorb(blocks, rows)
        if not more.any():
            return
        rows = np.flatnonzero(more) if rows is None else rows[more]
        starts, lengths, null = starts[more] + _PIECE, lengths[more] - _PIECE, null[more]
