"""The banks' drop: a read-only SFTP server with one GB18030 file per feed, date and bank.

Promises: <FEED>_<YYYYMMDD>_<BANK>.txt with a header record, the column names, the data and a trailer
          (rows, sum in fen), and an empty <same name>.done beside it; the file of the first business date holds
          everything up to its end, each later one its own day; a broken line of the province is written as it is.
Refuses:  every request that would write, and every path outside the drop.
Not here: the other agencies.
"""

from __future__ import annotations

import asyncio
import hmac
from datetime import date
from pathlib import Path
from typing import Any

import asyncssh

from pipelines.province.servers import books, child

FEEDS = ("bank_account", "bank_txn", "bank_obligation")
FOLDER = "outgoing"


def write_drop(world_dir: Path, root: Path) -> int:
    """Write every file that the banks ever deliver below root/outgoing. Returns how many."""
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    dates = books.business_dates(world_dir)
    written = 0
    for feed in FEEDS:
        book = books.open_book(world_dir, feed)
        if book is None:
            continue
        for (day, bank), records in _by_file(book, dates).items():
            name = f"{feed.upper()}_{day:%Y%m%d}_{bank}.txt"
            (folder / name).write_bytes(_file(book, bank, day, records))
            (folder / name).with_suffix(".txt.done").touch()
            written += 1
    return written


def _by_file(book: books.Book, dates: list[date]) -> dict[tuple[date, str], list[tuple[Any, Any]]]:
    """(date, bank) -> (line, fen) in the order of updated_at. Every bank has a file for every date."""
    line = " || '|' || ".join(f"coalesce({_text(book, name)}, '')" for name in book.published)
    override = "raw_line_override" if "raw_line_override" in book.columns else "null"
    money = book.feed in books.MONEY_FIELD
    fen = f'try_cast("{books.MONEY_FIELD[book.feed]}" as bigint)' if money else "0"
    shown = "visible_on::date" if "visible_on" in book.columns else "(cut_at at time zone 'Asia/Shanghai')::date"
    with books.connect() as con:
        found = con.execute(
            f"""select greatest({shown}, $first) as day, bank_code,
                       coalesce({override}, {line}) as line, {fen} as fen
                from (select *, {book.cut_at} as cut_at from {book.source})
                where cut_at is not null order by cut_at, file_row_number""",
            {"first": dates[0]},
        ).fetchall()
    banks = sorted({bank for _, bank, _, _ in found if bank})
    files: dict[tuple[date, str], list[tuple[Any, Any]]] = {(day, bank): [] for day in dates for bank in banks}
    for day, bank, text, amount in found:
        files.get((day, bank), []).append((text, amount))  # a day after the last night is never delivered
    return files


def _text(book: books.Book, name: str) -> str:
    """SQL: the field as text; a separator inside a value would be the bank's own fault: a blank here."""
    return f"translate(({book.rendered(name)})::varchar, '|' || chr(10) || chr(13), '   ')"


def _file(book: books.Book, bank: str, day: date, records: list[tuple[Any, Any]]) -> bytes:
    lines = [
        f"H|{book.feed}|{bank}|{day:%Y%m%d}",
        "|".join(book.published),
        *(line for line, _ in records),
        f"T|{len(records)}|{sum(fen or 0 for _, fen in records)}",
    ]
    encoded = [line if isinstance(line, bytes) else line.encode("gb18030", "replace") for line in lines]
    return b"\n".join(encoded) + b"\n"


class ReadOnlyDrop(asyncssh.SFTPServer):
    """The drop, chrooted; whatever would change it is refused."""

    root = b""

    def __init__(self, channel: Any) -> None:
        super().__init__(channel, chroot=self.root)

    def open(self, path: bytes, pflags: int, attrs: Any) -> Any:
        if pflags & ~asyncssh.FXF_READ:
            raise asyncssh.SFTPPermissionDenied("read only")
        return super().open(path, pflags, attrs)


def _refuse(*_: Any) -> Any:
    raise asyncssh.SFTPPermissionDenied("read only")


for _request in (
    *("open56", "write", "remove", "rename", "posix_rename", "mkdir", "rmdir"),
    *("setstat", "lsetstat", "fsetstat", "symlink", "link"),
):
    setattr(ReadOnlyDrop, _request, _refuse)


class OneUser(asyncssh.SSHServer):
    """The hub's login, by password or by its public key."""

    login = ""
    password = ""

    def password_auth_supported(self) -> bool:
        return bool(self.password)

    def validate_password(self, username: str, password: str) -> bool:
        known = (self.login, self.password)
        return all(
            hmac.compare_digest(a.encode(), b.encode()) for a, b in zip(known, (username, password), strict=True)
        )


async def run(config: dict[str, Any], root: Path) -> None:
    ReadOnlyDrop.root = str(root).encode()
    OneUser.login, OneUser.password = config["login"], config["password"]
    loop = asyncio.get_running_loop()
    leaving = asyncio.Event()
    server = await asyncssh.create_server(
        OneUser,
        child.LOOPBACK,
        config["port"],
        server_host_keys=[asyncssh.import_private_key(config["host_key"])],
        sftp_factory=ReadOnlyDrop,
        allow_scp=False,
        encoding=None,
        agent_forwarding=False,
        compression_algs=None,
    )
    child.say_ready()

    def leave() -> None:
        loop.call_soon_threadsafe(leaving.set)

    child.when_parent_leaves(leave)
    await leaving.wait()
    server.close()


def main() -> None:
    config = child.read_config()
    root = Path(config["run_dir"]) / "banks"
    write_drop(Path(config["world_dir"]), root)
    asyncio.run(run(config, root))


if __name__ == "__main__":
    main()
