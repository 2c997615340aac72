"""The page about searches: each line of its table is true on every database."""

from __future__ import annotations

import ast
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Romancy, WorkflowContext, query, workflow
from tools import markdown, tree

if TYPE_CHECKING:
    from romancy.query import FilterValue

pytestmark = pytest.mark.anyio

TEXT = (tree.ROOT / "docs/guide/searching.md").read_text("utf-8")
DOCUMENT = json.loads(next(block.text for block in markdown.read(TEXT).blocks if block.language == "json"))
ROWS: list[tuple[str, str]] = re.findall(r"^\| `(\{.+\})` \| (yes|no) \| ", TEXT, re.MULTILINE)


@workflow
async def searched(ctx: WorkflowContext, order: dict[str, Any], priority: int) -> None:
    """Its input is that of the page."""


def read(text: str) -> dict[str, FilterValue]:
    """Return the filter that a line shows: a literal whose values may be comparisons, joined by `&`."""
    shown = ast.parse(text, mode="eval").body
    assert isinstance(shown, ast.Dict)
    return {
        str(ast.literal_eval(key or shown)): _value(value) for key, value in zip(shown.keys, shown.values, strict=True)
    }


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.BinOp):
        assert isinstance(node.op, ast.BitAnd)
        return _value(node.left) & _value(node.right)
    if isinstance(node, ast.Call):
        assert isinstance(node.func, ast.Name)
        assert node.func.id in query.__all__
        return getattr(query, node.func.id)(*map(ast.literal_eval, node.args))
    return ast.literal_eval(node)


async def test_each_line_of_the_table_is_true(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[searched]) as app:
        handle = await app.start(searched, **DOCUMENT)
        await handle.result()
        wrong: list[tuple[str, str]] = []
        for written, found in ROWS:
            page = await app.find_instances(read(written))
            if [each.instance_id for each in page.instances] != ([handle.instance_id] if found == "yes" else []):
                wrong.append((written, found))

    assert [] == wrong
    assert len(ROWS) > 25
    assert {"yes", "no"} == {found for _, found in ROWS}


def test_the_table_shows_each_comparison() -> None:
    shown = set(re.findall(r"\b([a-z_]+)\(", " ".join(written for written, _ in ROWS)))

    assert {"lte"} >= {name for name in query.__all__ if name.islower()} - shown
