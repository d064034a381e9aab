"""The file of connections: who may read it, and what it must hold."""

from __future__ import annotations

import json

import pytest

from pipelines.errors import Refused
from pipelines.settings import Settings
from pipelines.sources.connections import load

BANKS = {"conn_type": "sftp", "host": "127.0.0.1", "port": 22, "login": "hub", "password": "hunter2", "extra": {}}


def home(tmp_path, content, mode=0o600):
    settings = Settings(home=tmp_path)
    settings.connections_file.write_text(content if isinstance(content, str) else json.dumps(content))
    settings.connections_file.chmod(mode)
    return settings


def test_a_missing_file_says_who_writes_it(tmp_path):
    with pytest.raises(Refused, match=r"(?s)connections\.json.*sanche demo.*Airflow"):
        load(Settings(home=tmp_path), "banks")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_file_that_others_may_read_is_refused(tmp_path, mode):
    with pytest.raises(Refused, match="chmod 600"):
        load(home(tmp_path, {"banks": BANKS}, mode), "banks")


@pytest.mark.parametrize(
    "content", ["", "[]", '"x"', {}, {"banks": 7}, {"banks": {"host": "h"}}, {"banks": "sftp://h"}]
)
def test_what_is_no_connection_is_refused_without_quoting_it(tmp_path, content):
    with pytest.raises(Refused, match="does not describe banks"):
        load(home(tmp_path, content), "banks")


def test_extra_may_be_text_as_airflow_writes_it(tmp_path):
    entry = BANKS | {"extra": json.dumps({"path": "/outgoing"})}
    assert load(home(tmp_path, {"banks": entry}), "banks").extra == {"path": "/outgoing"}


def test_a_password_does_not_show(tmp_path):
    assert "hunter2" not in repr(load(home(tmp_path, {"banks": BANKS}), "banks"))
