"""A pytest plugin that keeps the chosen tests, on the database on which the short tier has each, until time is up."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from tools.quick.mapping import FOLDER

if TYPE_CHECKING:
    from collections.abc import Collection

CHOICE: Final = FOLDER / "choice"
_UNTIL: Final = pytest.StashKey[float]()


def write_choice(names: Collection[str], files: Collection[str], until: float) -> None:
    CHOICE.write_text(json.dumps({"names": [*names], "files": [*files], "until": until}), encoding="utf-8")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    from tools.tiers import case_of  # noqa: PLC0415 - pytest rewrites the plugins of the tree, which come later

    choice: dict[str, Any] = json.loads(CHOICE.read_text("utf-8"))
    config.stash[_UNTIL] = choice["until"]
    names, files = set(choice["names"]), set(choice["files"])
    kept = [item for item in items if case_of(item).name in names or item.nodeid.partition("::")[0] in files]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def pytest_runtest_setup(item: pytest.Item) -> None:
    if time.time() > item.config.stash[_UNTIL]:
        pytest.skip("quick: no time is left for it")
