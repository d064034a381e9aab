"""The platforms' API: OAuth2 client credentials, then one feed's window as NDJSON pages.

Promises: GET /v1/<feed>?updated_since=&updated_before=&cursor=&limit= gives every record with
          updated_since <= updated_at < updated_before once, ordered by (updated_at, row), so that a page may end
          between two records of one timestamp; each page says how many records it holds and whether it is the
          last, the first to the last say how many the window holds, in records and in fen.
Refuses:  no token 401, unknown feed 404, a window or cursor that it did not give out 400.
Not here: faults; tests put a proxy of their own in front.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pipelines.province.servers import books, child

TOKEN_LIFE_S = 300
MAX_LIMIT = 50_000
FEEDS = (
    "platform_worker",
    "platform_vehicle",
    "platform_credential",
    "platform_order",
    "platform_earning_line",
    "platform_settlement",
    "consent",
)


@dataclass(frozen=True, slots=True)
class Span:
    """Rows [first, end) of a feed's lines, and what the window holds in all."""

    first: int
    end: int
    fen: int | None


class Shelf:
    """The feeds' lines, rendered once, in a DuckDB file: lines_<feed>(row_no, cut_at, fen, line)."""

    def __init__(self, world_dir: Path, database: Path) -> None:
        self._world_dir = world_dir
        database.unlink(missing_ok=True)
        self._con = books.connect(database)
        self._con.execute("set preserve_insertion_order = true")
        self._ready: set[str] = set()
        self._spans: dict[tuple[str, str, str], Span] = {}
        self._lock = threading.Lock()

    def prepare(self, feed: str) -> bool:
        """Render the feed's lines unless that was done. False: the province has no such feed."""
        if feed not in FEEDS:
            return False
        with self._lock:
            if feed in self._ready:
                return True
            book = books.open_book(self._world_dir, feed)
            if book is None:
                return False
            fields = ", ".join(f'"{name}" := {book.rendered(name)}' for name in book.published)
            money = books.MONEY_FIELD.get(feed)
            fen = f'"{money}"' if money in book.columns else "null"
            self._con.execute(
                f"""create table lines_{feed} as
                select row_number() over () - 1 as row_no, cut_at, try_cast({fen} as bigint) as fen,
                       {fen} is not null and try_cast({fen} as bigint) is null as bad_fen,
                       to_json(struct_pack({fields})) || chr(10) as line
                from (select *, {book.cut_at} as cut_at from {book.source}
                      where cut_at is not null order by cut_at, file_row_number)"""
            )
            self._ready.add(feed)
            return True

    def span(self, feed: str, since: datetime, before: datetime) -> Span:
        key = (feed, since.isoformat(), before.isoformat())
        if key not in self._spans:
            found = self._cursor().execute(
                f"""select coalesce(min(row_no), 0), coalesce(max(row_no) + 1, 0),
                           case when count(*) filter (bad_fen) = 0 then coalesce(sum(fen), 0)::bigint end
                    from lines_{feed} where cut_at >= $since and cut_at < $before""",
                {"since": since, "before": before},
            )
            first, end, fen = found.fetchone() or (0, 0, None)
            self._spans[key] = Span(first, end, fen)
        return self._spans[key]

    def page(self, feed: str, first: int, end: int) -> tuple[bytes, int | None]:
        """The lines of rows [first, end) and their sum in fen (None: not a number somewhere, or no money)."""
        within = f"from lines_{feed} where row_no >= $first and row_no < $end"
        rows = {"first": first, "end": end}
        cursor = self._cursor()
        fen = cursor.execute(
            f"select case when count(*) filter (bad_fen) = 0 then coalesce(sum(fen), 0)::bigint end {within}", rows
        ).fetchone()
        lines = cursor.execute(f"select line {within} order by row_no", rows).to_arrow_table()
        return _text_of(lines.column("line")), fen[0] if fen else None

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        cursor = self._con.cursor()
        cursor.execute("set timezone = 'Asia/Shanghai'")
        return cursor


class Tokens:
    """Bearer tokens of the one client, each with an end."""

    def __init__(self, client_id: str, client_secret: str, life_s: float) -> None:
        self._client, self._life_s = (client_id, client_secret), life_s
        self._ends: dict[str, float] = {}

    def grant(self, client_id: str, client_secret: str) -> str | None:
        good = [
            hmac.compare_digest(a.encode(), b.encode())
            for a, b in zip(self._client, (client_id, client_secret), strict=True)
        ]
        if not all(good):
            return None
        now = time.monotonic()
        self._ends = {token: end for token, end in self._ends.items() if end > now}
        token = secrets.token_urlsafe(32)
        self._ends[token] = now + self._life_s
        return token

    def knows(self, header: str) -> bool:
        scheme, _, token = header.partition(" ")
        return scheme.lower() == "bearer" and self._ends.get(token, 0.0) > time.monotonic()


def application(shelf: Shelf, tokens: Tokens, token_life_s: float) -> Starlette:
    async def token(request: Request) -> Response:
        form = await request.form()
        client_id, client_secret = str(form.get("client_id", "")), str(form.get("client_secret", ""))
        basic = request.headers.get("authorization", "")
        if basic.lower().startswith("basic "):
            try:
                client_id, _, client_secret = base64.b64decode(basic[6:]).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                return _refuse(401, "invalid_client")
        if form.get("grant_type") != "client_credentials":
            return _refuse(400, "unsupported_grant_type")
        granted = tokens.grant(client_id, client_secret)
        if granted is None:
            return _refuse(401, "invalid_client")
        body = {"access_token": granted, "token_type": "Bearer", "expires_in": int(token_life_s)}
        return JSONResponse(body, headers={"Cache-Control": "no-store"})

    async def feed(request: Request) -> Response:
        if not tokens.knows(request.headers.get("authorization", "")):
            return _refuse(401, "invalid_token")
        name = request.path_params["feed"]
        if not await run_in_threadpool(shelf.prepare, name):
            return _refuse(404, "no_such_feed")
        query = request.query_params
        try:
            since, before = _instant(query["updated_since"]), _instant(query["updated_before"])
            limit = int(query.get("limit", "10000"))
            if not (since < before and 1 <= limit <= MAX_LIMIT):
                raise ValueError
            window = f"{name}|{since.isoformat()}|{before.isoformat()}"
            start = _read_cursor(query["cursor"], window) if "cursor" in query else None
        except (KeyError, ValueError):
            return _refuse(400, "bad_window")
        return await run_in_threadpool(_page, shelf, name, since, before, start, limit, window)

    return Starlette(
        routes=[
            Route("/oauth/token", token, methods=["POST"]),
            Route("/v1/{feed}", feed, methods=["GET"]),
        ],
        middleware=[Middleware(GZipMiddleware, minimum_size=4096, compresslevel=1)],
    )


def _page(
    shelf: Shelf, feed: str, since: datetime, before: datetime, start: int | None, limit: int, window: str
) -> Response:
    span = shelf.span(feed, since, before)
    first = span.first if start is None else start
    end = min(first + limit, span.end)
    if not span.first <= first <= span.end:
        return _refuse(400, "bad_cursor")
    body, fen = shelf.page(feed, first, end)
    last = end >= span.end
    headers = {
        "X-Record-Count": str(end - first),
        "X-Total-Count": str(span.end - span.first),
        "X-Last-Page": "true" if last else "false",
    }
    if not last:
        headers["X-Next-Cursor"] = _cursor(end, window)
    if feed in books.MONEY_FIELD:
        if span.fen is not None:
            headers["X-Money-Total-Fen"] = str(span.fen)
        if fen is not None:
            headers["X-Money-Page-Fen"] = str(fen)
    return Response(body, media_type="application/x-ndjson", headers=headers)


def _text_of(lines: pa.ChunkedArray[Any]) -> bytes:
    """The strings of an Arrow column, one after the other, as they lie in its buffers."""
    pieces = []
    for chunk in lines.chunks:
        _, offsets, text = chunk.buffers()
        if text is not None and offsets is not None:
            at = np.frombuffer(memoryview(offsets), np.int32)
            pieces.append(memoryview(text)[int(at[chunk.offset]) : int(at[chunk.offset + len(chunk)])])
    return b"".join(pieces)


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError
    return instant


def _cursor(row: int, window: str) -> str:
    # The window's digest inside: a cursor given out for another window or feed is refused.
    seal = hashlib.sha256(f"{row}|{window}".encode()).hexdigest()[:16]
    return base64.urlsafe_b64encode(f"{row}.{seal}".encode()).decode().rstrip("=")


def _read_cursor(text: str, window: str) -> int:
    plain = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    row = int(plain.partition(".")[0])
    if not hmac.compare_digest(_cursor(row, window).encode(), text.encode()):
        raise ValueError
    return row


def _refuse(status: int, error: str) -> JSONResponse:
    return JSONResponse({"error": error}, status_code=status)


def main() -> None:
    config = child.read_config()
    database = Path(config["run_dir"]) / "platforms.duckdb"
    shelf = Shelf(Path(config["world_dir"]), database)
    life_s = float(config.get("token_life_s", TOKEN_LIFE_S))
    tokens = Tokens(config["login"], config["password"], life_s)
    server = uvicorn.Server(
        uvicorn.Config(
            application(shelf, tokens, life_s),
            host=child.LOOPBACK,
            port=config["port"],
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
        )
    )

    def announce() -> None:
        while not server.started:
            time.sleep(0.02)
        child.say_ready()
        for feed in FEEDS:  # so that a feed's first page need not wait for its rendering
            shelf.prepare(feed)

    def leave() -> None:
        server.should_exit = True

    child.when_parent_leaves(leave)
    threading.Thread(target=announce, daemon=True).start()
    server.run()
    database.unlink(missing_ok=True)
    os._exit(0)  # a feed may still be in the making: a thread inside DuckDB does not end when asked


if __name__ == "__main__":
    main()
