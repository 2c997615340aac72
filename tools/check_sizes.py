"""Refuse functions of more than 60 lines, and warn of files of more than 500.

A file is split for its subject, not for a count, so a long one is named and passes. What a tool writes is not counted:
the pages of docs/reference/, one for each package, and romancy/sync/, whose functions are as long as those they follow.

Run as `python -m tools.check_sizes`; prints one line for each offence, and exits with 1 if a function is too long.
"""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING

from tools import tree

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE_LINES = 500
FUNCTION_LINES = 60

WRITTEN = ("docs/reference/", "romancy/sync/")
COUNTED = (".py", ".pyi", ".sql", ".sh", ".md", ".toml")


def long_file(name: str, text: str) -> Iterator[str]:
    """Yield one sentence for the file if it is over its mark."""
    lines = text.count("\n") + (not text.endswith("\n") and bool(text))
    if lines > FILE_LINES and not name.startswith(WRITTEN):
        yield f"{name}: {lines} lines, over {FILE_LINES}: split it if it is about two subjects"


def long_functions(name: str, text: str) -> Iterator[str]:
    """Yield one sentence for each function of the file that is over the limit."""
    if not name.endswith(".py") or name.startswith(WRITTEN):
        return
    for node in ast.walk(ast.parse(text, filename=name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                yield f"{name}:{node.lineno}: {node.name} has {length} lines, {FUNCTION_LINES} at most"


def main() -> int:
    texts = {tree.name_of(path): path.read_text("utf-8") for path in tree.files(*COUNTED)}
    warnings = [f"warning: {line}" for name, text in texts.items() for line in long_file(name, text)]
    offences = [line for name, text in texts.items() for line in long_functions(name, text)]
    counted = f"sizes: {len(texts)} files, {len(warnings)} long; {len(offences)} functions too long"
    print("\n".join([*warnings, *offences, counted]))
    return bool(offences)


if __name__ == "__main__":
    sys.exit(main())
