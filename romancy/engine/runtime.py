"""Describes the runtime for the log: a change of Python or anyio may explain a divergence."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Final

__all__ = ["RUNTIME"]

RUNTIME: Final = f"{platform.python_implementation()} {platform.python_version()}, anyio {version('anyio')}"
