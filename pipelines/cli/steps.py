"""The steps of the night as commands: keys, pull, seal, land, marts, decide, head, extract, report, night."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.options import Date, Home, Json, business_date, settings, show
from pipelines.errors import Usage
from pipelines.receipt import Receipt
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.contracts import Contract

Feed = Annotated[str, typer.Argument(help="A feed of schemas/feeds, for instance platform_order.")]
Agreement = Annotated[str, typer.Argument(help="An agreement of schemas/agreements, for instance bank_a_c1.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands to the application."""
    keys = typer.Typer(no_args_is_help=True, help="Make the keyrings, and the keys of a business date.")
    keys.command("init")(keys_init)
    keys.command("day")(keys_day)
    app.add_typer(keys, name="keys")
    for command in (pull, seal, land, marts, decide, head, extract, report, night):
        app.command(command.__name__)(command)


def contract_of(feed: str, hub: Settings) -> Contract:
    """The contract of a feed, or Usage naming the feeds that exist."""
    from pipelines.contracts import Contract
    from pipelines.night import feeds

    known = feeds(hub)
    if not known:
        raise Usage(
            "there are no contracts",
            where=str(hub.schemas / "feeds"),
            do="point SANCHE_SCHEMAS at a schemas folder",
        )
    if feed not in known:
        raise Usage(
            f"no feed called {feed!r}",
            where=str(hub.schemas / "feeds"),
            why="a feed exists when schemas/feeds has a contract for it",
            do="one of: " + ", ".join(sorted(known)),
        )
    return Contract.load(hub.schemas / "feeds" / f"{feed}.odcs.yaml")


def keys_init(
    on: Annotated[str, typer.Option("--date", help="First day on which the hub's certificate is valid.")],
    home: Home = None,
    json: Json = False,
) -> None:
    """Make the four keyrings (pull, seal, land, release) with fresh keys and passphrase files. Safe to repeat."""
    from pipelines.privacy import init_keyrings

    day = business_date(on)
    init_keyrings(settings(), valid_from=day)
    show(Receipt(step="keys", business_date=day, fate="ready"), as_json=json)


def keys_day(on: Date, home: Home = None, json: Json = False) -> None:
    """Make the key under which a business date's raw batches are stored; its public half lies in the vault."""
    from pipelines.privacy import day_recipient

    day = business_date(on)
    day_recipient(settings(), day)
    show(Receipt(step="keys", subject="day", business_date=day, fate="ready"), as_json=json)


def pull(feed: Feed, on: Date, home: Home = None, json: Json = False) -> None:
    """Fetch what a feed's source shows since the last pull, and store the bytes, encrypted, before reading them.

    A feed that is new is asked for thirteen months. Run again: nothing changes.
    """
    from pipelines.lake import Lake
    from pipelines.launch import run_step
    from pipelines.privacy import open_keyring
    from pipelines.sources import pull as step
    from pipelines.vault import day_recipient_path

    hub, day = settings(), business_date(on)
    contract = contract_of(feed, hub)
    if not day_recipient_path(hub, day).exists():
        # The day's key is made by a process of its own: the puller never opens the sealer's keyring.
        run_step("keys", "day", "--date", on, settings=hub)
    with Lake.attach(hub) as lake:
        receipt = step(
            feed,
            contract=contract,
            settings=hub,
            lake=lake,
            keyring=open_keyring(hub, "pull"),
            business_date=day,
        )
    show(receipt, as_json=json)


def seal(home: Home = None, json: Json = False) -> None:
    """Open raw batches and write them as sealed records (tokens instead of identifiers) to standard output.

    Started by `land`: reads its request as JSON on standard input, writes an Arrow stream. Not for terminals:
    it alone sees raw identifiers, and what it writes holds none.
    """
    from pipelines.privacy import open_keyring
    from pipelines.sealing import SealRequest
    from pipelines.sealing import seal as step

    if sys.stdin.isatty() or sys.stdout.isatty():
        raise Usage("seal is started by `sanche land`", do="sanche land platform_order --date 2026-08-20")
    hub = settings()
    request = SealRequest.from_json(sys.stdin.buffer.read())
    step(
        request,
        settings=hub,
        keyring=open_keyring(hub, "seal"),
        contract=contract_of(request.feed, hub),
        out=sys.stdout.buffer,
    )


def land(feed: Feed, on: Date, home: Home = None, json: Json = False) -> None:
    """Check a pulled batch against its contract and land it: landed, quarantined or duplicate, in one commit."""
    from pipelines.launch import Sealer

    hub, day = settings(), business_date(on)
    contract = contract_of(feed, hub)
    with closing(Sealer(hub)) as sealer:  # before any key or lake is open in this process
        from pipelines.lake import Lake
        from pipelines.landing import land as step
        from pipelines.privacy import open_keyring

        with Lake.attach(hub) as lake:
            receipt = step(
                feed,
                contract=contract,
                settings=hub,
                lake=lake,
                keyring=open_keyring(hub, "land"),
                business_date=day,
                open_sealed=sealer.stream,
            )
    show(receipt, as_json=json)


def marts(on: Date, home: Home = None, json: Json = False) -> None:
    """Build all marts as known on a business date, in one commit."""
    from pipelines.lake import Lake
    from pipelines.marts import build

    hub = settings()
    with Lake.attach(hub) as lake:
        show(build(settings=hub, lake=lake, business_date=business_date(on)), as_json=json)


def decide(on: Date, home: Home = None, json: Json = False) -> None:
    """Decide every product for every person with a live consent, and keep all reasons."""
    from pipelines.eligibility import decide as step
    from pipelines.lake import Lake

    hub = settings()
    with Lake.attach(hub) as lake:
        show(step(settings=hub, lake=lake, business_date=business_date(on)), as_json=json)


def head(on: Date, home: Home = None, json: Json = False) -> None:
    """Sign the ledger's head for a business date; packages quote it."""
    from pipelines.lake import Lake
    from pipelines.ledger import close_head, latest_head
    from pipelines.privacy import cms_signer, open_keyring

    hub, day = settings(), business_date(on)
    sign = cms_signer(hub, open_keyring(hub, "release"))
    with Lake.attach(hub) as lake:
        latest = latest_head(lake)
        signed = close_head(lake, business_date=day, sign=sign)
    receipt = Receipt(
        step="head",
        business_date=day,
        fate="unchanged" if latest is not None and signed.head_no <= latest.head_no else "signed",
        counts={"head_no": signed.head_no, "streams": signed.streams},
        hashes={"root": signed.root},
    )
    show(receipt, as_json=json)


def extract(agreement: Agreement, on: Date, home: Home = None, json: Json = False) -> None:
    """Publish one agreement's package: only people who consented, only agreed fields, encrypted and signed."""
    from pipelines.extracts import extract as step
    from pipelines.lake import Lake
    from pipelines.privacy import open_keyring

    hub = settings()
    with Lake.attach(hub) as lake:
        receipt = step(
            agreement,
            settings=hub,
            lake=lake,
            keyring=open_keyring(hub, "release"),
            business_date=business_date(on),
        )
    show(receipt, as_json=json)


def report(on: Date, home: Home = None, json: Json = False) -> None:
    """Write the night's page (one HTML file) and the Great Expectations Data Docs."""
    from pipelines.checks import datadocs
    from pipelines.lake import Lake
    from pipelines.report import build

    hub = settings()
    with Lake.attach(hub, read_only=True) as lake:
        receipt = build(settings=hub, lake=lake, business_date=business_date(on))
    site = datadocs.build(hub)
    receipt.paths["data_docs"] = str(site)
    show(receipt, as_json=json)


def night(on: Date, home: Home = None, json: Json = False) -> None:
    """Run a whole night without Airflow, each step as a process of its own. Stop it anywhere and run it again.

    A feed that fails does not stop the others; the exit code is then that of the first feed that failed.
    """
    from pipelines.night import run_night

    hub, day = settings(), business_date(on)
    outcome = run_night(day, settings=hub, tell=None if json else lambda line: print(line, flush=True))
    if json:
        counts = {
            fate: sum(r.fate == fate for r in outcome.receipts) for fate in {r.fate for r in outcome.receipts}
        }
        show(Receipt(step="night", business_date=day, fate=outcome.fate, counts=counts), as_json=True)
    if outcome.errors:
        raise outcome.errors[0]
