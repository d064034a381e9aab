"""A platform's window over HTTP: OAuth2 client credentials, then NDJSON pages behind opaque cursors.

Promises: a page arrives whole or not at all; "last page" is what the source says in so many words, never an
          error, an empty body or a missing header; the pages together hold as many records and fen as the source
          declares for the window; waits are capped and tries counted.
Refuses:  redirects, links and other hosts (the address comes from the connection alone); plain HTTP to anything
          but this machine; pages above MAX_PAGE_BYTES once unpacked.
Not here: reading a record; the raw bytes go to the vault.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import NoReturn

import httpx
import tenacity

from pipelines.errors import Refused, SourceBroken, SourceBusy, TotalsDiffer
from pipelines.sources.window_request import SourceObject, Totals, WindowRequest

MAX_PAGE_BYTES = 256 * 2**20  # 20,000 of the widest records seen are 12 MB; beyond this the source is broken
MAX_WAIT_S = 60.0  # whatever Retry-After says
FIRST_WAIT_S = 0.5
PAGE_TIMEOUTS = 10  # a page may take this many read timeouts in all: a byte now and then is no page
CONTENT_TYPE = "application/x-ndjson"
logging.getLogger("httpx").setLevel(logging.WARNING)  # at INFO it writes every address, cursors and all


class _TryAgain(Exception):
    """This try failed in a way that another may mend. after_s: what the source asked for."""

    def __init__(self, why: str, after_s: float | None = None) -> None:
        super().__init__(why)
        self.why, self.after_s = why, after_s


class _TokenRefused(Exception):
    """401: the token has ended, or never was good."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page as it came, with what its headers say."""

    body: bytes = field(repr=False)
    records: int
    total: int
    fen: int | None
    total_fen: int | None
    next_cursor: str | None = field(repr=False)


class HttpApi:
    """One feed's window of a platforms' API."""

    may_resend = False

    def __init__(self, request: WindowRequest) -> None:
        self._request = request
        self._connection, self._settings = request.connection, request.settings
        self.totals = Totals()
        self._token: str | None = None
        base_url = self._base_url()
        self._client = httpx.Client(
            base_url=base_url,
            timeout=self._settings.http_timeout_s,
            follow_redirects=False,
            trust_env=False,  # no proxy, no netrc: the connection says it all
            verify=base_url.startswith("https:"),  # plain HTTP stays on this machine: no certificates to load
            headers={
                "Accept": CONTENT_TYPE,
                "Accept-Encoding": str(self._connection.extra.get("accept_encoding", "gzip")),
                "User-Agent": "sanche",
            },
        )

    def objects(self) -> Iterator[SourceObject]:
        """The window's pages. While one is stored, the next is fetched."""
        records = fen = 0
        seen: set[str] = set()
        with self._client, ThreadPoolExecutor(1) as ahead:
            first = page = self._page(None)
            for number in range(1, 2**31):
                records, fen = records + page.records, fen + (page.fen or 0)
                cursor = page.next_cursor
                if cursor in seen or (cursor and not page.records):
                    self._broken("its cursors do not come to an end", f"page {number}")
                if cursor:
                    seen.add(cursor)
                following = ahead.submit(self._page, cursor) if cursor else None
                yield SourceObject(page.body, f"page {number}", page.records, page.fen)
                if following is None:
                    break
                page = following.result()
                if (page.total, page.total_fen) != (first.total, first.total_fen):
                    self._totals_differ("the window's total changed from one page to the next")
        self._compare(first, records, fen)

    def _compare(self, first: Page, records: int, fen: int) -> None:
        if records != first.total:
            self._totals_differ(f"{records} records came, {first.total} were declared")
        if first.fen is not None and first.total_fen is not None and fen != first.total_fen:
            self._totals_differ(f"the pages' sums make {fen} fen, {first.total_fen} were declared")
        self.totals.declared_records, self.totals.declared_fen = first.total, first.total_fen

    # --- one page -----------------------------------------------------------------------------------------

    def _page(self, cursor: str | None) -> Page:
        """One page, tried again while that may help."""
        try:
            return self._patiently(lambda: self._authorised_page(cursor))
        except _TokenRefused:
            raise self._credential_refused() from None

    def _authorised_page(self, cursor: str | None) -> Page:
        fresh = self._token is None
        self._token = self._token or self._new_token()
        try:
            return self._one_page(cursor)
        except _TokenRefused:
            if fresh:
                raise
        self._token = self._new_token()  # it had ended in mid-window: once more with a new one
        return self._one_page(cursor)

    def _one_page(self, cursor: str | None) -> Page:
        window = self._request.window
        query = {
            "updated_since": window.start.isoformat(),
            "updated_before": window.end.isoformat(),
            "limit": str(self._settings.page_rows),
        }
        if cursor is not None:
            query["cursor"] = cursor
        path = self._request.contract.source.path
        headers = {"Authorization": f"Bearer {self._token}"}
        with self._client.stream("GET", path, params=query, headers=headers) as response:
            self._judge_status(response)
            body = self._whole_body(response)
        return self._understand(response.headers, body)

    def _whole_body(self, response: httpx.Response) -> bytes:
        parts, size = [], 0
        deadline = time.monotonic() + PAGE_TIMEOUTS * self._settings.http_timeout_s
        for part in response.iter_bytes():
            size += len(part)
            if size > MAX_PAGE_BYTES:
                self._broken(f"a page holds more than {MAX_PAGE_BYTES >> 20} MiB")
            if time.monotonic() > deadline:
                raise _TryAgain("a page that does not end")
            parts.append(part)
        return b"".join(parts)

    def _understand(self, headers: httpx.Headers, body: bytes) -> Page:
        if headers.get("content-type", "").partition(";")[0].strip().lower() != CONTENT_TYPE:
            self._broken(f"a page is not {CONTENT_TYPE}")
        records, total = self._count(headers, "X-Record-Count"), self._count(headers, "X-Total-Count")
        if body.count(b"\n") != records or not (body.endswith(b"\n") or not body):
            self._broken("a page does not hold as many lines as its X-Record-Count says")
        last, cursor = headers.get("X-Last-Page"), headers.get("X-Next-Cursor")
        if last not in ("true", "false") or (last == "true") != (cursor is None):
            self._broken("a page does not say whether it is the last (X-Last-Page, X-Next-Cursor)")
        return Page(body, records, total, self._fen(headers, "Page"), self._fen(headers, "Total"), cursor)

    def _count(self, headers: httpx.Headers, name: str) -> int:
        text = headers.get(name, "")
        if not (text.isascii() and text.isdigit() and len(text) < 16):
            self._broken(f"a page lacks {name}")
        return int(text)

    def _fen(self, headers: httpx.Headers, of: str) -> int | None:
        text = headers.get(f"X-Money-{of}-Fen")
        if text is None:
            return None
        if not (text.removeprefix("-").isascii() and text.removeprefix("-").isdigit() and len(text) < 20):
            self._broken(f"X-Money-{of}-Fen is not a whole number")
        return int(text)

    # --- the token ----------------------------------------------------------------------------------------

    def _new_token(self) -> str:
        """Ask for a token. The answer's text is read for `access_token` only and never shown."""
        response = self._client.post(
            str(self._connection.extra.get("token_path", "/oauth/token")),
            data={"grant_type": "client_credentials"},
            auth=(self._connection.login, self._connection.password),
            headers={"Accept": "application/json"},
        )
        try:
            self._judge_status(response)
        except _TokenRefused:
            raise self._credential_refused() from None
        try:
            token = response.json()["access_token"]
        except (ValueError, KeyError, TypeError):
            token = None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
            self._broken("its token endpoint gave no access_token")
        return token

    # --- patience and errors ------------------------------------------------------------------------------

    def _patiently(self, ask: Callable[[], Page]) -> Page:
        def try_once() -> Page:
            try:
                return ask()
            except httpx.DecodingError:
                self._broken("a page says it is compressed and is not")
            except httpx.TransportError as error:
                # Kinds only: the text of these errors may hold the address.
                raise _TryAgain(_KINDS.get(type(error), "the connection broke")) from None

        tries = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self._settings.source_attempts),
            wait=_wait,
            retry=tenacity.retry_if_exception_type(_TryAgain),
            sleep=time.sleep,
            reraise=True,
        )
        try:
            return tries(try_once)
        except _TryAgain as error:
            raise SourceBusy(
                f"{self._connection.conn_id} does not answer",
                where=self._request.where,
                why=f"{error.why}; tried {self._settings.source_attempts} times",
                do="run it again later; nothing was recorded, the next window covers this one",
            ) from None

    def _judge_status(self, response: httpx.Response) -> None:
        status = response.status_code
        if status == 200:
            return
        if status == 401:
            raise _TokenRefused
        if status == 403:
            raise self._credential_refused()
        if status in (408, 425, 429) or status >= 500:
            raise _TryAgain(f"status {status}", _retry_after(response))
        if 300 <= status < 400:
            self._broken(f"status {status}: redirects are not followed")
        self._broken(f"status {status}")

    def _credential_refused(self) -> Refused:
        return Refused(
            f"{self._connection.conn_id} does not accept our credential",
            where=self._request.where,
            do=f"check login and password of {self._connection.conn_id} in connections.json with the agency",
        )

    def _broken(self, why: str, where: str = "") -> NoReturn:
        raise SourceBroken(
            f"{self._connection.conn_id} did not answer as agreed",
            where=", ".join(filter(None, (self._request.where, where))),
            why=why,
            do="nothing was recorded; tell the agency, then run it again",
        )

    def _totals_differ(self, why: str) -> NoReturn:
        raise TotalsDiffer(
            f"{self._connection.conn_id} did not send what it declared",
            where=self._request.where,
            why=why,
            do="nothing was recorded; run it again, and if it stays so tell the agency",
        )

    def _base_url(self) -> str:
        scheme = self._connection.extra.get("scheme", "http" if self._connection.is_loopback else "https")
        if scheme != "https" and not self._connection.is_loopback:
            raise Refused(
                f"{self._connection.conn_id} would be asked without TLS",
                where=self._request.where,
                do='remove "scheme" from its extra in connections.json: https is the default',
            )
        return f"{scheme}://{self._connection.host}:{self._connection.port}"


_KINDS: dict[type[Exception], str] = {
    httpx.ConnectError: "no connection (down, wrong address or bad TLS)",
    httpx.ConnectTimeout: "no connection in time",
    httpx.ReadTimeout: "no answer in time",
    httpx.RemoteProtocolError: "the answer was cut short",
    httpx.ReadError: "the answer was cut short",
}


def _wait(state: tenacity.RetryCallState) -> float:
    """What the source asked for, else doubling from FIRST_WAIT_S with some jitter; never above MAX_WAIT_S."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.after_s if isinstance(error, _TryAgain) else None
    if asked is not None:
        return min(max(asked, FIRST_WAIT_S), MAX_WAIT_S)
    grown = FIRST_WAIT_S * 2.0 ** (state.attempt_number - 1)
    return min(grown * (1 + random.random() / 4), MAX_WAIT_S)  # noqa: S311  jitter, not a secret


def _retry_after(response: httpx.Response) -> float | None:
    """Retry-After as seconds, or as a date measured against the same answer's Date (our clock is not asked)."""
    text = response.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        until = parsedate_to_datetime(text)
        now = parsedate_to_datetime(response.headers["date"])
        return max((until - now).total_seconds(), 0.0)
    except (ValueError, TypeError, KeyError):
        return None
