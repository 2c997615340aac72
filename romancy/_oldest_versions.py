"""Refuses a Python or a package that is too old. pip prevents these, but an environment may be made without pip.

`import romancy` imports this module first. Older Pythons must be able to read it, so it imports nothing of Romancy, and
its check of Python stands before all other imports.
"""

from __future__ import annotations

import re
import sys

if sys.version_info < (3, 11):  # noqa: UP036 - whoever gets here has not asked pip
    raise ImportError(f"Python {sys.version.split()[0]}: Romancy needs Python 3.11 or newer")

from importlib.metadata import version
from typing import Final

import anyio
import msgspec

__all__ = ["FLOORS", "refusal"]

FLOORS: Final = {
    "aiomysql": "0.3.2",
    "anyio": "4.5",
    "asyncpg": "0.30",
    "click": "8.3.1",
    "msgspec": "0.19",
    "PyMySQL": "1.1.1",
    "sqlite-utils": "4",
}
"""The oldest versions that work, as in pyproject.toml."""
BELOW: Final = {"PyMySQL": "1.2"}
"""The oldest versions that work no more."""


def refusal(package: str, found: str) -> str | None:
    """The sentence that refuses this version of a package, or None if Romancy works with it."""
    floor, below = FLOORS[package], BELOW.get(package)
    if _release(found) >= _release(floor) and (below is None or _release(found) < _release(below)):
        return None
    needed, wanted = f"{floor} or newer", f"{package}>={floor}"
    if below is not None:
        needed, wanted = f"{needed}, and older than {below}", f"{wanted},<{below}"
    return f"{package} {found}: Romancy needs {needed}; pip install '{wanted}'"


def _release(text: str) -> list[int]:
    """The numbers of a version, without zeros at their end and without what follows a release, such as `.dev1`."""
    numbers = re.match(r"[\d.]*", text)
    parts = [int(part) for part in numbers[0].split(".") if part] if numbers else []
    while parts and parts[-1] == 0:
        parts.pop()
    return parts


def _check(package: str, found: str) -> None:
    sentence = refusal(package, found)
    if sentence is not None:
        raise ImportError(sentence)


_check("msgspec", msgspec.__version__)
if "__new__" not in vars(anyio.Lock):  # it tells no version; this came with 4.5, and to read metadata takes longer
    _check("anyio", version("anyio"))
