"""The door that engine errors do not pass: their texts quote cells.

Promises: whatever DuckDB raises leaves as one of our errors, with the engine's kind of error and no value.
Refuses:  the engine's text, except for errors about names (a missing column, a typo), which are about our own SQL;
          even there every quoted literal is blanked.
Not here: retrying (Airflow), errors of other engines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from pipelines.errors import Bug, CatalogLocked, SancheError, Transient

_ABOUT_NAMES = (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException, duckdb.SyntaxException)
_LITERAL = re.compile(r"'(?:[^']|'')*'|\b\d{4,}\b")  # a long digit run may be an identifier, so it goes too


@contextmanager
def door(doing: str) -> Iterator[None]:
    """Run engine calls; `doing` is said in the error ("marts 2026-08-20")."""
    try:
        yield
    except duckdb.Error as error:
        ours = _ours(error, doing)
    else:
        return
    raise ours from None


def _ours(error: duckdb.Error, doing: str) -> SancheError:
    kind = type(error).__name__
    text = str(error)
    if isinstance(error, _ABOUT_NAMES):
        names = _LITERAL.sub("'…'", text.split("\n", 1)[0])
        return Bug(f"the lake did not understand a statement of {doing}", why=f"{kind}: {names}")
    if isinstance(error, duckdb.OutOfMemoryException):
        return Transient(
            f"{doing} needs more memory than it may use",
            why=f"{kind} (values withheld)",
            do="raise SANCHE_MEMORY_LIMIT, or free space below the home folder's tmp/",
        )
    if "database is locked" in text or "Conflict" in text or "conflict" in text:
        return CatalogLocked(
            f"another writer was faster than {doing}",
            why=f"{kind} (values withheld)",
            do="run it again; a rerun changes nothing",
        )
    if isinstance(error, duckdb.IOException):
        return Transient(
            f"{doing} could not read or write the lake",
            why=f"{kind} (values withheld)",
            do="look at space and rights of the home folder, then run it again",
        )
    return Bug(f"the lake refused a statement of {doing}", why=f"{kind} (values withheld)")
