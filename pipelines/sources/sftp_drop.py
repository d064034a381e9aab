"""A bank's files for a window, from its SFTP drop.

Promises: a file is taken whole, once, and only when its .done marker lies beside it and it did not grow while it
          was read; a file that comes after its night is taken by the next one; what waits is counted; a recent
          file is looked at again, so that one that was replaced after it was taken does not go unseen.
Refuses:  a host key other than the one in the connection; names that do not have the agreed form, which never
          become a path of ours; anything but a regular file; files above MAX_FILE_BYTES.
Not here: header, records and trailer; the raw bytes go to the vault.
"""

from __future__ import annotations

import asyncio
import posixpath
import re
import stat
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, NoReturn, TypeVar

import asyncssh

from pipelines.errors import Refused, SancheError, SourceBroken, SourceBusy
from pipelines.sources.window_request import SourceObject, Totals, WindowRequest

MAX_FILE_BYTES = 2**30  # the province's largest first load of one bank is 300 MB; above this, ask for parts
MAX_LISTED = 100_000
LOOK_BACK_DAYS = 3  # how long files that were taken are compared with what lies there now (trial F4)
LOOK_AGAIN_BYTES = 64 * 2**20  # larger ones (a first load) are not read twice
LOGIN_TIMEOUT_S = 20
FIRST_WAIT_S = 0.5
SESSION_TIMEOUT_S = 1800.0  # for one file: a byte now and then is no file

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class DropFile:
    """A file of the drop whose name has the agreed form."""

    name: str
    business_date: date
    bank: str


class SftpDrop:
    """One feed's files of a window."""

    may_resend = True

    def __init__(self, request: WindowRequest) -> None:
        self._request = request
        self._connection = request.connection
        self._folder = str(self._connection.extra.get("path", "/outgoing"))
        self._form = re.compile(
            rf"{re.escape(request.contract.source.path)}_(?P<date>\d{{8}})_(?P<bank>[A-Z0-9]{{1,16}})\.txt",
            re.ASCII,
        )
        self.totals = Totals()

    def objects(self) -> Iterator[SourceObject]:
        """The files that are ready, oldest first. Raises SourceBusy while a date of the window has none."""
        with asyncio.Runner() as runner:
            session = runner.run(self._patiently_open())
            try:
                names = runner.run(self._through_door(self._listed(session.sftp)))
                for file in self._due(names):
                    content = runner.run(self._through_door(self._whole(session.sftp, file.name)))
                    yield SourceObject(content, file.name)
                for file in self._taken_lately(names):
                    seen = runner.run(self._through_door(self._seen_again(session.sftp, file.name)))
                    if seen is not None:
                        yield SourceObject(seen, file.name, was_taken=True)
            finally:
                runner.run(session.close())

    # --- which files --------------------------------------------------------------------------------------

    def _due(self, names: frozenset[str]) -> list[DropFile]:
        """Files of the window, and older ones that came too late for theirs, unless they were taken before."""
        window = self._request.window
        mine = sorted(filter(None, map(self._parsed, names)), key=lambda f: (f.business_date, f.name))
        within = [f for f in mine if f.business_date < window.to_date]
        ready = [f for f in within if f"{f.name}.done" in names]
        fresh = [f for f in ready if f.name not in self._request.already_named]
        if self._request.is_first:
            fresh = [f for f in fresh if f.business_date >= window.from_date]
        self._refuse_silence({f.business_date for f in ready})
        late = sum(f.business_date < window.from_date for f in fresh)
        self.totals.counts = {
            "waiting": len(within) - len(ready),
            "absent": self._absent(within),
            "late": late,
        }
        return fresh

    def _taken_lately(self, names: frozenset[str]) -> list[DropFile]:
        """Files that an earlier batch brought and that are recent enough to be compared again."""
        since = self._request.window.from_date - timedelta(days=LOOK_BACK_DAYS)
        taken = sorted(filter(None, map(self._parsed, names & self._request.already_named)), key=lambda f: f.name)
        return [f for f in taken if since <= f.business_date < self._request.window.to_date]

    def _parsed(self, name: str) -> DropFile | None:
        found = self._form.fullmatch(name)
        if found is None:
            return None
        try:
            day = datetime.strptime(found["date"], "%Y%m%d").date()  # noqa: DTZ007  a date, no instant
        except ValueError:
            return None
        return DropFile(name, day, found["bank"])

    def _refuse_silence(self, ready: set[date]) -> None:
        missing = [day for day in self._dates() if day not in ready]
        if missing:
            raise SourceBusy(
                f"{self._connection.conn_id} has not delivered yet",
                where=f"{self._request.where}, {missing[0]}",
                why="no file with a .done marker for that date",
                do="run it again later; nothing was recorded, the next window covers this one",
            )

    def _dates(self) -> list[date]:
        """Dates that must have a file. A first load is one file, dated with the business date, or several."""
        if self._request.is_first:
            return [self._request.business_date]
        window = self._request.window
        return [window.from_date + timedelta(days=n) for n in range((window.to_date - window.from_date).days)]

    def _absent(self, within: list[DropFile]) -> int:
        """Files of the window that banks owe which have ever delivered, and that are not there at all."""
        before = filter(None, map(self._parsed, self._request.already_named))
        banks = {f.bank for f in before} | {f.bank for f in within}
        there = {(f.business_date, f.bank) for f in within}
        return sum((day, bank) not in there for day in self._dates() for bank in banks)

    # --- the session --------------------------------------------------------------------------------------

    async def _patiently_open(self) -> _Session:
        attempts = self._request.settings.source_attempts
        for attempt in range(1, attempts + 1):
            try:
                return await self._through_door(self._open())
            except SourceBusy:
                if attempt == attempts:
                    raise
                await asyncio.sleep(min(FIRST_WAIT_S * 2.0 ** (attempt - 1), 30.0))
        raise SourceBusy(f"{self._connection.conn_id} was not tried")

    async def _open(self) -> _Session:
        connection = self._connection
        key_file = connection.extra.get("private_key_file")
        ssh = await asyncssh.connect(
            connection.host,
            connection.port,
            username=connection.login,
            password=connection.password or None,
            client_keys=[str(key_file)] if key_file else None,
            known_hosts=([self._host_key()], [], []),
            # Nothing of the user who happens to run this: no ~/.ssh/config, agent, or other keys.
            config=None,
            agent_path=None,
            connect_timeout=LOGIN_TIMEOUT_S,
            login_timeout=LOGIN_TIMEOUT_S,
            keepalive_interval=15,
            compression_algs=None,
        )
        try:
            return _Session(ssh, await ssh.start_sftp_client())
        except BaseException:
            ssh.abort()
            raise

    def _host_key(self) -> Any:
        try:
            return asyncssh.import_public_key(str(self._connection.extra["host_key"]))
        except (KeyError, asyncssh.KeyImportError):
            raise Refused(
                f"{self._connection.conn_id} has no host key in connections.json",
                where=self._request.where,
                why="without it anyone could pose as the bank",
                do='put the key that the bank gave you into extra: {"host_key": "ssh-ed25519 AAAA…"}',
            ) from None

    async def _listed(self, sftp: asyncssh.SFTPClient) -> frozenset[str]:
        names = set()
        async for entry in sftp.scandir(self._folder):
            mode = entry.attrs.permissions
            if mode is None or stat.S_ISREG(mode):
                names.add(entry.filename if isinstance(entry.filename, str) else entry.filename.decode("latin-1"))
            if len(names) > MAX_LISTED:
                self._broken(f"its folder lists more than {MAX_LISTED} files")
        return frozenset(names)

    async def _seen_again(self, sftp: asyncssh.SFTPClient, name: str) -> bytes | None:
        size = (await sftp.lstat(posixpath.join(self._folder, name))).size
        return await self._whole(sftp, name) if size is not None and size <= LOOK_AGAIN_BYTES else None

    async def _whole(self, sftp: asyncssh.SFTPClient, name: str) -> bytes:
        path = posixpath.join(self._folder, name)
        before = (await sftp.lstat(path)).size
        if before is None or before > MAX_FILE_BYTES:
            self._broken(f"a file holds more than {MAX_FILE_BYTES >> 20} MiB, or hides its size", name)
        async with sftp.open(path, "rb") as file:
            content = await file.read()
        after = (await sftp.lstat(path)).size
        if not isinstance(content, bytes) or not len(content) == before == after:
            raise SourceBusy(
                f"{self._connection.conn_id} was still writing a file that it had marked as done",
                where=f"{self._request.where}, {name}",
                do="run it again later; nothing was recorded",
            )
        return content

    # --- errors -------------------------------------------------------------------------------------------

    async def _through_door(self, work: Awaitable[Answer]) -> Answer:
        """Await; asyncssh's texts name addresses and reasons of the other side, so only kinds pass."""
        try:
            return await asyncio.wait_for(work, SESSION_TIMEOUT_S)
        except SancheError:
            raise
        except asyncssh.HostKeyNotVerifiable:
            ours: SancheError = Refused(
                f"{self._connection.conn_id} shows another host key than the one we know",
                where=self._request.where,
                why="it may be someone else; no password was sent",
                do="ask the bank by another way whether it changed its key; only then change connections.json",
            )
        except asyncssh.PermissionDenied:
            ours = Refused(
                f"{self._connection.conn_id} does not accept our credential",
                where=self._request.where,
                do=f"check login and password of {self._connection.conn_id} in connections.json with the bank",
            )
        except asyncssh.SFTPError as error:
            ours = self._sftp_error(error)
        except (OSError, TimeoutError, asyncssh.Error) as error:
            ours = self._busy(f"no connection, or it broke ({type(error).__name__})")
        raise ours from None

    def _sftp_error(self, error: asyncssh.SFTPError) -> SancheError:
        if isinstance(error, (asyncssh.SFTPNoConnection, asyncssh.SFTPConnectionLost)):
            return self._busy("the connection broke")
        if isinstance(error, asyncssh.SFTPNoSuchFile):
            return self._busy("a file or the folder is gone")
        return SourceBroken(
            f"{self._connection.conn_id} did not answer as agreed",
            where=self._request.where,
            why=type(error).__name__,
            do="nothing was recorded; tell the bank, then run it again",
        )

    def _busy(self, why: str) -> SourceBusy:
        return SourceBusy(
            f"{self._connection.conn_id} does not answer",
            where=self._request.where,
            why=why,
            do="run it again later; nothing was recorded, the next window covers this one",
        )

    def _broken(self, why: str, name: str = "") -> NoReturn:
        raise SourceBroken(
            f"{self._connection.conn_id} did not answer as agreed",
            where=", ".join(filter(None, (self._request.where, name))),
            why=why,
            do="nothing was recorded; tell the bank, then run it again",
        )


@dataclass(frozen=True, slots=True)
class _Session:
    ssh: asyncssh.SSHClientConnection
    sftp: asyncssh.SFTPClient

    async def close(self) -> None:
        self.sftp.exit()
        self.ssh.close()
        await self.ssh.wait_closed()
