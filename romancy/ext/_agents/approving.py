"""How people are asked whether a tool may be called.

The text names the arguments, or their digest where they are hidden or too long. A retry of the workflow gets an answer
again only to the same text, so an approval is of one call with these arguments.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

__all__ = ["with_arguments"]

_MOST: Final = 12_000
"""Characters of a question that the arguments of a call may have."""
_DIGEST: Final = 16


def with_arguments(arguments: str, *, shows: bool) -> str:
    """What follows the name of the tool in a question."""
    if shows and len(arguments) <= _MOST:
        return f" with {arguments}"
    digest = sha256(arguments.encode(errors="replace")).hexdigest()[:_DIGEST]
    return f" with {arguments[:_MOST]} … ({digest})" if shows else f" (arguments {digest})"
