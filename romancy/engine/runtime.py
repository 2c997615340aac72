"""What a run runs on, as its log remembers it: another Python or anyio may be why a history no longer fits."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Final

__all__ = ["RUNTIME"]

RUNTIME: Final = f"{platform.python_implementation()} {platform.python_version()}, anyio {version('anyio')}"
