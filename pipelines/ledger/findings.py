"""What a verification says, one finding per thing that was looked at.

Promises: a finding names its check and its subject, and says in words what does not hold; never a record's value.
Refuses:  to call passed what could not be proven: such a finding says so, and is counted on its own.
Not here: the checks themselves (verify.py, artefacts.py, invariants.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

State = Literal["holds", "broken", "unprovable"]


@dataclass(frozen=True, slots=True)
class Finding:
    """check: kind of check ("chain", "invariant 1"); subject: stream, batch, file, package; detail: why not."""

    check: str
    subject: str
    state: State
    detail: str = ""

    @property
    def ok(self) -> bool:
        """False if broken. What is unprovable is not broken; it is not shown to hold either (see state)."""
        return self.state != "broken"


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """All findings, in the order in which they were looked at."""

    findings: list[Finding]

    @property
    def ok(self) -> bool:
        return all(finding.ok for finding in self.findings)

    @property
    def broken(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.state == "broken"]

    @property
    def unprovable(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.state == "unprovable"]


def judged(check: str, subject: str, faults: list[str]) -> Finding:
    """Holds if there is no fault; else broken, with the first three told."""
    if not faults:
        return Finding(check, subject, "holds")
    told = "; ".join(faults[:3]) + (f"; and {len(faults) - 3} more" if len(faults) > 3 else "")
    return Finding(check, subject, "broken", told)


Findings = Iterator[Finding]
