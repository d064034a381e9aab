"""All commands of `sanche`, collected from their modules."""

from __future__ import annotations

import typer

from pipelines.cli import demo, people, steps, upkeep

app = typer.Typer(
    name="sanche",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="""sanche 三车: one night at the hub, step by step or as a whole.

    \b
    Try it:        sanche demo
    One night:     sanche night --date 2026-08-20
    One step:      sanche pull platform_order --date 2026-08-20
    Ask:           sanche explain … · sanche sql … · sanche verify

    \b
    Exit codes: 0 done · 64 unknown request · 65 the sender acts · 70 our bug ·
    75 try again · 77 refused.""",
)

for module in (demo, steps, people, upkeep):
    module.register(app)
