"""A call for a window, from the arguments of `app.debounce` and `app.batch`. Raises UsageError before it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args

import msgspec
from msgspec import Raw

from romancy._start_options import check_no_child, kept, length_of
from romancy.errors import UsageError
from romancy.retry import whole_number
from romancy.starting.checks import new_id
from romancy.storage.limits import MAX_EVENT_BYTES, MEASURED_BYTES, check_event, check_id
from romancy.windows.records import Ask, Kind, Of, Terms
from romancy.workflow import Call, Workflow

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.retry import Duration

__all__ = ["ask_to_batch", "ask_to_debounce", "batch_terms", "debounce_terms", "of_window", "read_item"]

_LONGEST_NAME: Final = 200
"""In bytes. The ids of what a window starts add the time to its workflow and key."""
_LARGEST: Final = 10_000
_LARGEST_ITEM: Final = MAX_EVENT_BYTES // 2
"""In bytes, as stored. It can come to a batch that is nearly full."""


def debounce_terms(wait: Duration, max_wait: Duration | None) -> Terms:
    """When a window of debounced calls closes. Raises UsageError."""
    quiet = _some_length(wait, "debounce: wait=")
    if max_wait is None:
        return Terms(quiet=quiet)
    most = _some_length(max_wait, "debounce: max_wait=")
    if most < quiet:
        raise UsageError("debounce: max_wait= is shorter than wait=, so that calls never rest for so long")
    return Terms(quiet=quiet, most=most)


def batch_terms(size: int, within: Duration) -> Terms:
    """When a batch closes. Raises UsageError."""
    if whole_number(size, "batch: size=") > _LARGEST:
        raise UsageError(f"batch: size= is at most {_LARGEST:,}, not {size}")
    return Terms(most=_some_length(within, "batch: within="), size=size)


def ask_to_debounce(
    call: Call[Any], key: str | int, terms: Terms, id: str | None, stored: Callable[[bytes], int]
) -> tuple[Of, Ask]:
    """The window of this call, and the call. Raises UsageError and SerializationError."""
    if not isinstance(call, Call):  # pyright: ignore[reportUnnecessaryIsInstance] - callers need no types
        raise UsageError(
            f"debounce: give the workflow with its arguments, as in workflow.bind(…), not a {type(call).__name__}"
        )
    of = of_window("debounce", call.workflow.name, key)
    return of, _ask(call.workflow, call.encode(stored), terms, id, of)


def ask_to_batch(
    workflow: Workflow[..., Any],
    item: object,
    key: str | int,
    terms: Terms,
    id: str | None,
    stored: Callable[[bytes], int],
) -> tuple[Of, Ask]:
    """The window of this item, and the call. Raises UsageError and SerializationError."""
    if not isinstance(workflow, Workflow):  # pyright: ignore[reportUnnecessaryIsInstance] - callers need no types
        raise UsageError(f"batch: give a workflow and one item of its list, not a {type(workflow).__name__}")
    of = of_window("batch", workflow.name, key)
    parameter = _list_of(workflow)
    given = msgspec.json.decode(Call(workflow, ([item],), {}).encode(stored), type=dict[str, Raw])
    (raw,) = msgspec.json.decode(given[parameter], type=list[Raw])
    if len(raw) > MEASURED_BYTES:
        check_event(bytes(raw), f"batch of workflow {workflow.name}, one item", stored, at_most=_LARGEST_ITEM)
    return of, _ask(workflow, raw, terms, id, of, parameter)


def read_item(workflow: Workflow[..., Any], item: Raw) -> Any:
    """An item that came as JSON, as the batch takes it. Raises UsageError and SerializationError."""
    parameter = _list_of(workflow)
    args, kwargs = workflow.signature.read_given(Raw(b"{%b:[%b]}" % (msgspec.json.encode(parameter), item)))
    (read,) = kwargs[parameter] if parameter in kwargs else args[0]
    return read


def of_window(kind: Kind, workflow: str, key: str | int) -> Of:
    """The window of a workflow and a key. Raises UsageError if there can be none."""
    if kind not in get_args(Kind):
        raise UsageError(f"a window is of one of the kinds {', '.join(map(repr, get_args(Kind)))}, not {kind!r}")
    if not isinstance(workflow, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers need no types
        raise UsageError(f"{kind}: the workflow of a window is given by its name, not as a {type(workflow).__name__}")
    of = Of(kind=kind, workflow=workflow, key=_key_of(key, f"{kind} of workflow {workflow}"))
    check_id(of.name, f"{kind}: the workflow with its key", at_most=_LONGEST_NAME)
    return of


def _key_of(key: object, what: str) -> str:
    """The key as text. Raises UsageError."""
    if isinstance(key, str):
        return key
    if isinstance(key, int) and not isinstance(key, bool):
        return str(key)
    found = "None" if key is None else type(key).__name__
    raise UsageError(f"{what}: its key is a text or a whole number, not {found}")


def _ask(workflow: Workflow[..., Any], input: Raw, terms: Terms, id: str | None, of: Of, parameter: str = "") -> Ask:
    given = workflow.given
    if given.instance_id is not None or given.delay or given.at is not None:
        raise UsageError(
            f"{of.kind} of workflow {of.workflow}: what it starts gets its id and its time from the window; leave "
            f"instance_id=, delay= and at= out of {of.workflow}.options(…)"
        )
    check_no_child(given, of.workflow)
    if id is not None:
        check_id(id, f"{of.kind}: id=")
    return Ask(id=id or new_id(), input=input, terms=terms, parameter=parameter, **kept(given))


def _list_of(workflow: Workflow[..., Any]) -> str:
    """The parameter that takes the items. Raises UsageError if the workflow does not take one list."""
    parameters = workflow.signature.parameters
    if not parameters or any(one.required for one in parameters[1:]) or not _takes_a_list(workflow, parameters[0].name):
        raise UsageError(
            f"batch: a workflow that is started for a batch takes one list, as in "
            f"`async def index(ctx: WorkflowContext, items: list[str])`; {workflow.name} does not"
        )
    return parameters[0].name


def _takes_a_list(workflow: Workflow[..., Any], parameter: str) -> bool:
    return workflow.signature.is_declared_as(parameter, list)


def _some_length(given: Duration, what: str) -> int:
    length = length_of(given, what)
    if not length:
        raise UsageError(f"{what} must be more than 0 seconds, not {given!r}")
    return length
