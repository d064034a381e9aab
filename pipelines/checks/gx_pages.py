"""One validation result as HTML, by Great Expectations' own renderers, without its links to other hosts.

Promises: the page depends on the result alone: no clock, no random id, no address outside the page.
Not here: files and the index (datadocs.py).
"""

# Great Expectations re-exports without saying so, and half of it is untyped.
# mypy: disable-error-code="attr-defined, no-untyped-call"

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

os.environ["GX_ANALYTICS_ENABLED"] = "false"

from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult
from great_expectations.core.expectation_validation_result import expectationSuiteValidationResultSchema
from great_expectations.render import RenderedDocumentContent, RenderedHeaderContent, RenderedSectionContent
from great_expectations.render.renderer.content_block import ValidationResultsTableContentBlockRenderer
from great_expectations.render.view import DefaultJinjaPageView
from jinja2 import ChoiceLoader, FileSystemLoader


def render(validation: dict[str, Any], *, batch: dict[str, Any], fold: str, templates: Path) -> str:
    """The page. fold: name of the section that is folded away, since all is well in it."""
    result: ExpectationSuiteValidationResult = expectationSuiteValidationResultSchema.load(validation)
    groups: dict[str, list[ExpectationValidationResult]] = {
        "Holds the batch": [],
        "More warnings than usual": [],
        "The batch as a whole": [],
        "Broken by some rows, which are quarantined or noted": [],
        fold: [],
    }
    for one in result.results:
        groups[_group(one, fold)].append(one)
    document = RenderedDocumentContent(
        renderer_type="ValidationResultsPageRenderer",
        page_title=f"{batch['feed']} {batch['business_date']}",
        expectation_suite_name=batch["feed"],
        sections=[_section(name, members) for name, members in groups.items() if members],
        utm_medium="",
    )
    return str(_view(templates).render(document, batch=batch, fold=fold))


def _group(one: ExpectationValidationResult, fold: str) -> str:
    config = one.expectation_config
    rule = str(config.meta["rule"]) if config is not None else ""
    if not one.success:
        return (
            "More warnings than usual"
            if config is not None and config.severity == "warning"
            else "Holds the batch"
        )
    if rule.startswith(("volume.", "record.")):
        return "The batch as a whole"
    return "Broken by some rows, which are quarantined or noted" if one.result.get("unexpected_count") else fold


def _section(name: str, members: list[ExpectationValidationResult]) -> RenderedSectionContent:
    heading = RenderedHeaderContent(header={"content_block_type": "string_template", "string_template": {
        "template": name, "tag": "h5"}})  # fmt: skip
    table = ValidationResultsTableContentBlockRenderer.render(members, include_column_name=False)
    return RenderedSectionContent(section_name=name, content_blocks=[heading, table])


@cache
def _view(templates: Path) -> DefaultJinjaPageView:
    view = DefaultJinjaPageView()
    assert view.env.loader is not None
    view.env.loader = ChoiceLoader([FileSystemLoader(templates), view.env.loader])
    return view
