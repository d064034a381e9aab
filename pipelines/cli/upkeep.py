"""Commands for whoever keeps the hub: verify what was done, and find out what is wrong."""

from __future__ import annotations

import json as jsonlib
from typing import Annotated

import typer

from pipelines.cli.options import Home, Json, business_date, settings
from pipelines.errors import Usage, VerificationFailed


def register(app: typer.Typer) -> None:
    """Add this module's commands to the application."""
    for command in (verify, doctor):
        app.command(command.__name__)(command)


def verify(
    on: Annotated[str | None, typer.Option("--date", help="Only this business date's invariants.")] = None,
    every: Annotated[bool, typer.Option("--every", help="List what holds too, not only what does not.")] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Check the ledger's chains and heads, every file's hash, and the invariants of each night.

    Exit: 0 all holds, 77 something does not (each finding says what and where).
    """
    from pipelines.lake import Lake
    from pipelines.ledger import verify as check
    from pipelines.privacy import cms_verifier

    hub = settings()
    with Lake.attach(hub, read_only=True) as lake:
        if on and not lake.rows("select 1 from control.pulled where business_date = ?", [business_date(on)]):
            raise Usage(
                f"nothing was pulled on {on}",
                why="a night that did not run proves nothing",
                do="sanche verify without --date checks every night there is",
            )
        report = check(
            lake,
            hub,
            business_date=business_date(on) if on else None,
            verify_signature=cms_verifier(hub),
        )
    broken = [finding for finding in report.findings if not finding.ok]
    if json:
        told = [{"check": f.check, "subject": f.subject, "ok": f.ok, "detail": f.detail} for f in report.findings]
        print(jsonlib.dumps({"ok": report.ok, "checked": len(told), "findings": told}, ensure_ascii=False))
    else:
        for finding in report.findings if every else broken:
            mark = "ok    " if finding.ok else "BROKEN"
            print(f"{mark}  {finding.check}  {finding.subject}  {finding.detail}".rstrip())
        kinds = sorted({finding.check for finding in report.findings})
        print(f"{len(report.findings):,} checks of {len(kinds)} kinds: {len(broken)} broken")
    if broken:
        raise VerificationFailed(
            f"{len(broken)} of {len(report.findings)} checks do not hold",
            where=f"{broken[0].check}: {broken[0].subject}",
            why=broken[0].detail,
            do="sanche verify --json lists them all; publish nothing until each is explained",
        )


def doctor(
    feed: Annotated[str | None, typer.Option(help="Look at one feed: its watermark and its last batches.")] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Look at the machine, the folders, the keys and the agencies, and say what is wrong and what to do.

    Exit: 0 all well, 75 something needs attention.
    """
    from pipelines.cli.doctor import examine, examine_feed
    from pipelines.errors import Transient

    hub = settings()
    findings = examine_feed(hub, feed) if feed else examine(hub)
    if json:
        print(jsonlib.dumps([vars(finding) for finding in findings], ensure_ascii=False))
    else:
        for finding in findings:
            print(f"{'ok  ' if finding.ok else 'LOOK'}  {finding.subject:<22} {finding.told}")
            if not finding.ok and finding.do:
                print(f"      {'':<22} do: {finding.do}")
    wrong = sum(not finding.ok for finding in findings)
    if wrong:
        raise Transient(f"{wrong} of {len(findings)} need attention")
