"""Replays logs in a copy of this process, which nothing outside of it sees: no log line, no output, no variable.

A replay runs the body of a workflow. In a test or beside a worker, what the body does besides its calls would be seen
twice: a counter, a print, a line of a logger. Where a process cannot be copied (Windows), the replay runs here.
"""

from __future__ import annotations

import gc
import logging
import os
import select
import signal
import sys
import time
import warnings
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import partial
from io import StringIO
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import msgspec

from romancy.core import replay
from romancy.engine import RUNTIME, history, stored_size
from romancy.errors import (
    CodecError,
    HistoryCorruptError,
    HistoryVersionError,
    InstanceNotFoundError,
    NonDeterminismError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from romancy.core import LogEvent
    from romancy.registry import Registry
    from romancy.storage.protocol import Store
    from romancy.workflow import Workflow

__all__ = ["Recorded", "differences", "recorded"]

_PATIENCE: Final = 60.0
"""Seconds that all replays of one call may take together."""
_CHUNK: Final = 65_536


class Recorded(NamedTuple):
    """An instance with its log and the code to replay it with."""

    instance_id: str
    definition: Workflow[..., Any]
    commits: list[list[LogEvent]]
    known: Any
    """The activities of the workflow, by name."""
    stored: Callable[[bytes], int] = len
    """How many bytes are stored for a value."""


async def recorded(store: Store, registry: Registry, instance_ids: Iterable[str]) -> list[Recorded]:
    """The logs of these instances. Those that are gone, sealed or of an unknown workflow are left out."""
    found: list[Recorded] = []
    for instance_id in instance_ids:
        page = await store.read(instance_id, limit=0)
        definition = None if page is None else registry.workflows.get(page.instance.workflow_name)
        if page is None or definition is None:
            continue
        with suppress(InstanceNotFoundError, HistoryCorruptError, HistoryVersionError, CodecError):
            after = page.instance.run_from - 1
            commits = [commit async for _, commit in history(store, instance_id, after=after)]
            known, stored = registry.activities_of(definition.name), partial(stored_size, store)
            found.append(Recorded(instance_id, definition, commits, known, stored))
    return found


def differences(cases: Sequence[Recorded]) -> dict[str, str]:
    """What each log says and its code does not do, by instance. Logs that their code follows are left out."""
    return _replay(cases) if cases else {}


def _replayed_here(cases: Sequence[Recorded]) -> dict[str, str]:
    before = logging.root.manager.disable
    logging.disable(sys.maxsize)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            told = ((case.instance_id, _difference(case)) for case in cases)
            return {instance_id: text for instance_id, text in told if text is not None}
    finally:
        logging.disable(before)


def _difference(case: Recorded) -> str | None:
    definition = case.definition
    try:
        replay(
            definition,
            case.commits,
            instance_id=case.instance_id,
            code=definition.code,
            runtime=RUNTIME,
            known=case.known,
            stored=case.stored,
        )
    except NonDeterminismError as error:
        code = definition.fn.__code__
        return f"{error}\n  the code at hand:  {code.co_qualname} in {code.co_filename}, line {code.co_firstlineno}"
    except (HistoryCorruptError, HistoryVersionError):
        return None  # the log was made with other code, or broken on purpose
    return None


if sys.platform == "win32":
    _replay = _replayed_here
else:

    def _replay_in_a_copy(cases: Sequence[Recorded]) -> dict[str, str]:
        reader, writer = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # other threads run; the copy uses nothing of theirs
            child = os.fork()
        if not child:
            _be_the_copy(cases, writer)
        os.close(writer)
        try:
            said = _read(reader, child)
        finally:
            os.close(reader)
            os.waitpid(child, 0)
        try:
            return msgspec.json.decode(said, type=dict[str, str])
        except msgspec.DecodeError:
            names = ", ".join(case.instance_id for case in cases[:3])
            return {cases[0].instance_id: f"a replay of {names} ended its process, or took longer than {_PATIENCE:g} s"}

    def _be_the_copy(cases: Sequence[Recorded], writer: int) -> NoReturn:
        try:
            gc.disable()  # nothing that belongs to the original may be finalized here
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for shown in (1, 2):
                os.dup2(nowhere, shown)
            said = msgspec.json.encode(_replayed_here(cases))
            while said:
                said = said[os.write(writer, said) :]
        finally:
            os._exit(0)

    def _read(reader: int, child: int) -> bytes:
        """All that the copy writes. It is ended if it takes too long."""
        parts: list[bytes] = []
        until = time.monotonic() + _PATIENCE
        ready = select.poll()
        ready.register(reader, select.POLLIN)
        while ready.poll(max(0.0, until - time.monotonic()) * 1000):
            part = os.read(reader, _CHUNK)
            if not part:
                return b"".join(parts)
            parts.append(part)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        return b""

    _replay = _replay_in_a_copy if hasattr(os, "fork") else _replayed_here
