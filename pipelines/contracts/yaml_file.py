"""Read one YAML file as plain data: mappings, lists, text, numbers, dates, booleans, null. Nothing else.

Promises: what is returned is exactly what a person reads in the file.
Refuses:  object tags, anchors and aliases (bombs), duplicate keys, keys that are not text, several documents,
          files over a megabyte, nesting over 32 levels (ContractBroken, with file and line).
Not here: what the keys mean (odcs.py).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import yaml

from pipelines.errors import ContractBroken

MAX_BYTES = 1 << 20  # the longest contract of ours is 16 KB
MAX_DEPTH = 32  # the deepest place in an ODCS file that we use is 9

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Strict(_Loader):  # type: ignore[misc]
    """The safe loader, which also refuses a key that stands twice or is not text."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise _Flaw("a key that is not text", key_node.start_mark.line, "quote the key")
            if key in seen:
                raise _Flaw("a key that stands twice", key_node.start_mark.line, "keep one of the two")
            seen.add(key)
        result: dict[str, Any] = super().construct_mapping(node, deep=deep)
        return result


class _Flaw(Exception):
    def __init__(self, what: str, line: int, do: str) -> None:
        super().__init__(what)
        self.what, self.line, self.do = what, line, do


def read_yaml(path: Path) -> dict[str, Any]:
    """The file's one document, a mapping. Raises ContractBroken and never shows what the file says."""
    text = _read_text(path)
    try:
        _refuse_tricks(text)
        document = yaml.load(text, Loader=_Strict)  # noqa: S506 (a SafeLoader, made stricter)
    except _Flaw as flaw:
        raise ContractBroken(
            f"{path.name} is not plain YAML",
            where=f"{path.name}, line {flaw.line + 1}",
            why=flaw.what,
            do=flaw.do,
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        raise ContractBroken(
            f"{path.name} is not plain YAML",
            where=f"{path.name}, line {mark.line + 1}" if mark else path.name,
            why=str(getattr(error, "problem", None) or "it cannot be parsed"),
            do="correct the file; `git diff` shows what changed",
        ) from None
    if not isinstance(document, dict):
        raise ContractBroken(
            f"{path.name} holds no mapping", where=path.name, why="the file's top level is not key: value"
        )
    return document


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError
            data = file.read(MAX_BYTES + 1)
    except OSError:
        raise ContractBroken(f"{path.name} cannot be read", where=str(path), why="no such regular file") from None
    if len(data) > MAX_BYTES:
        raise ContractBroken(f"{path.name} is too long", where=path.name, why=f"over {MAX_BYTES:,} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ContractBroken(f"{path.name} is not UTF-8", where=path.name, do="save it as UTF-8") from None


def _refuse_tricks(text: str) -> None:
    """Looks at the parser's events before anything is built."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _Flaw("anchors and aliases are refused", line, "write the value out")
        if getattr(event, "tag", None) not in (None, "!"):
            raise _Flaw("tags are refused", line, "write plain text, a number, a list or a mapping")
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            depth += 1
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
        if depth > MAX_DEPTH:
            raise _Flaw(f"nested deeper than {MAX_DEPTH} levels", line, "flatten it")
        if documents > 1:
            raise _Flaw("a second document", line, "one file, one contract")
