"""Histories of former versions, one file each, and their paths."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("*.jsonl"))
