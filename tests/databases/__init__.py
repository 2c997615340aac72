"""Databases of former versions, one file for each version and kind, and their paths."""

from __future__ import annotations

import hashlib
from pathlib import Path

HERE = Path(__file__).parent
KINDS = ("sqlite", "postgres", "mysql", "mariadb")
FILES = sorted(HERE.glob("*.jsonl"))
"""Each is named `<version>.<kind>.jsonl`."""


def digest(migration: str) -> str:
    """Return the digest of the statements of a migration, without its comments."""
    statements = "\n".join(line for line in migration.splitlines() if not line.lstrip().startswith("--"))
    return hashlib.sha256(statements.encode()).hexdigest()
