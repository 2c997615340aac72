"""Clients as others have them: the official SDKs of CloudEvents and curl. Each sends events in each of the modes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

import httpx2
import pytest
from cloudevents.core.bindings.http import HTTPMessage, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from tools.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["BATCH", "CLIENTS", "MODES", "STRUCTURED", "Got", "message_of"]

MODES: Final = ("structured", "binary", "batch")
STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
_SCRIPT: Final = ROOT / "tests" / "http" / "javascript"
_WITHIN: Final = 60


class Got(NamedTuple):
    """An answer."""

    status: int
    body: Any


def message_of(event: dict[str, Any], mode: str = "structured") -> HTTPMessage:
    """The event as the Python SDK sends it."""
    attributes = {name: value for name, value in event.items() if name != "data"}
    made = CloudEvent({**attributes, "time": datetime.fromisoformat(event["time"])}, event["data"])
    return to_binary_event(made) if mode == "binary" else to_structured_event(made)


def by_python(url: str, mode: str, events: Sequence[dict[str, Any]]) -> list[Got]:
    """Send with the SDK for Python, which writes no batches: its structured events are put into an array."""
    if mode == "batch":
        body = b"[%b]" % b",".join(bytes(message_of(event).body) for event in events)
        messages = [HTTPMessage({"content-type": BATCH}, body)]
    else:
        messages = [message_of(event, mode) for event in events]
    with httpx2.Client(timeout=_WITHIN) as client:
        answers = [client.post(url, content=each.body, headers=each.headers) for each in messages]
    return [Got(answer.status_code, answer.json()) for answer in answers]


def by_javascript(url: str, mode: str, events: Sequence[dict[str, Any]]) -> list[Got]:
    """Send with the SDK for JavaScript, under node."""
    command = ["node", str(_SCRIPT / "send.cjs"), url, mode]
    ended = subprocess.run(
        command, cwd=_modules(), input=json.dumps(events), capture_output=True, text=True, timeout=_WITHIN, check=False
    )
    assert 0 == ended.returncode, ended.stderr
    return [Got(each["status"], each["body"]) for each in json.loads(ended.stdout)]


def by_curl(url: str, mode: str, events: Sequence[dict[str, Any]]) -> list[Got]:
    """Send with curl and the specification at hand."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not on this machine: what it sends was not tried")
    if mode == "batch":
        return [_curl(url, json.dumps(events), [f"content-type: {BATCH}"])]
    if mode == "structured":
        return [_curl(url, json.dumps(event), [f"content-type: {STRUCTURED}"]) for event in events]
    return [
        _curl(
            url,
            json.dumps(event["data"]),
            [
                "content-type: application/json",
                *(f"ce-{name}: {quote(value, safe=' /:')}" for name, value in event.items() if name != "data"),
            ],
        )
        for event in events
    ]


def _curl(url: str, body: str, headers: Sequence[str]) -> Got:
    options = [option for header in headers for option in ("-H", header)]
    command = [
        "curl",
        "--silent",
        "--show-error",
        "--write-out",
        "\n%{http_code}",
        "--data-binary",
        "@-",
        *options,
        url,
    ]
    ended = subprocess.run(command, input=body, capture_output=True, text=True, timeout=_WITHIN, check=True)
    answer, _, status = ended.stdout.rpartition("\n")
    return Got(int(status), json.loads(answer))


CLIENTS: Final[dict[str, Callable[[str, str, Sequence[dict[str, Any]]], list[Got]]]] = {
    "python": by_python,
    "javascript": by_javascript,
    "curl": by_curl,
}


def _modules() -> Path:
    """A folder with the SDK for JavaScript, as its lock file has it. Without node the test is skipped.

    What node is there for has to be installed in continuous integration; elsewhere a machine may be without a network.
    """
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not on this machine: the CloudEvents SDK for JavaScript was not tried")
    lock = (_SCRIPT / "package-lock.json").read_bytes()
    folder = ROOT / "build" / "javascript" / hashlib.sha256(lock).hexdigest()[:16]
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(_SCRIPT / name, made)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        ended = subprocess.run(command, cwd=made, capture_output=True, text=True, timeout=240, check=False)
        if ended.returncode and not os.environ.get("CI"):
            pytest.skip("npm ci has failed: the CloudEvents SDK for JavaScript was not tried")
        assert 0 == ended.returncode, ended.stderr
        if not folder.is_dir():
            made.rename(folder)
    except OSError:  # another process was first
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder
