"""An agreement is data that denies: a typo, an unknown word or a clever YAML stops the load."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.consent import Agreement, load, load_all
from pipelines.errors import ContractBroken, Usage
from pipelines.settings import REPOSITORY, Settings
from tests.unit.consent.world import BANK, INSURER, SETTINGS

ORIGINAL = (REPOSITORY / "schemas/agreements/bank_a_c1.yaml").read_text()


def written(tmp_path: Path, text: str, name: str = "bank_a_c1") -> Path:
    folder = tmp_path / "agreements"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def test_the_two_agreements_load_and_share_no_pseudonym_space() -> None:
    assert {"bank_a_c1", "insurer_b_i1"} <= set(load_all(SETTINGS))
    assert BANK.pseudonym_space != INSURER.pseudonym_space
    assert not {"limit_fen", "max_instalment_fen", "tier"} & set(INSURER.fields)
    assert not {"sum_insured_fen", "cover_from"} & set(BANK.fields)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("kind: identified ", "kind: pseudonymous ", "kind"),
        ("version: 1", "version: '1'", "version"),
        ("version: 1", "versoin: 1", "version"),
        ("keep_days: 30", "keep_days: 30\nkeep_for_ever: true", "keep_for_ever"),
        ("keep_days: 30", "keep_days: 30\nkeep_days: 9000", "file"),
        ("envelope: cms", "envelope: none", "envelope"),
        ("envelope: cms", "envelope: &a cms\nrecipient_name: *a", "file"),
        ("envelope: cms", "envelope: !!python/name:os.system cms", "file"),
        ("valid_to: 2028-12-31", "valid_to: 2025-12-31", "valid_to"),
        ("valid_to: 2028-12-31", "valid_to: soon", "valid_to"),
        ("[income,", "[income, health,", "data_categories"),
        ("[separate_consent, adv", "[adv", "requires"),
        ("[separate_consent, adv", "[separate_consent, good_mood, adv", "requires"),
        ("  tier: EXACT", "  inc_cv_6: EXACT", "fields.inc_cv_6"),
        ("  tier: EXACT", "  person_id: EXACT", "fields.person_id"),
        ("  tier: EXACT", "  tier: BAND", "fields.tier"),
        ("person_token: TOKEN", "person_token: EXACT", "fields.person_token"),
        ("  recipient_ref: EXACT\n", "", "fields.recipient_ref"),
        ("id: bank_a_c1", "id: bank_b_c1", "id"),
        ("recipient: bank_a\n", "recipient: ../bank_a\n", "recipient"),
    ],
)
def test_X12_what_is_not_understood_stops_the_load(tmp_path: Path, old: str, new: str, key: str) -> None:
    assert old in ORIGINAL
    with pytest.raises(ContractBroken) as caught:
        Agreement.load(written(tmp_path, ORIGINAL.replace(old, new, 1)))
    where = caught.value.where
    assert where.startswith("bank_a_c1.yaml") if key == "file" else where == f"key {key}"


def test_a_missing_file_and_a_huge_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractBroken):
        Agreement.load(tmp_path / "bank_a_c1.yaml")
    with pytest.raises(ContractBroken):
        Agreement.load(written(tmp_path, ORIGINAL + "#" * 2**20))
    with pytest.raises(ContractBroken):
        Agreement.load(written(tmp_path, "[" * 20_000))


def test_two_recipients_never_share_a_pseudonym_space(tmp_path: Path) -> None:
    written(tmp_path, ORIGINAL)
    other = ORIGINAL.replace("id: bank_a_c1", "id: bank_c_c1").replace(
        "recipient: bank_a\n", "recipient: bank_c\n"
    )
    written(tmp_path, other, "bank_c_c1")
    with pytest.raises(ContractBroken):
        load_all(Settings(schemas=tmp_path))


def test_an_unknown_agreement_lists_those_that_exist() -> None:
    with pytest.raises(Usage) as caught:
        load("bank_z", SETTINGS)
    assert "bank_a_c1" in caught.value.do
