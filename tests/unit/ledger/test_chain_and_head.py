"""What is said in the ledger, and what a head proves to someone who has nothing else."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from pipelines.errors import Bug, Refused, VerificationFailed
from pipelines.lake import Lake
from pipelines.ledger import append, audit_path, check_path, close_head, entries, latest_head, streams, verify
from pipelines.settings import Settings

from .conftest import FIRST, NIGHTS, check_signature, sign

AFTER = date(2026, 8, 21)


def add(lake: Lake, stream: str = "marts", kind: str = "built", **body: object) -> None:
    with lake.commit(step="test", business_date=AFTER) as commit:
        append(commit, stream=stream, kind=kind, business_date=AFTER, body=body)


def test_the_entries_of_a_commit_come_with_its_rows_or_not_at_all(lake: Lake) -> None:
    with pytest.raises(ZeroDivisionError), lake.commit(step="test", business_date=AFTER) as commit:
        append(commit, stream="marts", kind="built", business_date=AFTER, body={})
        raise ZeroDivisionError
    assert list(entries(lake, "marts")) == []
    with lake.commit(step="test", business_date=AFTER) as commit:
        append(commit, stream="marts", kind="built", business_date=AFTER, body={"n": 1})
        append(commit, stream="marts", kind="built", business_date=AFTER, body={"n": 2})
        append(commit, stream="decisions", kind="decided", business_date=AFTER, body={})
    assert [entry.seq for entry in entries(lake, "marts")] == [1, 2]
    assert streams(lake) == ["agreement.bank_a_c1", "decisions", "feed.bank_txn", "marts"]
    lines = (lake.settings.ledger_dir / "marts.jsonl").read_text().splitlines()
    assert [json.loads(json.loads(line)["body"]) for line in lines] == [{"n": 1}, {"n": 2}]


def test_the_same_thing_said_has_the_same_hash_whatever_the_order_of_its_words(settings: Settings) -> None:
    def hash_of(home: Path, body: dict[str, object]) -> str:
        with Lake.attach(Settings(home=home)) as lake:
            add(lake, **body)
            return next(entries(lake, "marts")).hash

    one = hash_of(settings.home.parent / "one", {"a": 1, "名": "é"})
    assert one == hash_of(settings.home.parent / "other", {"名": "é", "a": 1})
    assert one != hash_of(settings.home.parent / "third", {"名": "é", "a": 2})


@pytest.mark.parametrize("name", ["head", "", "Feed.x", "../x", "a b", "feed.a.b", "feed.\u0430"])
def test_a_stream_name_is_a_plain_name(lake: Lake, name: str) -> None:
    with pytest.raises(Bug):
        add(lake, name)


def test_C12_a_line_cut_at_any_byte_is_completed_by_the_next_append(settings: Settings, lake: Lake) -> None:
    add(lake, n=1)
    add(lake, n=2)
    file = settings.ledger_dir / "marts.jsonl"
    whole = file.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in {0, 1, first - 1, first, first + 1, first + 50, len(whole) - 1}:
        file.write_bytes(whole[:cut])
        add(lake, n=3)
        assert file.read_bytes().startswith(whole), cut
        whole = file.read_bytes()
    assert len(whole.splitlines()) == len(list(entries(lake, "marts")))


def test_C12_a_file_that_says_more_than_the_table_stops_the_next_commit(settings: Settings, lake: Lake) -> None:
    add(lake, n=1)
    add(lake, n=2)
    with lake.commit(step="test", business_date=AFTER) as commit:
        commit.execute("delete from ledger.entry where stream = 'marts' and seq = 2")
    with pytest.raises(VerificationFailed, match="stream marts"):
        add(lake, n=3)
    assert [entry.seq for entry in entries(lake, "marts")] == [1]
    add(lake, "decisions")  # other streams go on


@pytest.mark.parametrize("line", [b'{"seq":2}\n', b"nonsense\n", b"\n", b"[]\n", b"trailing"])
def test_a_file_that_was_written_by_someone_else_stops_the_next_commit(
    settings: Settings, lake: Lake, line: bytes
) -> None:
    add(lake, n=1)
    with (settings.ledger_dir / "marts.jsonl").open("ab") as file:
        file.write(line)
    with pytest.raises(VerificationFailed):
        add(lake, n=2)


def test_C8_a_ledger_that_cannot_be_written_stops_the_commit(settings: Settings, lake: Lake) -> None:
    (settings.ledger_dir / "marts.jsonl").mkdir(parents=True)
    with pytest.raises(Refused, match="ledger cannot be written"):
        add(lake)
    assert list(entries(lake, "marts")) == []


def test_C1_lines_that_a_killed_run_left_unwritten_are_there_before_a_head_covers_them(
    settings: Settings, lake: Lake
) -> None:
    add(lake, n=1)
    (settings.ledger_dir / "marts.jsonl").unlink()  # killed between COMMIT and the file
    close_head(lake, business_date=AFTER, sign=sign)
    report = verify(lake, settings, verify_signature=check_signature)
    assert report.ok, report.broken
    assert len((settings.ledger_dir / "marts.jsonl").read_bytes().splitlines()) == 1


def test_C12_a_head_does_not_cover_a_stream_whose_file_was_changed(settings: Settings, lake: Lake) -> None:
    add(lake, n=1)
    (settings.ledger_dir / "feed.bank_txn.jsonl").write_bytes(b"{}\n")
    with pytest.raises(VerificationFailed):
        close_head(lake, business_date=AFTER, sign=sign)
    newest = latest_head(lake)
    assert newest is not None
    assert newest.head_no == 2


def test_a_head_again_for_the_same_night_is_the_same_head_until_something_new_is_said(lake: Lake) -> None:
    head = latest_head(lake)
    assert head is not None
    assert (head.head_no, head.business_date) == (2, NIGHTS[1])
    assert close_head(lake, business_date=NIGHTS[1], sign=sign) == head
    add(lake)
    third = close_head(lake, business_date=NIGHTS[1], sign=sign)
    assert (third.head_no, third.streams) == (3, 3)
    next_night = close_head(lake, business_date=AFTER, sign=sign)
    assert next_night.head_no == 4, "each night has a head of its own"


def test_a_quote_convinces_someone_who_has_only_the_certificate(lake: Lake) -> None:
    quote = json.loads(json.dumps(audit_path(lake, 2, "feed.bank_txn")))
    check_path(quote)
    head = latest_head(lake)
    assert head is not None
    check_signature(head.statement, head.signature)
    assert quote["statement"]["business_date"] == "2026-08-20"
    assert "bank_txn" not in json.dumps(quote), "a stream's name is for the hub only"
    for place, value in (("length", 7), ("last_hash", "0" * 64), ("stream", "0" * 64)):
        with pytest.raises(VerificationFailed):
            check_path(quote | {"leaf": quote["leaf"] | {place: value}})


def test_a_head_speaks_only_of_what_was_there(lake: Lake) -> None:
    add(lake, "decisions")
    with pytest.raises(Refused, match="does not cover"):
        audit_path(lake, 2, "decisions")
    with pytest.raises(Refused, match="no ledger head"):
        audit_path(lake, 9, "feed.bank_txn")


def test_an_empty_ledger_has_no_head(tmp_path: Path) -> None:
    with Lake.attach(Settings(home=tmp_path / "empty")) as lake, pytest.raises(Refused):
        close_head(lake, business_date=FIRST, sign=sign)
