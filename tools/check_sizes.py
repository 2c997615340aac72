"""Refuse long files and functions: 500 lines for a file, 60 lines for a function.

The generated pages of docs/reference/, one for each package, may be longer.

Run as `python -m tools.check_sizes`; prints one line for each offence and exits with 1 if there is any.
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

WRITTEN = "docs/reference/"
COUNTED = (".py", ".pyi", ".sql", ".sh", ".md", ".toml")


def too_long(name: str, text: str) -> Iterator[str]:
    """Yield one sentence for the file and for each of its functions that is over the limit."""
    lines = text.count("\n") + (not text.endswith("\n") and bool(text))
    if lines > FILE_LINES and not name.startswith(WRITTEN):
        yield f"{name}: {lines} lines, {FILE_LINES} at most: split it by what it is about"
    if not name.endswith(".py"):
        return
    for node in ast.walk(ast.parse(text, filename=name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                yield f"{name}:{node.lineno}: {node.name} has {length} lines, {FUNCTION_LINES} at most"


def main() -> int:
    checked = tree.files(*COUNTED)
    offences = [line for path in checked for line in too_long(tree.name_of(path), path.read_text("utf-8"))]
    print("\n".join([*offences, f"sizes: {len(checked)} files, {len(offences)} too long"]))
    return bool(offences)


if __name__ == "__main__":
    sys.exit(main())
