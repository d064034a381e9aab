"""One exception tree, sorted by who must act.

Promises: every error says what happened, where, why and what to do, in at most four lines; the exit code
          tells a script who must act (75 try again, 65 the sender, 77 we refuse, 70 our own bug, 64 usage).
Refuses:  values. No constructor takes the content of a record; callers name feed, file, row and field only.
Not here: turning an engine's error into one of these (each room does that at its own door, `from None`).
"""

from __future__ import annotations


class SancheError(Exception):
    """What failed, where, why, and what to do about it.

    what:  a short headline ("HELD platform_order 2026-08-20: nothing landed, other feeds go on").
    where: feed, batch, file, row, field; never a value.
    why:   the fact that broke a rule.
    do:    the next command or the person to ask.
    """

    exit_code = 70

    def __init__(self, what: str, *, where: str = "", why: str = "", do: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.why, self.do = what, where, why, do

    def __str__(self) -> str:
        lines = [self.what]
        lines += [
            f"{label:<5} {text}"
            for label, text in (("where", self.where), ("why", self.why), ("do", self.do))
            if text
        ]
        return "\n".join(lines)


class Usage(SancheError):
    """The command was asked for something that does not exist (unknown feed, malformed date)."""

    exit_code = 64


class BadInput(SancheError):
    """The sender acts: a file, a record set or a YAML document is not what was agreed."""

    exit_code = 65


class ContractBroken(BadInput):
    """A contract, product or agreement in schemas/ is malformed."""


class TotalsDiffer(BadInput):
    """The records received are not the records that the sender declared."""


class BatchHeld(BadInput):
    """The gate held a batch: nothing of it landed, a person decides."""


class SourceBroken(BadInput):
    """The source answered, but not with what its contract says (HTML, a short body, a wrong trailer)."""


class Refused(SancheError):
    """Fail closed: something that must be there (key, consent, ledger entry, checksum) is not."""

    exit_code = 77


class KeyUnavailable(Refused):
    """A keyring is missing, corrupt, or its passphrase is wrong; or a key is not enabled."""


class NoConsent(Refused):
    """No live consent covers what was asked for."""


class VerificationFailed(Refused):
    """A signature, hash, chain or total does not hold."""


class Transient(SancheError):
    """A retry helps."""

    exit_code = 75


class SourceBusy(Transient):
    """The agency is down, slow, or asks us to wait."""


class CatalogLocked(Transient):
    """Another writer holds the lake's lock for longer than we wait."""


class Bug(SancheError):
    """We act: an invariant of our own code does not hold."""

    exit_code = 70
