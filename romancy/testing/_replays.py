"""Records histories in files, and checks that a workflow still follows them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from romancy.core import decode_commit, replay
from romancy.engine import RUNTIME
from romancy.errors import HistoryCorruptError, NonDeterminismError, UsageError
from romancy.log import LogCursor
from romancy.registry import Registry

if TYPE_CHECKING:
    from os import PathLike

    from romancy.core import LogEvent
    from romancy.handle import Handle
    from romancy.workflow import Workflow

__all__ = ["assert_replays", "record_history"]


class _Line(msgspec.Struct):
    """One event, as `romancy history --json` prints it."""

    instance_id: str
    cursor: str
    event: msgspec.Raw


async def record_history(handle: Handle[Any], path: str | PathLike[str]) -> Path:
    """Write the log of an instance into a file, one event a line, as `romancy history --json ID` does."""
    lines: list[bytes] = []
    async for entry in handle.entries():
        line = {"instance_id": entry.instance_id, "at": entry.at, "cursor": entry.cursor, "event": entry.event}
        lines.append(msgspec.json.encode(line) + b"\n")
    return _written(Path(path), lines)


def _written(path: Path, lines: list[bytes]) -> Path:
    path.write_bytes(b"".join(lines))
    return path


def assert_replays(workflow: Workflow[..., Any], path: str | PathLike[str]) -> None:
    """Fail with an AssertionError unless the workflow follows the histories in the file.

    The workflow's body runs up to the end of each history, and no activity runs. Record a file with `record_history`,
    or with `romancy history --json ID`, and keep it with the tests.
    """
    if getattr(workflow, "kind", None) != "workflow":
        raise UsageError(f"assert_replays takes a workflow and a file, not a {type(workflow).__name__}")
    histories = _read(Path(path))
    if not histories:
        raise UsageError(f"{path}: there is no history in this file")
    known = Registry.collect([workflow]).activities_of(workflow.name)
    for instance_id, commits in histories.items():
        _check_name(workflow, commits, f"{path}, instance {instance_id}")
        try:
            replay(workflow, commits, instance_id=instance_id, code=workflow.code, runtime=RUNTIME, known=known)
        except NonDeterminismError as error:
            raise AssertionError(f"{path}: {error}") from None
        except HistoryCorruptError as error:
            raise UsageError(f"{path}: {error}. Is the file whole?") from error


def _check_name(workflow: Workflow[..., Any], commits: list[list[LogEvent]], where: str) -> None:
    names = {getattr(event, "workflow", workflow.name) for commit in commits[:1] for event in commit}
    if names != {workflow.name}:
        (name,) = names - {workflow.name}
        raise AssertionError(f"{where}: this is a history of workflow {name!r}, and not of {workflow.name!r}")


def _read(path: Path) -> dict[str, list[list[LogEvent]]]:
    """The commits of each instance in the file, by instance id."""
    found: dict[str, dict[int, list[bytes]]] = {}
    for number, text in enumerate(path.read_bytes().splitlines(), 1):
        if not text.strip():
            continue
        try:
            line = msgspec.json.decode(text, type=_Line)
        except msgspec.MsgspecError as error:
            raise UsageError(f"{path}, line {number}: this is no line of `romancy history --json`: {error}") from None
        seq = LogCursor.parse(line.cursor).seq
        found.setdefault(line.instance_id, {}).setdefault(seq, []).append(bytes(line.event))
    return {
        instance_id: [decode_commit(b"[%b]" % b",".join(events)) for _, events in sorted(commits.items())]
        for instance_id, commits in found.items()
    }
