"""`show`: prints the steps of an instance, with attempts and errors, and those of its children.

The depth and the number of the children that are read are limited: a workflow may have thousands.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from romancy.cli._database import database, operating, running
from romancy.cli._printing import as_json, data_of, json_option, line, paragraphs, say, time_of, wrapped
from romancy.engine import read_with_start
from romancy.errors import CodecError, HistoryCorruptError, HistoryVersionError, InstanceNotFoundError
from romancy.insight import Note, Step, Timeline, explain, span
from romancy.instance import Instance, raw_start_of
from romancy.managing.others import others_of
from romancy.managing.waits import timeline_of, untaken_by
from romancy.storage.records import InstanceRow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from romancy.cli._database import Operator
    from romancy.serialization import ErrorInfo

__all__ = ["show"]

_MARGIN: Final = " " * 12
_BRANCH: Final = "| "


@dataclass
class _Node:
    """An instance, with those of its children that were read."""

    row: InstanceRow
    raw_start: bytes
    timeline: Timeline
    children: dict[str, _Node | str] = field(default_factory=dict[str, "_Node | str"])
    """By their ids. A text says why a child cannot be shown."""

    @property
    def instance(self) -> Instance:
        return Instance.of(self.row, raw_start=self.raw_start)

    def unread(self) -> int:
        """How many children, of this instance and of those below it, were not read."""
        started = {step.instance_id for step in self.timeline.steps if step.instance_id is not None}
        below = sum(child.unread() for child in self.children.values() if isinstance(child, _Node))
        return len(started - self.children.keys()) + below


@click.command()
@database
@click.argument("instance_id", metavar="ID")
@click.option("--depth", type=click.IntRange(0), default=3, show_default=True, help="How deep to follow children.")
@click.option(
    "--children", type=click.IntRange(0), default=50, show_default=True, help="How many children to read at most."
)
@json_option
@running
async def show(
    url: str | None,
    app: str | None,
    instance_id: str,
    depth: int,
    children: int,
    json_lines: bool,  # noqa: FBT001 - click gives it by name
) -> None:
    """Show the steps of an instance and its children."""
    async with operating(url, app) as operator:
        try:
            root = await _read(operator, instance_id)
        except CodecError:
            await _show_sealed(operator, instance_id, json_lines=json_lines)
            raise
        await _follow(operator, root, depth, children)
        census = await operator.store.services.reading.census()
        untaken = await untaken_by(operator.store, instance_id, root.row.status)
        others = await others_of(operator.store, root.row, root.timeline)
    instance, reasons = root.instance, explain(root.row, root.timeline, census, untaken, others=others)
    if json_lines:
        as_json({**data_of(instance), "untaken": untaken, "steps": _steps(root), "reasons": reasons})
        return
    _head(instance)
    for text in _told(root, _zero(root), census.now):
        click.echo(text)
    line()
    for reason in reasons:
        for text in paragraphs(reason):
            click.echo(text)
    if unread := root.unread():
        say(f"{unread} of its children {'was' if unread == 1 else 'were'} not read; raise --children or --depth")


def _zero(root: _Node) -> int:
    """The time from which all lines count: of the first commit. The row may be some milliseconds younger."""
    return min(
        [
            root.row.created_at,
            *(entry.began_at if isinstance(entry, Step) else entry.at for entry in root.timeline.entries[:1]),
        ]
    )


async def _read(operator: Operator, instance_id: str) -> _Node:
    """An instance with its log; its row is read last, so that it is no older than the log."""
    timeline = await timeline_of(operator.store, instance_id)
    found = await read_with_start(operator.store, instance_id)
    if found is None:
        raise InstanceNotFoundError(f"instance {instance_id!r} was just removed")
    return _Node(found.instance, raw_start_of(found), timeline)


async def _read_child(operator: Operator, instance_id: str, parent_id: str) -> _Node | str:
    """A child, or the reason why it cannot be shown. The parent is shown in any case."""
    try:
        child = await _read(operator, instance_id)
        return child if child.row.parent == parent_id else "the instance with this id has another parent, or none"
    except InstanceNotFoundError:
        return "this instance has been removed"
    except (CodecError, HistoryCorruptError, HistoryVersionError) as error:
        return f"its log cannot be read: {error}"


async def _show_sealed(operator: Operator, instance_id: str, *, json_lines: bool) -> None:
    """Show what is readable of an instance without its codecs."""
    instance = await operator.get_instance(instance_id)
    if instance is None:
        return
    if json_lines:
        as_json({**data_of(instance), "log_sealed": True})
    else:
        _head(instance)


async def _follow(operator: Operator, root: _Node, depth: int, limit: int) -> None:
    """Read children level by level, down to the given depth and up to the given number."""
    level, known = [root], {root.row.instance_id}
    for _ in range(depth):
        below: list[_Node] = []
        for node in level:
            for step in node.timeline.steps:
                if step.instance_id is None or step.instance_id in known or len(known) > limit:
                    continue
                known.add(step.instance_id)
                child = node.children[step.instance_id] = await _read_child(
                    operator, step.instance_id, node.row.instance_id
                )
                below += [child] if isinstance(child, _Node) else []
        level = below


# ── for people ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _head(instance: Instance) -> None:
    line(f"{instance.workflow_name}  {instance.instance_id}")
    line(f"status   {instance.status}")
    line(f"started  {instance.created_at:%Y-%m-%d %H:%M:%S} UTC")
    if instance.parent_id is not None:
        line(f"parent   {instance.parent_id}")
    if instance.priority:
        line(f"priority {instance.priority}")
    shown = data_of(instance)
    text = (
        "(sealed by a codec; give --app)" if shown.get("input_sealed") else msgspec.json.encode(shown["input"]).decode()
    )
    click.echo(wrapped(f"input    {text}", ""))
    if headers := shown.get("headers"):
        click.echo(wrapped(f"headers  {msgspec.json.encode(headers).decode()}", ""))
    line()


def _told(node: _Node, start: int, now: int, depth: int = 0) -> Iterator[str]:
    """The lines of an instance. The lines of a child that was read follow the step that started it."""
    prefix = _MARGIN + _BRANCH * depth if depth else ""
    told: set[str] = set()
    for entry in node.timeline.entries:
        yield from _entry(entry, start, now, prefix)
        if not isinstance(entry, Step) or entry.instance_id not in node.children or entry.instance_id in told:
            continue
        told.add(entry.instance_id)
        child = node.children[entry.instance_id]
        if isinstance(child, _Node):
            yield from _told(child, start, now, depth + 1)
        else:
            yield wrapped(child, _MARGIN + _BRANCH * (depth + 1))


def _entry(entry: Step | Note, start: int, now: int, prefix: str) -> Iterator[str]:
    detail = prefix + "  " if prefix else _MARGIN
    if isinstance(entry, Note):
        yield wrapped(f"{_offset(entry.at, start, prefix)}  {entry.text}", prefix)
        yield from _error(entry.error, detail)
        return
    undoes = f" undoes {entry.undoes}" if entry.undoes else ""
    child = f" {entry.instance_id}" if entry.instance_id else ""
    took = span((entry.ended_at if entry.ended_at is not None else now) - entry.began_at)
    at = _offset(entry.began_at, start, prefix)
    named = f"{entry.name} ({entry.id})" if entry.undoes else entry.id
    yield wrapped(f"{at}  {entry.kind} {named}{child}{undoes}: {entry.ended_as}, {took}", prefix)
    if entry.dropped_attempts:
        yield wrapped(f"{entry.dropped_attempts} attempts failed that the log does not keep", detail)
    for failure in entry.failures:
        lasted = span(max(failure.at - failure.due, 0))
        unknown = ", outcome unknown" if failure.unknown else ""
        told = f"attempt {failure.number} failed {_offset(failure.at, start, detail)} after {lasted}{unknown}"
        yield wrapped(told, detail)
        yield from _error(failure.error, detail)
    yield from _error(entry.error, detail)


def _offset(at: int, start: int, prefix: str) -> str:
    text = f"+{span(max(at - start, 0))}"
    return text if prefix else text.rjust(10)


def _error(error: ErrorInfo | None, indent: str) -> Iterator[str]:
    """The error, its members and its causes."""
    if error is None:
        return
    yield wrapped(error.line, indent)
    error = error.told
    for member in error.members:
        yield from _error(member, indent + "  | ")
    if error.cause is not None:
        yield from _error(error.cause, indent + "  by ")


# ── for scripts ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _steps(node: _Node) -> list[dict[str, Any]]:
    return [_step(node, step) for step in node.timeline.steps]


def _step(node: _Node, step: Step) -> dict[str, Any]:
    child = node.children.get(step.instance_id or "")
    return {
        "kind": step.kind,
        "id": step.id,
        "name": step.name,
        "began_at": time_of(step.began_at),
        "ended_at": time_of(step.ended_at),
        "outcome": step.outcome,
        "unknown": step.unknown,
        "defaulted": step.defaulted,
        "due": time_of(step.due),
        "undoes": step.undoes,
        "failed_attempts": step.failed_attempts,
        "child_instance_id": step.instance_id,
        "failures": [
            {
                "attempt": failure.number,
                "at": time_of(failure.at),
                "due": time_of(failure.due),
                "unknown": failure.unknown,
                "error": failure.error.type,
                "message": failure.error.message,
                "members": [_problem(member) for member in failure.error.members],
            }
            for failure in step.failures
        ],
        "error": None if step.error is None else _problem(step.error),
        "child": {**data_of(child.instance), "steps": _steps(child)} if isinstance(child, _Node) else None,
    }


def _problem(error: ErrorInfo) -> dict[str, Any]:
    return {
        "type": error.type,
        "message": error.message,
        "members": [_problem(member) for member in error.members],
        "cause": None if error.cause is None else _problem(error.cause),
    }
