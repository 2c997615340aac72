"""How people are asked whether a tool may be called.

The text names the arguments, or their digest where they are hidden or too long. A retry of the workflow gets an answer
again only to the same text, so an approval is of one call with these arguments.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

__all__ = ["called_with"]

_MOST: Final = 12_000
"""Characters of a question that the arguments of a call may have."""
_DIGEST: Final = 16


def called_with(tool: str, arguments: str, *, shows: bool) -> str:
    """The call, in the words of a question."""
    if shows and len(arguments) <= _MOST:
        return f"{tool} with {arguments}"
    digest = sha256(arguments.encode(errors="replace")).hexdigest()[:_DIGEST]
    return f"{tool} with {arguments[:_MOST]} … ({digest})" if shows else f"{tool} (arguments {digest})"
