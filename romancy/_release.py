"""The name of the release that an app is of: chosen, or else the version of the distribution of its workflows."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["release_of"]

_OWN = "romancy"


def release_of(modules: Iterable[str]) -> str:
    """The version of the installed distribution that has the name of the package of these modules. Empty: none has.

    If they are of several packages, none of these versions would be that of all.
    """
    packages = {module.partition(".")[0] for module in modules} - {_OWN, "__main__", "__mp_main__"}
    if len(packages) != 1:
        return ""
    try:
        return version(packages.pop())
    except (PackageNotFoundError, ValueError):
        return ""
