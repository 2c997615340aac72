"""One line about a failure that begins with what was raised, and ends with our own errors around it.

The messages of our errors name what they are about first, and logs keep them, so that a body that has used one gets the
same on replay. People read a few dozen characters of a line, and these must not be the name of a wrapper.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["around", "called", "cause_first", "one_line"]

_OURS: Final = ("romancy.errors.RetryExhaustedError: ", "romancy.errors.WorkflowFailedError: ")
_AROUND: Final = re.compile(
    rf"(?:{'|'.join(map(re.escape, _OURS))})?"
    r"(?:activity (?P<id>.+?) failed after (?P<attempts>\d+) attempt\(s\)|child workflow (?P<child>.+?) failed): ",
    re.DOTALL,
)
_FRAME: Final = re.compile(r'^  File "(?P<file>[^"\n]+)", line (?P<line>\d+), in (?P<name>.+)$', re.MULTILINE)
_NAME: Final = re.compile(r"[\w.<>]+: ")


def one_line(name: str, message: str, trace: str = "") -> str:
    """The type and the message of an exception. Without a message, also where it was raised, if the trace tells."""
    if message:
        return f"{name}: {message}"
    frames = [found for found in _FRAME.finditer(trace.partition("\n  raised again:\n")[0]) if not _is_asyncio(found)]
    if not frames:
        return f"{name} (no message)"
    last = frames[-1]
    file = last["file"].replace("\\", "/").rpartition("/")[2]
    return f"{name} (no message) raised in {last['name']} ({file}:{last['line']})"


def _is_asyncio(frame: re.Match[str]) -> bool:
    """Whether the frame is of asyncio, which raises on behalf of its caller."""
    return "/asyncio/" in frame["file"].replace("\\", "/")


def around(text: str) -> tuple[str, list[str]]:
    """What our errors say of the failure behind them, and what each of them adds, the innermost first."""
    if not text.startswith(_OURS):
        return text, []
    added: list[str] = []
    while (found := _AROUND.match(text)) is not None:
        added.insert(0, _added(found))
        text = text[found.end() :]
    return text, added


def _added(found: re.Match[str]) -> str:
    if found["child"] is not None:
        return f"in child workflow {found['child']}"
    attempts = "1 attempt" if found["attempts"] == "1" else f"{found['attempts']} attempts"
    return f"after {attempts} of {found['id']}"


def called(text: str) -> str:
    """The id of the call that has failed by the first of our errors in a text, or the child. Empty: none is named."""
    found = _AROUND.match(text) if text.startswith(_OURS) else None
    return "" if found is None else found["id"] or found["child"]


def cause_first(text: str) -> str:
    """The line that an instance's row holds, which may be of a version that began with its own errors."""
    inner, added = around(text)
    named = _NAME.fullmatch(inner)
    return ", ".join([one_line(inner[:-2], "") if named else inner, *added])
