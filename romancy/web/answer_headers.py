"""Headers of every answer of an HTTP server, so that a browser neither guesses its type nor gives it to other pages."""

from __future__ import annotations

from typing import Final

__all__ = ["INERT"]

INERT: Final = {
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}
