"""Publish one agreement's package for a business date: consents checked again, encrypted, signed, registered.

Promises: crash-safe: staged and fsynced, then one lake commit (registry, rows, ledger), then one rename; a rerun
          after a kill at any point ends with one package of the same plaintext, or answers "unchanged".
          Consents are judged inside that commit, by everything that has landed: who withdrew is absent (E25).
Refuses:  an agreement that is not in force, or over its pulls a day; a lake whose files are not what was
          written; a night whose ledger head is not signed.
Not here: rows (rows.py), files (package.py), envelopes (envelope.py), the other side (receiver.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any

import pyarrow as pa
import rfc8785

from pipelines import ledger
from pipelines.calendar import as_of
from pipelines.consent import Agreement, load
from pipelines.errors import NoConsent, Refused, VerificationFailed
from pipelines.extracts import package
from pipelines.extracts.package import Place
from pipelines.extracts.rows import Deletions, Opener, Scope, deletions_of, scope_of, sealed_refs
from pipelines.extracts.secrets import Secrets
from pipelines.lake import Commit, Lake
from pipelines.privacy import Keyring, signing_certificate_path
from pipelines.receipt import Receipt
from pipelines.settings import Settings

VOID = "package.void"  # why the rows of a package that was lost before it was published were not sent
INPUTS = ("decisions.decision", "landed.consent", "marts.person_link", "control.extract_row")
DELETION_NOTICE = """create table if not exists control.deletion_notice (
    agreement varchar not null, recipient varchar not null, sequence integer not null,
    person_id uuid not null, consent_id varchar)"""
LAST = """
select sequence, business_date, manifest_sha256, previous_manifest_sha256, rows, in_scope, withheld, status
from control.extract
where agreement = $agreement order by sequence desc
"""
OUT = (
    "select 1 from control.extract where agreement = $agreement and business_date = $day and status = 'published'"
)
# Decisions of the night that the last package did not speak of, or that it spoke of and that are gone.
CHANGED = """
with now as (
    select decision_no from decisions.decision d
    where agreement = $agreement and business_date = $day and not exists (
        select 1 from decisions.decision later where later.agreement = d.agreement
        and later.business_date = d.business_date and later.supersedes = d.decision_no)
), told as (
    select decision_no from control.extract_row where agreement = $agreement and sequence = $sequence
)
select count(*) from now full join told using (decision_no)
where now.decision_no is null or told.decision_no is null
"""


@dataclass(frozen=True, slots=True)
class Registered:
    """A row of control.extract."""

    sequence: int
    business_date: date
    manifest_sha256: str
    previous_manifest_sha256: str | None
    rows: int
    in_scope: int
    withheld: str
    status: str


def extract(
    agreement: str | Agreement, *, settings: Settings, lake: Lake, keyring: Keyring, business_date: date
) -> Receipt:
    """Publish; fate "published" or "unchanged". Raises: Refused, KeyUnavailable, VerificationFailed, Usage."""
    terms = load(agreement, settings) if isinstance(agreement, str) else agreement
    _in_force(terms, business_date)
    _decided(lake, terms, business_date)
    lake.files_intact([table for table in INPUTS if lake.has_table(table)])
    lake.ensure_table(DELETION_NOTICE)
    secrets = Secrets(settings, keyring)
    if not lake.rows(OUT, {"agreement": terms.id, "day": business_date}):
        # Opening a reference takes 0.1 ms; done here, a large agreement does not hold up other writers.
        secrets.open_ahead(sealed_refs(lake, terms, business_date))
    with lake.commit(step=f"extract {terms.id}", business_date=business_date) as commit:
        job = _Job(terms, settings, lake, commit, secrets, business_date)
        finished = job.finish_last()
        done = job.already_done()
        if done is not None:
            fate = "published" if finished == done.sequence else "unchanged"
            return _receipt(terms, business_date, fate, done, settings)
        made = job.build()
    return _receipt(terms, business_date, "published", made, settings)


def _in_force(agreement: Agreement, business_date: date) -> None:
    if not agreement.valid_from <= business_date <= agreement.valid_to:
        raise Refused(
            f"agreement {agreement.id} is not in force on {business_date}",
            where=f"{agreement.id}, valid_from {agreement.valid_from}, valid_to {agreement.valid_to}",
            why="nothing leaves without an agreement in force",
            do="renew the agreement as a new version",
        )


def _decided(lake: Lake, agreement: Agreement, business_date: date) -> None:
    """A night that was never decided has no rows, and an empty package would say that nobody applied."""
    decided = "select 1 from control.build where step = 'decide' and business_date = ?"
    if not lake.rows(decided, [business_date]):
        raise Refused(
            f"nothing was decided for {business_date}",
            where=agreement.id,
            why="an empty package would tell the recipient that it has no applicants",
            do=f"sanche decide --date {business_date}",
        )
    if not lake.has_table("landed.consent"):
        raise NoConsent(
            "no consent has ever landed",
            where=agreement.id,
            why="every row is checked against the person's consent when it is published",
            do=f"sanche pull consent --date {business_date}, then land, marts, decide and head",
        )


def _receipt(agreement: Agreement, day: date, fate: str, made: Registered, settings: Settings) -> Receipt:
    place = Place(agreement.id, agreement.recipient, made.sequence, settings.outbox_dir)
    return Receipt(
        step="extract",
        subject=agreement.id,
        business_date=day,
        fate=fate,
        counts={
            "sequence": made.sequence,
            "in_scope": made.in_scope,
            "sent": made.rows,
            "withheld": made.in_scope - made.rows,
        },
        hashes={"manifest": made.manifest_sha256},
        paths={"package": str(place.published)},
    )


class _Job:
    """One run under the writer's lock."""

    def __init__(
        self, agreement: Agreement, settings: Settings, lake: Lake, commit: Commit, secrets: Secrets, day: date
    ) -> None:
        self._agreement, self._settings, self._lake = agreement, settings, lake
        self._commit, self._secrets, self._day = commit, secrets, day

    def _place(self, sequence: int) -> Place:
        return Place(self._agreement.id, self._agreement.recipient, sequence, self._settings.outbox_dir)

    def _check(self, folder: Path, made: Registered) -> None:
        package.check_folder(folder, made.manifest_sha256, signing_certificate_path(self._settings))

    def _registered(self) -> list[Registered]:
        """Newest first."""
        found = self._commit.execute(LAST, {"agreement": self._agreement.id}).fetchall()
        return [Registered(*row) for row in found]

    def finish_last(self) -> int | None:
        """A package that was registered, and whose run died before the rename: rename it now.

        Its staging lost (a disk restored from backup): the number is void, the next package says so.
        """
        registered = self._registered()
        if not registered or registered[0].status != "published":
            return None
        last = registered[0]
        place = self._place(last.sequence)
        if place.published.exists():
            return None
        try:
            self._check(place.staging, last)
        except VerificationFailed:
            self._void(last)
            return None
        package.publish_folder(place)
        return last.sequence

    def _void(self, last: Registered) -> None:
        # Nothing of it left: every row counts as withheld, so that nobody is "sent" who was not.
        withheld = rfc8785.dumps({VOID: last.in_scope}).decode()
        number = {"agreement": self._agreement.id, "sequence": last.sequence}
        self._commit.execute(
            "update control.extract set status = 'unpublished', rows = 0, withheld = $withheld "
            "where agreement = $agreement and sequence = $sequence",
            number | {"withheld": withheld},
        )
        self._commit.execute(
            "update control.extract_row set withheld_reason = $reason "
            "where agreement = $agreement and sequence = $sequence",
            number | {"reason": VOID},
        )
        body: dict[str, Any] = {
            "agreement": self._agreement.id,
            "sequence": last.sequence,
            "manifest_sha256": last.manifest_sha256,
            "why": "lost before it was published",
        }
        self._append("void", body)

    def already_done(self) -> Registered | None:
        """The night's package, if it is out, whole, and speaks of the decisions as they stand."""
        for made in self._registered():
            if made.business_date != self._day or made.status != "published":
                continue
            self._check(self._place(made.sequence).published, made)
            asked = {"agreement": self._agreement.id, "day": self._day, "sequence": made.sequence}
            changed = self._commit.execute(CHANGED, asked).fetchone()
            return made if changed == (0,) else None
        return None

    def build(self) -> Registered:
        """Stage the next package, register it; the rename follows the commit."""
        registered = self._registered()
        self._within_quota(registered)
        place = self._place(registered[0].sequence + 1 if registered else 1)
        package.discard_staging(place.outbox, self._agreement.id)
        opener = self._secrets.opener(self._agreement.pseudonym_space)
        scope = scope_of(self._lake, self._agreement, self._day, opener)
        deletions = deletions_of(self._lake, self._agreement, self._day, opener)
        files = package.write_parts(place, scope.sent, deletions.notices, self._agreement, self._settings)
        manifest = rfc8785.dumps(self._manifest(place, files, scope, deletions, opener, registered))
        is_out = place.published.exists()
        manifest_sha256 = (
            package.adopt(place, manifest, signing_certificate_path(self._settings))
            if is_out
            else package.seal_manifest(place, manifest, self._secrets.sign(manifest))
        )
        made = Registered(
            place.sequence,
            self._day,
            manifest_sha256,
            registered[0].manifest_sha256 if registered else None,
            scope.sent.num_rows,
            scope.in_scope,
            rfc8785.dumps(dict(scope.withheld)).decode(),
            "published",
        )
        self._register(place, made, scope, deletions, registered)
        if not is_out:
            self._commit.after_commit(lambda: package.publish_folder(place))
        return made

    def _within_quota(self, registered: list[Registered]) -> None:
        out = [
            made.sequence
            for made in registered
            if made.business_date == self._day and self._place(made.sequence).published.exists()
        ]
        if len(out) >= self._agreement.pulls_per_day:
            raise Refused(
                f"{self._agreement.id} had its packages for {self._day}",
                where=f"{self._agreement.id}, pulls_per_day {self._agreement.pulls_per_day}",
                why="an agreement caps how often a day's data may leave",
                do="let the next night carry the change, or agree on a higher cap",
            )

    def _manifest(
        self, place: Place, files: list[dict[str, Any]], scope: Scope, deletions: Deletions, opener: Opener,
        registered: list[Registered],
    ) -> dict[str, Any]:  # fmt: skip
        agreement = self._agreement
        return {
            "format": 1,
            "recipient": agreement.recipient,
            "agreement": agreement.id,
            "agreement_version": agreement.version,
            "purpose": {"code": agreement.purpose_code, "text_sha256": agreement.purpose_text_hash},
            "sequence": place.sequence,
            "previous_manifest_sha256": registered[0].manifest_sha256 if registered else None,
            "void": _void_since_last(registered),
            "business_date": self._day.isoformat(),
            "as_of": as_of(self._day).isoformat(),
            "expires_on": (as_of(self._day) + timedelta(days=agreement.keep_days)).isoformat(),
            "files": files,
            "fields": dict(agreement.fields),
            "totals": {
                "in_scope": scope.in_scope,
                "sent": scope.sent.num_rows,
                "withheld": scope.withheld,
                "deletions": len(deletions.notices),
            },
            "key_versions": {"person_token": opener.key_version},
            "ledger_head": self._quote(),
        }

    def _quote(self) -> dict[str, Any]:
        """The signed head of this night, with the proof that the decisions are under it.

        Without evidence nothing leaves (as X-Road stops without a timestamp).
        """
        head = ledger.latest_head(self._lake)
        if head is None or head.business_date < self._day:
            raise Refused(
                f"the ledger has no signed head for {self._day}",
                where=self._agreement.id,
                why="a package quotes the head of its night",
                do=f"sanche head --date {self._day}",
            )
        # Of all streams that the head covers, the one that this package rests on.
        streams = [leaf.stream for leaf in head.leaves]
        return head.quote(next((stream for stream in streams if stream.startswith("decision")), streams[0]))

    def _register(
        self, place: Place, made: Registered, scope: Scope, deletions: Deletions, registered: list[Registered]
    ) -> None:
        previous = made.previous_manifest_sha256
        who = [place.agreement, place.recipient, place.sequence]
        self._supersede(registered)
        self._commit.execute(
            "insert into control.extract (agreement, recipient, sequence, business_date, as_of, manifest_sha256, "
            "previous_manifest_sha256, folder, rows, in_scope, withheld, status) "
            "values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [*who, self._day, as_of(self._day), made.manifest_sha256, previous, place.folder,
             made.rows, made.in_scope, made.withheld, made.status],
        )  # fmt: skip
        if scope.in_scope:
            self._commit.insert("control.extract_row", _numbered(who, scope.listed))
        if deletions.notices:
            self._commit.insert("control.deletion_notice", _numbered(who, deletions.listed))
        body: dict[str, Any] = {
            "agreement": place.agreement,
            "agreement_version": self._agreement.version,
            "recipient": place.recipient,
            "sequence": place.sequence,
            "manifest_sha256": made.manifest_sha256,
            "previous_manifest_sha256": previous,
            "in_scope": made.in_scope,
            "sent": made.rows,
            "withheld": dict(scope.withheld),
            "deletions": len(deletions.notices),
        }
        self._append("published", body)

    def _supersede(self, registered: list[Registered]) -> None:
        """An earlier package of the same night stays in the outbox, and is marked: a later one replaces it."""
        if any(made.business_date == self._day and made.status == "published" for made in registered):
            self._commit.execute(
                "update control.extract set status = 'superseded' "
                "where agreement = $agreement and business_date = $day and status = 'published'",
                {"agreement": self._agreement.id, "day": self._day},
            )

    def _append(self, kind: str, body: dict[str, Any]) -> None:
        ledger.append(
            self._commit,
            stream=f"agreement.{self._agreement.id}",
            kind=kind,
            business_date=self._day,
            body=body,
        )


def _numbered(who: list[Any], listed: pa.Table) -> pa.Table:
    """Rows of control.extract_row or control.deletion_notice: the package's number in front."""
    kinds = {"agreement": pa.string(), "recipient": pa.string(), "sequence": pa.int32()}
    front = {
        name: pa.array([value] * listed.num_rows, kind)
        for (name, kind), value in zip(kinds.items(), who, strict=True)
    }
    return pa.table(front | dict(zip(listed.column_names, listed.columns, strict=True)))


def _void_since_last(registered: list[Registered]) -> list[dict[str, Any]]:
    """Packages that no recipient will ever see, since the last one that left; the next manifest explains the gap
    in the numbers, signed, so that the chain of manifests has none."""
    lost = reversed(list(takewhile(lambda made: made.status == "unpublished", registered)))
    return [
        {
            "sequence": made.sequence,
            "manifest_sha256": made.manifest_sha256,
            "previous_manifest_sha256": made.previous_manifest_sha256,
        }
        for made in lost
    ]
