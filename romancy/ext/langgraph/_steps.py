"""Runs a node, a task, a model call or a tool call as a step of the workflow."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# LangGraph's packages are typed in part.

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, cast

from langgraph._internal import _constants as names
from langgraph.config import get_config
from langgraph.errors import GraphInterrupt
from langgraph.types import Interrupt, interrupt

from romancy.context import current_workflow
from romancy.declaring.callables import is_async
from romancy.errors import TerminalError, UsageError
from romancy.ext.langgraph._inside import Inside
from romancy.ext.langgraph._streaming import in_body
from romancy.ext.langgraph._values import NotStoredError, read, written
from romancy.storage.limits import MAX_ID_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from langchain_core.runnables import RunnableConfig

    from romancy.ext.langgraph._options import StepOptions

__all__ = ["stepped"]

_DIGEST: Final = 16
_MOST: Final = MAX_ID_BYTES - 12
"""Bytes of a name. The id of a call has a number behind it."""


async def stepped(  # noqa: PLR0917 - all of one call
    name: str,
    what: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    options: StepOptions,
    about: object,
) -> Any:
    """What the function returns, from the log if it is there. An interrupt of it is one of the graph."""
    config = get_config()
    answers = _answers(config)
    runs = _on_the_loop if is_async(function) else _on_a_thread
    outcome: dict[str, Any] = await current_workflow().step(
        _fitting(name),
        runs(what, function, args, kwargs, config, answers),
        model=dict[str, Any],
        retry=options.retry,
        timeout=options.timeout,
        heartbeat_timeout=options.heartbeat_timeout,
        raises=options.raises,
        about=about,
    )
    if (wrote := outcome.get("wrote")) is not None:
        write = in_body(config.get(names.CONF, {})[names.CONFIG_KEY_RUNTIME].stream_writer)
        for one in read(wrote):
            write(one)
    for _ in range(outcome.get("answers", 0)):
        interrupt(None)  # tells the graph that the answer was used
    if (asked := outcome.get("interrupt")) is not None:
        schema: dict[str, Any] = {} if asked.get("schema") is None else {"response_schema": asked["schema"]}
        interrupt(read(asked["value"]), **schema)
    return read(outcome.get("result"))


def _on_the_loop(
    what: str,
    function: Callable[..., Awaitable[Any]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    config: RunnableConfig,
    answers: list[Any],
) -> Callable[[], Awaitable[dict[str, Any]]]:
    async def attempt() -> dict[str, Any]:
        inside, args_inside, kwargs_inside = _entered(what, args, kwargs, config, answers)
        try:
            value = await function(*args_inside, **kwargs_inside)
        except GraphInterrupt as interrupted:
            return _interrupted(inside, what, interrupted)
        return _finished(inside, what, value)

    return attempt


def _on_a_thread(
    what: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    config: RunnableConfig,
    answers: list[Any],
) -> Callable[[], dict[str, Any]]:
    def attempt() -> dict[str, Any]:
        inside, args_inside, kwargs_inside = _entered(what, args, kwargs, config, answers)
        try:
            value = function(*args_inside, **kwargs_inside)
        except GraphInterrupt as interrupted:
            return _interrupted(inside, what, interrupted)
        return _finished(inside, what, value)

    return attempt


def _entered(
    what: str, args: tuple[Any, ...], kwargs: dict[str, Any], config: RunnableConfig, answers: list[Any]
) -> tuple[Inside, tuple[Any, ...], dict[str, Any]]:
    inside = Inside(what, config, answers)
    inside.enter()
    return (
        inside,
        tuple(inside.adapted(one) for one in args),
        {name: inside.adapted_keyword(name, one) for name, one in kwargs.items()},
    )


def _finished(inside: Inside, what: str, value: Any) -> dict[str, Any]:
    return _told(inside, what, {"result": _stored(value, what, "result")}, inside.asked)


def _interrupted(inside: Inside, what: str, interrupted: GraphInterrupt) -> dict[str, Any]:
    if not inside.is_interrupted:
        raise UsageError(
            f"{what} is a step, and a graph that it runs has come to an interrupt, whose answer would not be found "
            "again: make that graph a node of its own, or run this one in the body, by steps={…: False}"
        ) from interrupted
    given = cast("tuple[Interrupt[Any], ...]", interrupted.args[0])[0]
    asked = {"value": _stored(given.value, what, "interrupt"), "schema": getattr(given, "response_schema", None)}
    return _told(inside, what, {"interrupt": asked}, inside.asked - 1)


def _told(inside: Inside, what: str, outcome: dict[str, Any], answers: int) -> dict[str, Any]:
    if answers:
        outcome["answers"] = answers
    if inside.wrote:
        outcome["wrote"] = _stored(inside.wrote, what, "written to the stream")
    return outcome


def _stored(value: Any, what: str, where: str) -> Any:
    try:
        return written(value, where)
    except NotStoredError as error:
        raise TerminalError(
            f"{what}: {error}. What can be stored is JSON, messages, commands, dates, numbers, tuples and sets, and "
            "dataclasses, pydantic models and enums of these"
        ) from error


def _answers(config: RunnableConfig) -> list[Any]:
    """The answers that the graph has for the interrupts of this node."""
    scratchpad = config.get(names.CONF, {}).get(names.CONFIG_KEY_SCRATCHPAD)
    if scratchpad is None:
        return []
    given = list(scratchpad.resume)
    following = scratchpad.get_null_resume(False)  # noqa: FBT003 - as LangGraph declares it
    return given if following is None else [*given, following]


def _fitting(name: str) -> str:
    """The name, shortened so that no two long ones become one."""
    raw = name.encode()
    if len(raw) <= _MOST:
        return name
    return f"{raw[: _MOST - _DIGEST - 1].decode(errors='ignore')}~{sha256(raw).hexdigest()[:_DIGEST]}"
