"""The options that several commands share, and how a result is shown."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from pipelines.calendar import parse_business_date
from pipelines.errors import Usage
from pipelines.receipt import Receipt
from pipelines.settings import Settings


def _home(value: Path | None) -> Path | None:
    if value is not None:
        os.environ["SANCHE_HOME"] = str(value)
    return value


Date = Annotated[
    str, typer.Option("--date", metavar="YYYY-MM-DD", help="The business date (Asia/Shanghai). Never guessed.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON line for scripts instead of text for people.")]
Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        callback=_home,
        is_eager=True,
        help="The hub's folder (else SANCHE_HOME, else home in sanche.toml, else ./var).",
    ),
]


def business_date(text: str) -> date:
    return parse_business_date(text)


def settings() -> Settings:
    """The settings, or Usage when sanche.toml or a SANCHE_* variable is wrong."""
    import tomllib

    from pydantic import ValidationError

    try:
        return Settings()
    except (ValidationError, tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        if isinstance(error, ValidationError):
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        else:
            wrong = f"sanche.toml cannot be read as TOML ({type(error).__name__})"
        raise Usage(
            "settings that sanche does not understand",
            where="sanche.toml or a SANCHE_* variable",
            why=wrong,
            do="pipelines/settings.py lists every setting, with its default",
        ) from None


def show(receipt: Receipt, *, as_json: bool) -> None:
    """One receipt: a JSON line, or a line for people with its counts."""
    if as_json:
        print(receipt.to_json())
        return
    counts = "  ".join(f"{name} {number:,}" for name, number in receipt.counts.items())
    subject = f" {receipt.subject}" if receipt.subject else ""
    print(f"{receipt.business_date}  {receipt.step}{subject}: {receipt.fate}  {counts}".rstrip())
    for name, path in receipt.paths.items():
        print(f"            {name}: {path}")
