"""Reads the source of workflows for calls whose answers differ from run to run. It runs nothing of the workflows."""

from __future__ import annotations

from romancy.linting._reading import Finding, findings_in

__all__ = ["Finding", "findings_in"]
