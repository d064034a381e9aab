"""A platform's window over HTTP: against the real agency, and against one that fails in every way we know."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from asking import ORDERS, connection, request
from fault_server import Answer, faulty_agency, page
from small_world import ORDERS as ALL_ORDERS

from pipelines.calendar import Window
from pipelines.errors import Refused, SourceBroken, SourceBusy, TotalsDiffer
from pipelines.province.servers.child import free_port
from pipelines.sources.connections import Connection
from pipelines.sources.http_api import HttpApi
from pipelines.sources.window_request import SourceObject


def fetched(asked: Any) -> list[SourceObject]:
    return list(HttpApi(asked).objects())


def from_faulty(answer: Any, **changes: Any) -> tuple[list[SourceObject], Any]:
    with faulty_agency(answer) as agency:
        somewhere = Connection("platforms", "127.0.0.1", agency.port, "hub", "s3cret")
        return fetched(request(ORDERS, somewhere, **changes)), agency


def lines(objects: list[SourceObject]) -> list[bytes]:
    return b"".join(item.content for item in objects).splitlines()


def test_S7_more_records_with_one_timestamp_than_a_page_holds(agencies):
    objects = fetched(request(ORDERS, connection(agencies, "platforms")))
    assert len(objects) == 7  # 250 records, 40 a page, 90 of them with the same updated_at
    assert len(set(lines(objects))) == ALL_ORDERS
    assert sum(item.declared_records for item in objects) == ALL_ORDERS


def test_totals_of_the_window_and_of_its_pages_are_the_sources_own(agencies):
    source = HttpApi(request(ORDERS, connection(agencies, "platforms")))
    objects = list(source.objects())
    cash = sum(i * 100 for i in range(ALL_ORDERS) if i % 7)
    assert (source.totals.declared_records, source.totals.declared_fen) == (ALL_ORDERS, cash)
    assert sum(item.declared_fen for item in objects) == cash


def test_a_window_without_records_is_one_empty_page(agencies):
    quiet = Window.since(small_day(21), small_day(21))
    (only,) = fetched(request(ORDERS, connection(agencies, "platforms"), window=quiet, is_first=False))
    assert (only.content, only.declared_records) == (b"", 0)


def small_day(day: int) -> Any:
    from datetime import date

    return date(2026, 8, day)


def test_compressed_pages_are_the_same_bytes(agencies):
    plain = fetched(request(ORDERS, connection(agencies, "platforms")))
    zipped = fetched(request(ORDERS, connection(agencies, "platforms", extra={"accept_encoding": "gzip"})))
    assert lines(plain) == lines(zipped)


def test_S1_an_agency_that_asks_us_to_wait_is_asked_again():
    def busy_twice(number, _):
        return page() if number == 3 else Answer(status=[429, 503][number - 1], headers={"retry-after": "9999999"})

    objects, _ = from_faulty(busy_twice)
    assert lines(objects) == [b'{"a":1}']


@pytest.mark.parametrize("retry_after", ["0", "Tue, 25 Aug 2026 00:00:00 GMT", "soon", "-5", "9" * 400])
def test_S1_busy_for_ever_ends_loudly(retry_after):
    with pytest.raises(SourceBusy, match="status 429; tried 3 times"):
        from_faulty(lambda number, path: Answer(status=429, headers={"retry-after": retry_after}))


def test_S2_S3_a_page_that_breaks_is_fetched_again_whole():
    whole = b'{"a":1}\n{"a":2}\n'

    def cut_once(number, _):
        broken = page(whole)
        return Answer(headers=broken.headers, body=whole[:9], declared_length=99) if number == 1 else page(whole)

    objects, agency = from_faulty(cut_once)
    assert lines(objects) == whole.splitlines()
    assert len(agency.asked) == 2


NOT_A_PAGE = {
    "a login page": Answer(headers={"content-type": "text/html"}, body=b"<html>\n"),
    "nothing at all": Answer(),
    "fewer lines than it says": page(b'{"a":1}\n', x_record_count="2"),
    "a last line cut short": page(b'{"a":1}\n{"a"'),
    "no count": page(x_record_count=""),
    "a count that is no number": page(x_record_count="²"),
    "no word on whether it is the last": page(x_last_page=""),
    "last, and yet a cursor": page(cursor="c", x_last_page="true"),
    "not last, and no cursor": page(x_last_page="false"),
    "no total": page(x_total_count=""),
    "false compression": page(content_encoding="gzip"),
    "compression cut short": Answer(
        headers=page().headers | {"content-encoding": "gzip"}, body=gzip.compress(b'{"a":1}\n' * 999)[:20]
    ),
    "an empty page that is not the last": page(b"", cursor="c"),
    "not found": Answer(status=404),
    "a redirect to another host": Answer(status=302, headers={"location": "http://169.254.169.254/latest"}),
}


@pytest.mark.parametrize("what", NOT_A_PAGE)
def test_S4_S20_what_is_no_page_is_never_the_last_page(what):
    with pytest.raises(SourceBroken):
        from_faulty(lambda number, path: NOT_A_PAGE[what])


def test_S5_cursors_that_loop_are_seen():
    with pytest.raises(SourceBroken, match="do not come to an end"):
        from_faulty(lambda number, path: page(total=99, cursor="ab"[number % 2]))


def test_records_that_were_declared_and_did_not_come():
    with pytest.raises(TotalsDiffer, match="1 records came, 5 were declared"):
        from_faulty(lambda number, path: page(total=5))


def test_fen_that_were_declared_and_did_not_come():
    with pytest.raises(TotalsDiffer, match="fen"):
        from_faulty(lambda number, path: page(x_money_page_fen="100", x_money_total_fen="101"))


def test_a_total_that_changes_between_pages():
    with pytest.raises(TotalsDiffer, match="changed"):
        from_faulty(lambda number, path: page(total=1 + number, cursor=f"c{number}"))


def test_a_token_that_ends_in_mid_window_is_renewed_once():
    def ended(number, _):
        return Answer(status=401) if number == 2 else page(total=2, cursor="c" if number == 1 else None)

    objects, agency = from_faulty(ended)
    assert (len(lines(objects)), agency.tokens) == (2, 2)


def test_a_token_that_is_never_good_is_refused():
    with pytest.raises(Refused, match="credential"):
        from_faulty(lambda number, path: Answer(status=401))


def test_wrong_password_is_refused_without_showing_it(agencies):
    with pytest.raises(Refused) as refused:
        fetched(request(ORDERS, connection(agencies, "platforms", password="hunter2-hunter2")))
    assert "hunter2" not in str(refused.value) + repr(refused.value.__cause__)


def test_S3_an_agency_that_is_down_is_busy():
    with pytest.raises(SourceBusy, match="no connection"):
        fetched(request(ORDERS, Connection("platforms", "127.0.0.1", free_port(), "hub", "s3cret")))


def test_no_plain_http_to_another_machine():
    elsewhere = Connection("platforms", "api.example", 80, "hub", "s3cret", {"scheme": "http"})
    with pytest.raises(Refused, match="TLS"):
        fetched(request(ORDERS, elsewhere))
