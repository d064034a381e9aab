"""A bank's files for a window, from a real SFTP server."""

from __future__ import annotations

from datetime import date

import asyncssh
import pytest
from asking import TRANSACTIONS, connection, request

from pipelines.calendar import Window
from pipelines.errors import Refused, SourceBroken, SourceBusy
from pipelines.province.servers.child import free_port
from pipelines.sources import sftp_drop
from pipelines.sources.sftp_drop import SftpDrop

NIGHT = date(2026, 8, 20)


def asked(agencies, **changes):
    return request(TRANSACTIONS, connection(agencies, "banks"), **changes)


def night(agencies, **changes):
    """The night after the first load, which brought both banks' first files."""
    first_files = frozenset({"BANK_TXN_20260819_BK01.txt", "BANK_TXN_20260819_BK02.txt"})
    later = {"window": Window(NIGHT, date(2026, 8, 21)), "business_date": NIGHT, "is_first": False}
    return asked(agencies, **{**later, "already_named": first_files, **changes})


def names(request):
    source = SftpDrop(request)
    fresh = [item.source_name for item in source.objects() if not item.was_taken]
    return fresh, source.totals.counts


def test_a_first_load_takes_the_file_of_its_date_and_no_later_one(agencies):
    objects = list(SftpDrop(asked(agencies)).objects())
    assert [item.source_name for item in objects] == ["BANK_TXN_20260819_BK01.txt", "BANK_TXN_20260819_BK02.txt"]
    text = objects[1].content.decode("gb18030").splitlines()
    assert text[0] == "H|bank_txn|BK02|20260819"
    assert "BK02|t3|broken" in text  # as the bank wrote it
    assert text[-1].startswith("T|12|")


def test_F1_a_file_without_its_marker_is_left_alone_and_taken_the_next_night(agencies, drop):
    (drop / "BANK_TXN_20260819_BK02.txt.done").unlink()
    taken, counts = names(asked(agencies))
    assert (taken, counts["waiting"]) == (["BANK_TXN_20260819_BK01.txt"], 1)

    (drop / "BANK_TXN_20260819_BK02.txt.done").touch()
    taken, counts = names(night(agencies, already_named=frozenset({"BANK_TXN_20260819_BK01.txt"})))
    assert taken == [
        f"BANK_TXN_202608{day}_{bank}.txt" for day, bank in ((19, "BK02"), (20, "BK01"), (20, "BK02"))
    ]
    assert counts == {"waiting": 0, "absent": 0, "late": 1}


def test_a_bank_that_sends_nothing_is_counted(agencies, drop):
    for path in drop.glob("BANK_TXN_20260820_BK02*"):
        path.unlink()
    taken, counts = names(night(agencies))
    assert (taken, counts["absent"]) == (["BANK_TXN_20260820_BK01.txt"], 1)


def test_a_date_without_any_file_is_late_not_empty(agencies, drop):
    for path in drop.glob("BANK_TXN_20260820_*.done"):
        path.unlink()
    with pytest.raises(SourceBusy, match="not delivered yet"):
        names(night(agencies))


def test_F1_a_file_that_grows_while_it_is_read_is_not_taken(agencies, drop, monkeypatch):
    real = asyncssh.SFTPClientFile.read

    async def read_and_grow(self, *args, **kwargs):
        content = await real(self, *args, **kwargs)
        with (drop / "BANK_TXN_20260819_BK01.txt").open("ab") as file:
            file.write(b"one more line\n")
        return content

    monkeypatch.setattr(asyncssh.SFTPClientFile, "read", read_and_grow)
    with pytest.raises(SourceBusy, match="still writing"):
        names(asked(agencies))


def test_F8_hostile_names_and_links_are_not_taken(agencies, drop):
    hostile = [
        "BANK_TXN_20260819_BK01.txt.txt", "BANK_TXN_20261399_BK01.txt", "bank_txn_20260819_BK03.txt",
        "BANK_TXN_20260819_..txt", "BANK_TXN_20260819_B\nK.txt", "XBANK_TXN_20260819_BK01.txt",
    ]  # fmt: skip
    for name in hostile:
        (drop / name).write_bytes(b"x")
        (drop / f"{name}.done").touch()
    (drop / "BANK_TXN_20260819_BK04.txt").symlink_to("/etc/passwd")
    (drop / "BANK_TXN_20260819_BK04.txt.done").touch()
    taken, _ = names(asked(agencies))
    assert taken == ["BANK_TXN_20260819_BK01.txt", "BANK_TXN_20260819_BK02.txt"]


def test_F7_a_file_above_the_cap_is_refused_unread(agencies, monkeypatch):
    monkeypatch.setattr(sftp_drop, "MAX_FILE_BYTES", 100)
    with pytest.raises(SourceBroken, match="more than"):
        names(asked(agencies))


def test_F9_another_host_key_is_refused_and_gets_no_password(agencies):
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    changed = connection(agencies, "banks", extra={"host_key": other, "path": "/outgoing"})
    with pytest.raises(Refused, match="another host key"):
        names(request(TRANSACTIONS, changed))


def test_without_a_host_key_there_is_no_connection(agencies):
    with pytest.raises(Refused, match="no host key"):
        names(request(TRANSACTIONS, connection(agencies, "banks", extra={"path": "/outgoing"})))


def test_wrong_password_is_refused_without_showing_it(agencies):
    with pytest.raises(Refused, match="credential") as refused:
        names(request(TRANSACTIONS, connection(agencies, "banks", password="hunter2-hunter2")))
    assert "hunter2" not in str(refused.value)


def test_an_agency_that_is_down_is_busy(agencies):
    nowhere = connection(agencies, "banks", port=free_port())
    with pytest.raises(SourceBusy, match="no connection"):
        names(request(TRANSACTIONS, nowhere))


def test_the_drop_is_read_only(agencies):
    import asyncio

    entry = connection(agencies, "banks")

    async def write_and_leave():
        key = asyncssh.import_public_key(entry.extra["host_key"])
        async with asyncssh.connect(
            entry.host, entry.port, username=entry.login, password=entry.password, known_hosts=([key], [], []),
            config=None, client_keys=None, agent_path=None,
        ) as ssh, ssh.start_sftp_client() as sftp:  # fmt: skip
            for attempt in (
                sftp.remove("/outgoing/BANK_TXN_20260819_BK01.txt"), sftp.mkdir("/outgoing/x"),
                sftp.open("/outgoing/x", "wb"), sftp.rename("/outgoing/BANK_TXN_20260819_BK01.txt", "/outgoing/y"),
                sftp.stat("/../../etc/passwd"),
            ):  # fmt: skip
                with pytest.raises(asyncssh.SFTPError):
                    await attempt

    asyncio.run(write_and_leave())
