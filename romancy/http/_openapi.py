"""The OpenAPI document of the routes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from romancy._start_options import HEAVIEST
from romancy.http._choosing import CHOOSING
from romancy.http._schemas import ID, SCHEMAS
from romancy.kept_logs import LEVELS
from romancy.storage.journal import LINES_AT_ONCE
from romancy.storage.query import MAX_LIMIT
from romancy.storage.ranks import HIGHEST, LOWEST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from romancy.workflow import Workflow

__all__ = ["document"]

_REASON: Final[dict[str, Any]] = {"type": "object", "properties": {"reason": {"type": "string"}}}
_ANY_BODY: Final[dict[str, Any]] = {"application/json": {"schema": {}}}


def document(prefix: str, workflows: Mapping[str, Workflow[..., Any]]) -> dict[str, Any]:
    """The document of an application whose routes begin with this prefix."""
    paths = {
        prefix or "/": {"post": _receive()},
        "/health/live": {"get": _operation("Whether the process answers", {200: "Condition"}, security=False)},
        "/health/ready": {"get": _operation("Whether the database answers", {200: "Condition"})},
        "/openapi.json": {"get": _operation("This document", {200: None})},
        "/workflows/{name}": {"post": _start(sorted(workflows))},
        "/instances": {"get": _list()},
        "/count": {"get": _operation("How many instances there are", {200: "Counts"}, _filters())},
        "/instances/{instance_id}": {"get": _of_instance("The status of an instance", {200: "Instance"})},
        "/instances/{instance_id}/result": {"get": _result()},
        "/instances/{instance_id}/progress": {"get": _progress()},
        "/instances/{instance_id}/logs": {"get": _logs()},
        "/instances/{instance_id}/streams/{name}": {"get": _stream()},
        "/instances/{instance_id}/signals/{type}": {"post": _signal()},
        "/instances/{instance_id}/requests/{name}": {"post": _request()},
        "/cancel/{instance_id}": {"post": _cancel()},
        "/pause/{instance_id}": {"post": _pause_instance()},
        "/unpause/{instance_id}": {"post": _of_instance("Let a paused instance go on", {200: "Condition"})},
        "/instances/{instance_id}/fork": {"post": _fork()},
        "/instances/{instance_id}/rewind": {"post": _rewind()},
        "/schedules": {"get": _operation("All schedules", {200: "Schedules"})},
        "/schedules/{schedule_id}": {"get": _of_schedule("A schedule, with its last runs", {200: "Schedule"})},
        "/schedules/{schedule_id}/pause": {"post": _pause()},
        "/schedules/{schedule_id}/resume": {
            "post": _of_schedule("Go on with what is due from now on", {202: "Ordered"})
        },
        "/schedules/{schedule_id}/trigger": {"post": _trigger()},
        "/schedules/{schedule_id}/backfill": {"post": _backfill()},
        "/workflows/{name}/debounce": {"post": _debounce(sorted(workflows))},
        "/workflows/{name}/batch": {"post": _batch(sorted(workflows))},
        "/windows": {"get": _windows()},
        "/windows/{window_id}": {"get": _of_window("A window, with its last starts", {200: "Window"})},
        "/windows/{window_id}/flush": {"post": _of_window("Close the window now", {202: "Called"})},
        "/windows/{window_id}/drop": {"post": _of_window("Forget the calls of the window", {202: "Called"})},
        **_failure_paths(),
        "/rates": {"get": _rates()},
        **_pause_paths(),
        "/questions": {"get": _questions()},
        "/questions/{token}/answer": {"post": _answering("Answer a question; the body is the answer", _ANY_BODY)},
        "/questions/{token}/refuse": {
            "post": _answering("Refuse to answer", {"application/json": {"schema": _REASON}})
        },
        **_limit_paths(),
        "/free/{instance_id}": {"post": _of_instance("Give back the places of an instance", {200: "Freed"})},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Romancy", "version": "1", "description": "Durable workflows: events in, instances out."},
        "paths": {path if path == (prefix or "/") else prefix + path: value for path, value in paths.items()},
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"bearer": []}, {}],
    }


def _limit_paths() -> dict[str, Any]:
    return {
        "/limits": {"get": _operation("Each limit and key, with who is inside and who waits", {200: "Limits"})},
        "/limits/{name}": {"get": _of_limit("The same of one limit", {200: "Limits"})},
        "/limits/{name}/change": {"post": _change_limit()},
        "/limits/{name}/pause": {"post": _of_limit("Give no more places until it is resumed", {200: "LimitDone"})},
        "/limits/{name}/resume": {"post": _of_limit("Give places again", {200: "LimitDone"})},
        "/limits/{name}/reset": {"post": _of_limit("Let what the code declares hold again", {200: "LimitDone"})},
    }


def _pause_paths() -> dict[str, Any]:
    return {
        "/pauses": {"get": _operation("What is paused by its name", {200: "Pauses"})},
        "/activities/{name}/pause": {"post": _pause_by_name("Let no attempt at an activity begin")},
        "/activities/{name}/unpause": {"post": _by_name("Let attempts at an activity begin again")},
        "/workflows/{name}/pause": {"post": _pause_by_name("Let starts of a workflow wait")},
        "/workers/{name}/drain": {"post": _by_name("Ask a worker to drain, and answer at once")},
        "/workflows/{name}/unpause": {"post": _by_name("Let starts of a workflow begin again, those that wait too")},
    }


def _by_name(summary: str) -> dict[str, Any]:
    return _operation(summary, {200: "PauseDone"}, [_parameter("name", "path", ID)])


def _pause_by_name(summary: str) -> dict[str, Any]:
    return {**_by_name(summary), "requestBody": {"content": {"application/json": {"schema": _REASON}}}}


def _failure_paths() -> dict[str, Any]:
    return {
        "/failures": {"get": _failures()},
        "/failures/{group}/silence": {
            "post": _of_group("Leave a group out of lists", {"application/json": {"schema": _REASON}})
        },
        "/failures/{group}/unsilence": {"post": _of_group("List a group again")},
    }


def _rates() -> dict[str, Any]:
    within = _parameter("within", "query", {"type": "number", "exclusiveMinimum": 0, "default": 3600}, "seconds")
    return _operation("What begins, ends and fails in a minute, by workflow", {200: "Rates"}, [within])


def _operation(
    summary: str,
    answers: Mapping[int, str | None],
    parameters: list[dict[str, Any]] | None = None,
    body: Mapping[str, Any] | None = None,
    *,
    security: bool = True,
) -> dict[str, Any]:
    responses: dict[str, Any] = {str(status): _response(schema) for status, schema in answers.items()}
    operation: dict[str, Any] = {"summary": summary, "responses": {**responses, "default": _response("Refused")}}
    if parameters:
        operation["parameters"] = parameters
    if body is not None:
        operation["requestBody"] = {"content": dict(body)}
    if not security:
        operation["security"] = []
    return operation


def _response(schema: str | None) -> dict[str, Any]:
    content = {"application/json": {"schema": {} if schema is None else {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": "refused, and why" if schema == "Refused" else "done", "content": content}


def _parameter(name: str, place: str, schema: Mapping[str, Any], description: str = "") -> dict[str, Any]:
    said = {"description": description} if description else {}
    return {"name": name, "in": place, "required": place == "path", "schema": dict(schema), **said}


def _of_instance(summary: str, answers: Mapping[int, str | None], *more: dict[str, Any]) -> dict[str, Any]:
    return _operation(summary, answers, [_parameter("instance_id", "path", ID), *more])


def _receive() -> dict[str, Any]:
    event = {"$ref": "#/components/schemas/CloudEvent"}
    body: dict[str, Any] = {
        "application/cloudevents+json": {"schema": event},
        "application/cloudevents-batch+json": {"schema": {"type": "array", "items": event}},
        "application/json": {"schema": {}},
    }
    headers = [
        _parameter(f"ce-{name}", "header", {"type": "string"}, "in binary mode")
        for name in ("specversion", "id", "source", "type", "subject", "time", "romancyinstanceid")
    ]
    return _operation("Accept CloudEvents: structured, binary or a batch", {202: "Accepted"}, headers, body)


_PRIORITY: Final = {"type": "integer", "minimum": LOWEST, "maximum": HIGHEST}
_WEIGHT: Final = {"type": "integer", "minimum": 1, "maximum": HEAVIEST}
_LIMIT: Final = {"type": "number", "exclusiveMinimum": 0, "maximum": 3162240000}


def _start(names: list[str]) -> dict[str, Any]:
    parameters = [
        _named(names),
        _parameter("instance_id", "query", ID, "an id of yours: the same start again is the same instance"),
        _parameter("delay", "query", {"type": "number", "minimum": 0, "maximum": 3162240000}, "seconds"),
        _parameter("at", "query", {"type": "string", "format": "date-time"}, "instead of a delay: when it is due"),
        *_of_a_start(),
        _parameter("undecided", "query", {"type": "boolean"}, "true: do not wait for whether the start is skipped"),
    ]
    return _operation("Start a workflow; the body is its input", {202: "Accepted"}, parameters, _ANY_BODY)


def _named(names: list[str]) -> dict[str, Any]:
    return _parameter("name", "path", {"type": "string", **({"examples": names} if names else {})})


def _of_a_start() -> list[dict[str, Any]]:
    return [
        _parameter("timeout", "query", _LIMIT, "seconds until an instance that has not ended is stopped"),
        _parameter("priority", "query", _PRIORITY, "the higher goes first"),
        _parameter("fair_key", "query", {"type": "string"}, "on whose behalf it runs: the keys take turns"),
        _parameter("weight", "query", _WEIGHT, "how many turns the fair_key has while another has one"),
    ]


def _debounce(names: list[str]) -> dict[str, Any]:
    terms = [
        {**_parameter("wait", "query", _LIMIT, "seconds without a call"), "required": True},
        _parameter("max_wait", "query", _LIMIT, "seconds after the first call"),
    ]
    said = "Start a workflow once calls for a key rest; the body is its input"
    return _operation(said, {202: "Called"}, _of_a_call(names, terms), _ANY_BODY)


def _batch(names: list[str]) -> dict[str, Any]:
    terms = [
        {**_parameter("size", "query", {"type": "integer", "minimum": 1, "maximum": 10000}), "required": True},
        {**_parameter("within", "query", _LIMIT, "seconds after the first item"), "required": True},
    ]
    said = "Start a workflow with a list of what has come for a key; the body is one item"
    return _operation(said, {202: "Called"}, _of_a_call(names, terms), _ANY_BODY)


def _of_a_call(names: list[str], terms: list[dict[str, Any]]) -> list[dict[str, Any]]:
    key = {**_parameter("key", "query", {"type": "string", "maxLength": 200}), "required": True}
    once = _parameter("id", "query", ID, "an id of yours: the same call again has no effect")
    return [_named(names), key, *terms, once, *_of_a_start()]


def _of_window(summary: str, answers: Mapping[int, str | None]) -> dict[str, Any]:
    return _operation(summary, answers, [_parameter("window_id", "path", ID)])


def _failures() -> dict[str, Any]:
    parameters = [
        _parameter("workflow_name", "query", ID, "a whole name"),
        _parameter("silenced", "query", {"type": "boolean"}, "true: also the groups that are silenced"),
        _parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": 1000}),
    ]
    return _operation("Failures by their causes, the one that was seen last first", {200: "Failures"}, parameters)


def _of_group(summary: str, content: dict[str, Any] | None = None) -> dict[str, Any]:
    parameters = [_parameter("group", "path", {"type": "string", "pattern": "^f-[0-9a-f]{12}$"})]
    return _operation(summary, {200: "Answering"}, parameters, content)


def _questions() -> dict[str, Any]:
    parameters = [
        *(_parameter(name, "query", ID) for name in ("to", "workflow_name", "instance_id")),
        _parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": 200}),
        _parameter("page", "query", {"type": "string"}, "the next_page of the answer before"),
    ]
    return _operation("The open questions to people", {200: "Questions"}, parameters)


def _windows() -> dict[str, Any]:
    parameters = [
        _parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": 200}, "of so many, those with calls"),
        _parameter("page", "query", {"type": "string"}, "the next_page of the answer before"),
    ]
    return _operation("A page of the windows that have calls", {200: "Windows"}, parameters)


def _answering(summary: str, content: dict[str, Any]) -> dict[str, Any]:
    parameters = [
        _parameter("token", "path", ID),
        _parameter("by", "query", ID, "who answers, if auth= gives visitors no names"),
    ]
    return _operation(summary, {200: "Answering"}, parameters, content)


def _filters() -> list[dict[str, Any]]:
    return [_parameter(name, "query", schema, said) for name, (schema, said) in CHOOSING.items()]


def _list() -> dict[str, Any]:
    parameters = [
        *_filters(),
        _parameter("oldest_first", "query", {"type": "boolean"}, "true: in ascending order"),
        _parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT}),
        _parameter("page", "query", {"type": "string"}, "the next_page of the answer before"),
        _parameter("results", "query", {"type": "boolean"}, "true: with results, and a limit of at most 100"),
        _parameter("headers", "query", {"type": "boolean"}, "true: with headers, and a limit of at most 100"),
    ]
    return _operation("A page of instances, newest first unless asked otherwise", {200: "Instances"}, parameters)


def _result() -> dict[str, Any]:
    wait = _parameter("timeout", "query", {"type": "number", "minimum": 0}, "seconds to wait for the end")
    return _of_instance("The result: 200 once it has ended, else 202", {200: "Result", 202: "Result"}, wait)


def _progress() -> dict[str, Any]:
    last = _parameter("last-event-id", "header", {"type": "string"}, "continue after this event")
    operation = _of_instance("Reports, steps and the end, as they come", {200: None}, last)
    return _sends_events(operation, "report, step, end, error")


_KINDS: Final = "data, discard, settled, end, error; by the Durable Streams protocol: data, control"


def _stream() -> dict[str, Any]:
    name = _parameter("name", "path", ID)
    settled = _parameter("settled", "query", {"enum": ["true", "false"]}, "only what is final")
    last = _parameter("last-event-id", "header", {"type": "string"}, "continue after this event")
    offset = _parameter(
        "offset", "query", {"type": "string"}, "Durable Streams: behind this one; -1: all; now: nothing"
    )
    live = _parameter("live", "query", {"enum": ["long-poll", "sse"]}, "Durable Streams: wait for what comes")
    cursor = _parameter(
        "cursor", "query", {"type": "string", "pattern": "^[0-9]{1,15}$"}, "Durable Streams: the last one"
    )
    asked = (name, settled, last, offset, live, cursor)
    operation = _sends_events(_of_instance("What a stream holds, as it comes", {200: None}, *asked), _KINDS)
    operation["responses"]["200"]["content"]["application/json"] = {"schema": {"type": "array"}}
    return operation | {"responses": operation["responses"] | {"204": {"description": "Durable Streams: nothing new"}}}


def _sends_events(operation: dict[str, Any], kinds: str) -> dict[str, Any]:
    operation["responses"]["200"] = {
        "description": f"server-sent events: {kinds}",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
    return operation


def _logs() -> dict[str, Any]:
    cursor = {"type": "string", "pattern": "^[0-9a-f]{1,16}-[0-9]{1,18}$"}
    after = _parameter("after", "query", cursor, "behind this line")
    limit = _parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": LINES_AT_ONCE})
    level = _parameter("level", "query", {"enum": [*LEVELS]})
    return _of_instance("What its code has logged, a page, the oldest first", {200: "Lines"}, after, limit, level)


def _signal() -> dict[str, Any]:
    parameters = [
        _parameter("instance_id", "path", ID),
        _parameter("type", "path", ID),
        _parameter("key", "query", {"type": "string"}),
        _parameter("id", "query", ID, "a signal with the same id is dropped"),
    ]
    return _operation("Send a signal; the body is its data", {202: "Accepted"}, parameters, _ANY_BODY)


def _request() -> dict[str, Any]:
    parameters = [
        _parameter("instance_id", "path", ID),
        _parameter("name", "path", ID),
        _parameter("timeout", "query", {"type": "number", "minimum": 0}, "seconds to wait for the answer"),
        _parameter("id", "query", ID, "a request with the same id is handled once, and has the same answer"),
    ]
    summary = "Ask an instance; the body is the data: 200 once it is answered, else 202"
    return _operation(summary, {200: "Answered", 202: "Answered"}, parameters, _ANY_BODY)


def _cancel() -> dict[str, Any]:
    operation = _of_instance("Ask a workflow to stop and to undo its work", {200: "CancelRequested"})
    return {**operation, "requestBody": {"content": {"application/json": {"schema": _REASON}}}}


def _pause_instance() -> dict[str, Any]:
    operation = _of_instance("Let nothing new of an instance begin, until it is unpaused", {200: "Condition"})
    properties = {**_REASON["properties"], "freeze_time": {"type": "boolean", "default": False}}
    schema = {**_REASON, "properties": properties}
    return {**operation, "requestBody": {"content": {"application/json": {"schema": schema}}}}


_POINT: Final[dict[str, Any]] = {
    "before": {"type": "string", "description": "a step: it goes on from before it"},
    "at": {"type": "integer", "description": "instead: the last commit that is kept"},
    "children": {"enum": ["keep", "again"], "description": "of those that were open at the point"},
    "dry_run": {"type": "boolean", "description": "true: only show the plan"},
}


def _fork() -> dict[str, Any]:
    more = {
        "id": {**ID, "description": "an id of yours: the same fork again is the same instance"},
        "input": {"description": "new arguments, as of a start"},
    }
    summary = "Begin another instance that goes on from a point of this one, or show what it would keep"
    return _of_point(summary, {202: "Accepted", 200: "ForkPlan"}, more)


def _rewind() -> dict[str, Any]:
    more = {"undo": {"enum": ["refuse", "keep", "compensate"], "description": "if work behind the point stands"}}
    operation = _of_point("Take an instance back to a point of its log, or show what it would keep", {200: None}, more)
    either = [{"$ref": f"#/components/schemas/{name}"} for name in ("Condition", "ForkPlan")]
    operation["responses"]["200"]["content"] = {"application/json": {"schema": {"oneOf": either}}}
    return operation


def _of_point(summary: str, answers: Mapping[int, str | None], more: dict[str, Any]) -> dict[str, Any]:
    body = {"type": "object", "properties": _POINT | more, "additionalProperties": False}
    operation = _of_instance(summary, answers)
    return {**operation, "requestBody": {"required": True, "content": {"application/json": {"schema": body}}}}


def _of_schedule(summary: str, answers: Mapping[int, str | None], *more: dict[str, Any]) -> dict[str, Any]:
    return _operation(summary, answers, [_parameter("schedule_id", "path", ID), *more])


def _of_limit(summary: str, answers: Mapping[int, str | None]) -> dict[str, Any]:
    return _operation(summary, answers, [_parameter("name", "path", {"type": "string", "maxLength": 100})])


def _change_limit() -> dict[str, Any]:
    terms = {
        "type": "object",
        "properties": {
            "concurrency": {"type": ["integer", "null"], "minimum": 1},
            "rate": {"type": ["array", "null"], "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
        },
    }
    operation = _of_limit("Let these numbers hold for every key, until it is reset", {200: "LimitDone"})
    return {**operation, "requestBody": {"content": {"application/json": {"schema": terms}}}}


def _pause() -> dict[str, Any]:
    note = {"type": "object", "properties": {"note": {"type": "string"}}}
    operation = _of_schedule("Start nothing until it is resumed", {202: "Ordered"})
    return {**operation, "requestBody": {"content": {"application/json": {"schema": note}}}}


def _trigger() -> dict[str, Any]:
    overlap = _parameter("overlap", "query", {"enum": ["skip", "buffer_one", "allow"]}, "instead of the schedule's own")
    return _of_schedule("Start one run now", {202: "Ordered"}, overlap)


def _backfill() -> dict[str, Any]:
    moment = {"type": "string", "format": "date-time"}
    first = {**_parameter("from", "query", moment, "the first tick"), "required": True}
    last = {**_parameter("to", "query", moment, "the last one"), "required": True}
    return _of_schedule("Start a run for each tick of this time that has none", {202: "Ordered"}, first, last)
