"""Databases of former versions, one file for each version and kind, and their paths."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
KINDS = ("sqlite", "postgres", "mysql", "mariadb")
FILES = sorted(HERE.glob("*.jsonl"))
"""Each is named `<version>.<kind>.jsonl`."""
