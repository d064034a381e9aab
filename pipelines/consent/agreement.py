"""An agreement: who receives what, for which purpose, in which form, for how long. Data, in schemas/agreements.

Promises: what is not listed is denied: a field without a form leaves in none, an unknown key, flag, category or
          form stops the load. The hashes that consents must quote are computed from the agreement's own texts.
Refuses:  whatever is malformed (ContractBroken), with file and key, never a guess.
Not here: whether a person agreed (live.py); what the package looks like (extracts/).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

from pipelines.contracts import read_yaml
from pipelines.errors import ContractBroken, Usage
from pipelines.settings import Settings

KINDS = frozenset({"identified"})  # pseudonymous agreements need the banding and k gate, which is not built yet
ENVELOPES = frozenset({"cms", "age"})
CATEGORIES = frozenset(
    {"income", "social_insurance", "bank_cashflow", "identity", "work_activity", "vehicle"}
)  # the words of the consent feed; another word there would cover nothing here
FLAGS = frozenset({"separate_consent", "written_form", "adverse_consequence_notice", "automated_decision_notice"})
# DOMAIN C0 "Extract row": the only names that an agreement may list. Never hashes of features, lake ids, or facts.
_EXTRACT_ROW = """
recipient_ref person_token key_version decision_no product_version rule_hash phase as_of known_at decided_on
valid_until outcome tier limit_fen max_instalment_fen sweep_bp payout_cycle payout_dom conditions reason_codes
verification_grade source_as_of identity_match change_type change_reason supersedes review dispute consent_expires
delete_by cover_from cover_to variant vehicle sum_insured_fen premium_basis duplicate_cover
"""
EXTRACT_FIELDS: Mapping[str, str] = {
    name: "TOKEN" if name == "person_token" else "EXACT" for name in _EXTRACT_ROW.split()
}
_NAME = re.compile(r"[a-z][a-z0-9_]{1,40}")
_SPACE = re.compile(r"[a-z][a-z0-9_.]{1,60}")
_PRODUCT = re.compile(r"[A-Z][0-9]{1,2}")


@dataclass(frozen=True, slots=True)
class Agreement:
    """One recipient, one purpose. Dates are inclusive business dates; `fields` keeps the order of the YAML."""

    id: str
    version: int
    recipient: str
    recipient_name: str
    recipient_name_zh: str
    kind: str
    pseudonym_space: str
    purpose_code: str
    purpose_text: str
    notice_text: str
    products: tuple[str, ...]
    data_categories: tuple[str, ...]
    requires: tuple[str, ...]
    envelope: str
    valid_from: date
    valid_to: date
    pulls_per_day: int
    keep_days: int
    fields: Mapping[str, str]

    @property
    def purpose_text_hash(self) -> str:
        """SHA-256 of the purpose as the person read it; a consent quotes it: rewording voids it (L1)."""
        return hashlib.sha256(self.purpose_text.encode()).hexdigest()

    @property
    def notice_version_hash(self) -> str:
        return hashlib.sha256(self.notice_text.encode()).hexdigest()

    @classmethod
    def load(cls, path: Path) -> Agreement:
        """Raises: ContractBroken naming the file and the key."""
        return _Reader(path).agreement()


def load_all(settings: Settings) -> dict[str, Agreement]:
    """Every agreement of schemas/agreements by id. Raises: ContractBroken, also when two share a recipient's
    purpose (a consent could then not say which of the two it covers) or a pseudonym space across recipients."""
    found: dict[str, Agreement] = {}
    for path in sorted((settings.schemas / "agreements").glob("*.yaml")):
        agreement = Agreement.load(path)
        for other in found.values():
            same_purpose = (agreement.recipient, agreement.purpose_code) == (other.recipient, other.purpose_code)
            shared_space = agreement.pseudonym_space == other.pseudonym_space
            if same_purpose or (shared_space and agreement.recipient != other.recipient):
                raise ContractBroken(
                    f"agreements {other.id} and {agreement.id} overlap",
                    where=path.name,
                    why="one (recipient, purpose) has one agreement; no two recipients share a pseudonym space",
                    do="give one of them another purpose_code or pseudonym_space",
                )
        found[agreement.id] = agreement
    return found


def load(agreement_id: str, settings: Settings) -> Agreement:
    """One agreement by id. Raises: Usage naming those that exist, ContractBroken."""
    folder = settings.schemas / "agreements"
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    if agreement_id not in names:
        raise Usage(
            "no such agreement",
            where=str(folder),
            why="an agreement exists when schemas/agreements has a file of that name",
            do="one of: " + ", ".join(names),
        )
    return load_all(settings)[agreement_id]


class _Reader:
    """Reads one file, key by key; whatever is left over at the end is a typo and stops the load."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._left = read_yaml(path)

    def _broken(self, key: str, why: str) -> NoReturn:
        raise ContractBroken(
            f"agreement {self._path.name} is malformed",
            where=f"key {key}",
            why=why,
            do="schemas/agreements/bank_a_c1.yaml shows every key",
        ) from None

    def agreement(self) -> Agreement:
        made = Agreement(
            id=self._word("id", _NAME),
            version=self._count("version"),
            recipient=self._word("recipient", _NAME),
            recipient_name=self._text("recipient_name"),
            recipient_name_zh=self._text("recipient_name_zh"),
            kind=self._one_of("kind", KINDS),
            pseudonym_space=self._word("pseudonym_space", _SPACE),
            purpose_code=self._word("purpose_code", _NAME),
            purpose_text=self._text("purpose_text"),
            notice_text=self._text("notice_text"),
            products=self._list("products", lambda item: bool(_PRODUCT.fullmatch(item))),
            data_categories=self._list("data_categories", CATEGORIES.__contains__),
            requires=self._list("requires", FLAGS.__contains__),
            envelope=self._one_of("envelope", ENVELOPES),
            valid_from=self._date("valid_from"),
            valid_to=self._date("valid_to"),
            pulls_per_day=self._count("pulls_per_day"),
            keep_days=self._count("keep_days"),
            fields=self._fields(),
        )
        if self._left:
            self._broken(", ".join(sorted(map(str, self._left))), "no such key")
        if made.id != self._path.stem:
            self._broken("id", "the id is the file's name")
        if made.valid_from > made.valid_to:
            self._broken("valid_to", "an agreement ends after it begins")
        if "separate_consent" not in made.requires:  # PIPL 23: sharing asks for a separate consent
            self._broken("requires", "separate_consent is the law, an agreement cannot waive it")
        return made

    def _take(self, key: str) -> Any:
        if key not in self._left:
            self._broken(key, "is missing")
        return self._left.pop(key)

    def _text(self, key: str) -> str:
        value = self._take(key)
        if not isinstance(value, str) or not value.strip() or value != value.strip():
            self._broken(key, "is a non-empty text without blanks around it")
        return str(value)

    def _word(self, key: str, pattern: re.Pattern[str]) -> str:
        value = self._text(key)
        if not pattern.fullmatch(value):
            self._broken(key, f"must match {pattern.pattern}")
        return value

    def _one_of(self, key: str, allowed: frozenset[str]) -> str:
        value = self._text(key)
        if value not in allowed:
            self._broken(key, "is one of " + ", ".join(sorted(allowed)))
        return value

    def _count(self, key: str) -> int:
        value = self._take(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            self._broken(key, "is a whole number from 1 up")
        return int(value)

    def _date(self, key: str) -> date:
        value = self._take(key)
        if type(value) is not date:
            self._broken(key, "is a date, YYYY-MM-DD, without quotes")
        return value

    def _list(self, key: str, known: Any) -> tuple[str, ...]:
        value = self._take(key)
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            self._broken(key, "is a non-empty list of words")
        if len(set(value)) != len(value) or not all(map(known, value)):
            self._broken(key, "holds a word twice, or one that the hub does not know (unknown is denied)")
        return tuple(value)

    def _fields(self) -> dict[str, str]:
        value = self._take("fields")
        if not isinstance(value, dict) or not value:
            self._broken("fields", "maps each field to its form")
        for name, form in self._pairs(value):
            if name not in EXTRACT_FIELDS:
                self._broken(f"fields.{name}", "no such field in an extract row")
            if form != EXTRACT_FIELDS[name]:
                self._broken(f"fields.{name}", "form is EXACT, or TOKEN for person_token alone")
        for must in ("person_token", "recipient_ref", "decision_no", "outcome"):
            if must not in value:
                self._broken(f"fields.{must}", "an identified agreement needs it")
        return dict(value)

    @staticmethod
    def _pairs(value: dict[Any, Any]) -> Iterator[tuple[str, str]]:
        for name, form in value.items():
            yield str(name), str(form)
