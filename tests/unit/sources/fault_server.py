"""An HTTP server that answers as a test says, one answer per request, to play an agency that fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """status, headers and body; declared_length above len(body) cuts the body short."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    declared_length: int | None = None


def page(
    body: bytes = b'{"a":1}\n', *, total: int | None = None, cursor: str | None = None, **headers: str
) -> Answer:
    """A page as agreed; keyword arguments replace headers ("_" for "-"), "" removes one."""
    records = body.count(b"\n")
    said = {
        "content-type": "application/x-ndjson",
        "x-record-count": str(records),
        "x-total-count": str(records if total is None else total),
        "x-last-page": "false" if cursor else "true",
        **({"x-next-cursor": cursor} if cursor else {}),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return Answer(headers={name: value for name, value in said.items() if value}, body=body)


@dataclass
class FaultyAgency:
    """port: where it listens; asked: the paths of all requests but those for a token."""

    port: int
    asked: list[str] = field(default_factory=list)
    tokens: int = 0


@contextmanager
def faulty_agency(answer: Callable[[int, str], Answer]) -> Iterator[FaultyAgency]:
    """Give `answer(number of the request, its path)` to each request but those for a token."""
    agency = FaultyAgency(0)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", "0")))
            agency.tokens += 1
            self._send(Answer(body=json.dumps({"access_token": f"t{agency.tokens}", "expires_in": 60}).encode()))

        def do_GET(self) -> None:
            agency.asked.append(self.path)
            self._send(answer(len(agency.asked), self.path))

        def _send(self, made: Answer) -> None:
            self.send_response(made.status)
            for name, value in made.headers.items():
                self.send_header(name, value)
            length = len(made.body) if made.declared_length is None else made.declared_length
            self.send_header("content-length", str(length))
            self.end_headers()
            self.wfile.write(made.body)
            self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    agency.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield agency
    finally:
        server.shutdown()
        server.server_close()
