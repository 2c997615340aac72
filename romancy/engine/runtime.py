"""The runtime that a log records: another Python or anyio may explain why a history no longer fits."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Final

__all__ = ["RUNTIME"]

RUNTIME: Final = f"{platform.python_implementation()} {platform.python_version()}, anyio {version('anyio')}"
