"""What people of other libraries try first, answered by the error that comes anyway.

The objects get no attribute by this: `hasattr` stays False, and a type checker still refuses the name.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, Never

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "NAMES_OF_APPS",
    "OF_ACTIVITIES",
    "OF_CONTEXTS",
    "OF_HANDLES",
    "OF_WORKFLOWS",
    "answer_names",
    "refuse_async_with",
    "refuse_with",
]

_ASKED_FIRST: Final = "exit" if sys.version_info >= (3, 14) else "enter"
"""The method that a `with` statement asks for first. The other one stays undefined."""

_WAIT: Final = "await ctx.wait_event(name) receives what app.signal and handle.signal send"
_RECUR: Final = "end this run and begin the next one with {}.recur(…)"
_AWAIT: Final = "await the activity itself, as in `await charge(order)`"
_STEP: Final = "`await ctx.step(name, fn)` runs a function that nothing declares"
_CHILD: Final = "start a child with `await ctx.start(child, …)`, or await the child itself: `await child(…)`"
_NOW: Final = "ctx.now() is the time"
_LOG: Final = "ctx.log is a logger that is silent while the body is replayed"
_UNTIL: Final = "`await ctx.until(lambda: state.ready)` waits until a condition on the body's own state holds"
_ASYNCIO: Final = "use asyncio.gather, asyncio.wait or asyncio.TaskGroup"

OF_CONTEXTS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("recur", "continue_as_new", "restart"), _RECUR),
    **dict.fromkeys(
        ("wait_signal", "wait_for_signal", "receive_signal", "wait_for_event", "wait_for_external_event", "recv"), _WAIT
    ),
    **dict.fromkeys(
        ("execute_activity", "start_activity", "execute_local_activity", "call_activity", "activity", "call"), _AWAIT
    ),
    **dict.fromkeys(("run_step", "do", "side_effect", "run"), _STEP),
    **dict.fromkeys(
        ("start_child", "start_workflow", "start_child_workflow", "child", "execute_child", "execute_child_workflow"),
        _CHILD,
    ),
    **dict.fromkeys(("time", "utcnow", "current_utc_datetime", "today"), _NOW),
    **dict.fromkeys(("uuid", "new_uuid", "new_guid"), "ctx.uuid4() makes one"),
    **dict.fromkeys(("logger", "get_logger"), _LOG),
    **dict.fromkeys(("wait_condition", "wait_until", "wait_for", "condition"), _UNTIL),
    **dict.fromkeys(("gather", "when_all", "when_any", "wait"), _ASYNCIO),
    "signal": "send it with `await ctx.send(name, data, to=instance_id)`",
    "session": "a body is replayed, and would write again: open the session in an activity, with "
    "activity_context().session()",
    **dict.fromkeys(
        ("members", "get_members", "subscribers"), "`await ctx.channel(name).members()` lists the subscribers"
    ),
    **dict.fromkeys(
        ("get_external_workflow_handle", "external_workflow", "get_workflow_handle", "handle"),
        "ctx.instance(instance_id) sends to another instance, asks it, cancels it and awaits its result",
    ),
    **dict.fromkeys(
        ("set_signal_handler", "signal_handler", "on_signal", "set_update_handler"),
        "`async with ctx.handling(Add.by(add), …)` has a handler for each kind of message",
    ),
    "all_handlers_finished": "`await ctx.all_handled()`, and the end of the block of ctx.handling, wait for them",
    **dict.fromkeys(("is_continue_as_new_suggested", "history_length"), "ctx.should_recur and ctx.log_length tell"),
    **dict.fromkeys(("query", "set_query_handler"), "`await ctx.report(state)` makes the state visible outside"),
    **dict.fromkeys(("info", "workflow_info"), "ctx.instance_id, ctx.run, ctx.parent and ctx.headers tell of the run"),
    **dict.fromkeys(("workflow_id", "run_id", "id"), "ctx.instance_id is the id, and ctx.run the number of the run"),
    "upsert_search_attributes": "searches find the input; `await ctx.report(state)` makes a state visible",
    "set_state": "`await ctx.report(state)` makes it visible outside",
    **dict.fromkeys(("patch", "get_version"), "`if ctx.patched(name):` is true for what began after it was written"),
}
OF_WORKFLOWS: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("start", "submit", "apply_async", "enqueue", "send", "start_workflow", "schedule"),
        "start it with `await app.start({}, …)`; in another workflow, with `await ctx.start({}, …)`",
    ),
    **dict.fromkeys(("run", "execute", "result"), "`await app.run({}, …)` starts it and returns its result"),
    "signal": "`await app.signal(instance_id, name, data)` sends a signal to an instance",
    "continue_as_new": "end this run and begin the next one with {}.recur(…)",
}
OF_HANDLES: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("query", "get_state", "state", "progress", "get_event"),
        "the workflow shows its state with ctx.report(state), and handle.report() reads it",
    ),
    **dict.fromkeys(("terminate", "kill"), "app.terminate(handle.instance_id) ends it without undoing anything"),
    **dict.fromkeys(
        ("describe", "info", "get_status", "inspect"), "app.get_instance(handle.instance_id) has what is known of it"
    ),
    **dict.fromkeys(("get_result", "wait", "get", "join", "output"), "handle.result() waits for its end"),
    **dict.fromkeys(("fetch_history", "events", "get_history", "logs"), "handle.history() reads its log"),
    **dict.fromkeys(("send", "send_signal", "raise_event", "notify"), "handle.signal(name, data) sends it a message"),
    **dict.fromkeys(("id", "workflow_id", "run_id", "key"), "handle.instance_id is its id"),
    **dict.fromkeys(("delete", "purge", "remove"), "app.purge(handle.instance_id) removes it once it has ended"),
    **dict.fromkeys(
        ("execute_update", "start_update", "update", "execute"),
        "`await handle.request(Change, data)` has an answer; handle.ask returns once it is accepted",
    ),
    **dict.fromkeys(
        ("execute_query",), "the workflow shows its state with ctx.report(state), and handle.report() reads it"
    ),
    **dict.fromkeys(("cancel_workflow", "abort", "stop"), "handle.cancel() asks it to stop, and undoes what it did"),
    "signal_with_start": "app.signal_with_start(…) does both",
    **dict.fromkeys(("reset", "retry"), "app.retry(handle.instance_id) runs it again"),
}
NAMES_OF_APPS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("execute_workflow", "execute", "call"), "app.run(workflow, …) starts it and returns its result"),
    **dict.fromkeys(
        ("start_workflow", "submit", "enqueue", "send_task", "apply_async", "add_task", "start_instance"),
        "app.start(workflow, …) starts it and returns a handle",
    ),
    **dict.fromkeys(
        ("get_workflow_handle", "get_handle", "retrieve_workflow", "get_handle_for", "instance"),
        "app.handle(instance_id, workflow) makes a handle",
    ),
    **dict.fromkeys(("signal_workflow", "send_signal"), "app.signal(instance_id, name, data) sends it a message"),
    **dict.fromkeys(("cancel_workflow",), "app.cancel(instance_id) asks it to stop"),
    **dict.fromkeys(("terminate_workflow",), "app.terminate(instance_id) ends it without undoing anything"),
    **dict.fromkeys(
        ("query_workflow", "get_state"),
        "the workflow shows its state with ctx.report(state), and handle.report() reads it",
    ),
    **dict.fromkeys(
        ("execute_update_with_start_workflow", "start_update_with_start_workflow", "update_with_start"),
        "app.request_with_start(…) does both",
    ),
    **dict.fromkeys(("create_schedule", "add_schedule", "add_job", "cron"), "app.schedule(…) starts at times"),
    **dict.fromkeys(("list_workflows", "instances", "find", "list"), "app.list_instances() and app.find_instances(…)"),
    **dict.fromkeys(
        ("register", "register_workflow", "add_workflow", "include_router", "autodiscover_tasks"),
        "Romancy(url, workflows=[…]) names them; without it, the app knows all that are imported",
    ),
    **dict.fromkeys(
        ("launch", "run_forever", "run_worker", "start_worker", "worker"),
        "a worker runs inside `async with app:`; app.serve() and `romancy run module:app` keep it running",
    ),
    **dict.fromkeys(("connect", "open", "initialize", "init"), "the app is opened with `async with app:`"),
    **dict.fromkeys(("task", "step", "activity", "function"), "declare it with @activity or @workflow, without an app"),
    "types": "romancy.register_type(cls, encode=…, decode=…), beside the class, makes its values storable",
}
OF_ACTIVITIES: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("start", "run", "execute", "submit", "delay", "apply_async", "enqueue", "send", "call"),
        "await it in a workflow: `await {}(…)`",
    ),
    "map": "`await asyncio.gather(*({}(each) for each in items))` in a workflow",
    "retry": "it is tried again by itself: raise an exception, and choose a policy with @activity(retry=…)",
}


class _Answered:
    """In the place of a name that an object does not have: the error says what to write instead."""

    def __init__(self, name: str, answer: str, called: str) -> None:
        self._name = name
        self._answer = answer
        self._called = called

    def __get__(self, owner: object, kind: type) -> Never:
        answer = self._answer.format(*[getattr(owner, self._called, "")] * 2)
        text = f"{kind.__name__!r} object has no attribute {self._name!r}: {answer}"
        raise AttributeError(text, name=self._name, obj=owner)


def answer_names(cls: type, answers: Mapping[str, str], called: str) -> None:
    """Answer names that objects of a class do not have. `called`: the attribute with the name to use in the answer.

    The class has no `__getattr__`, with which CPython 3.11 finds every attribute slowly.
    """
    missing = [name for name in answers if not hasattr(cls, name)]
    for name in missing:
        setattr(cls, name, _Answered(name, answers[name], called))

    def listed(self: object) -> list[str]:
        return [name for name in object.__dir__(self) if name not in missing or name in vars(self)]

    setattr(cls, "__dir__", listed)  # noqa: B010 - a checker refuses the assignment


class WithError(AttributeError, TypeError):
    """A `with` of an object that takes the other kind. `with` raises TypeError, and `hasattr` needs AttributeError."""


class _Missing:
    """In the place of a method that a `with` statement asks for: there is none, and the error says why."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __get__(self, owner: object, kind: type) -> Never:
        raise WithError(f"{kind.__name__!r} object {self._text}")


def refuse_with(cls: type) -> None:
    """Answer `with cls(…)`."""
    text = "is opened with `async with`, not with `with`; code without asyncio uses romancy.sync.SyncRomancy"
    setattr(cls, f"__{_ASKED_FIRST}__", _Missing(text))


def refuse_async_with(cls: type) -> None:
    """Answer `async with cls(…)`."""
    text = "is opened with `with`, not with `async with`; code with asyncio uses romancy.Romancy"
    setattr(cls, f"__a{_ASKED_FIRST}__", _Missing(text))
