"""What people of other libraries write as an option, answered by the error that comes anyway.

The signatures stay as they are, for people and for type checkers.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from typing import TYPE_CHECKING, Any, Final

from romancy.errors import RegistrationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "OF_ACTIVITY",
    "OF_ACTIVITY_CALLS",
    "OF_APPS",
    "OF_POLICIES",
    "OF_STARTS",
    "OF_WORKFLOW",
    "OptionError",
    "answer_options",
    "refuse_unknown",
]


class OptionError(RegistrationError, TypeError):
    """A call has an option that does not exist. Python raises TypeError for it, and our own calls UsageError."""


_ATTEMPTS: Final = "max_attempts, which counts the first attempt too: one more than retries, and 0 is for ever"
_POLICY: Final = "retry=RetryPolicy(max_attempts=…), which counts the first attempt too"
_POOL: Final = "pool_size in the URL, as in postgresql://db/shop?pool_size=20"
_COUNTS: Final = (
    "attempts", "retries", "tries", "max_retries", "max_tries", "maximum_attempts", "num_retries", "retry_count",
    "retry_limit", "max_attempt_number", "max_retry_attempts",
)  # fmt: skip
_POLICIES: Final = (*_COUNTS, "max_attempts", "retry_policy", "retries_allowed", "retry_options", "policy")
_LIMITS: Final = (
    "start_to_close_timeout", "schedule_to_close_timeout", "time_limit", "timeout_seconds", "execution_timeout",
    "run_timeout", "timeout_s", "deadline",
)  # fmt: skip

OF_POLICIES: Final[Mapping[str, str]] = {
    **dict.fromkeys(_COUNTS, _ATTEMPTS),
    **dict.fromkeys(
        ("delay", "interval", "wait", "initial_delay", "retry_delay", "interval_seconds", "initial_interval_seconds",
         "min_interval", "countdown", "first_retry_interval"),
        "initial_interval, in seconds",
    ),
    **dict.fromkeys(
        ("backoff", "backoff_rate", "backoff_coefficient", "backoff_multiplier", "factor", "exponential_base"),
        "multiplier",
    ),
    **dict.fromkeys(
        ("max_delay", "maximum_interval", "max_backoff", "max_interval_seconds", "retry_backoff_max", "max_wait"),
        "max_interval, in seconds",
    ),
    **dict.fromkeys(
        ("non_retryable", "non_retryable_errors", "non_retryable_error_types", "dont_autoretry_for", "fatal"),
        "give_up_on, with exception classes",
    ),
    **dict.fromkeys(
        ("exceptions", "autoretry_for", "retry_for", "retryable", "retry_exceptions"),
        "retry_on, with exception classes",
    ),
}  # fmt: skip
OF_APPS: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("pool_size", "max_pool_size", "max_connections", "connections", "pool_max_size", "max_size", "poolsize",
         "max_overflow"),
        _POOL,
    ),
    **dict.fromkeys(_POLICIES, _POLICY),
    **dict.fromkeys(
        ("concurrency", "max_workers", "worker_concurrency", "max_concurrent_activities", "max_concurrency"),
        "max_activities (and max_threads for plain functions)",
    ),
    **dict.fromkeys(("threads", "num_threads", "thread_pool_size"), "max_threads"),
    **dict.fromkeys(("max_concurrent_workflows", "max_cached_workflows", "max_instances"), "max_live"),
    **dict.fromkeys(
        ("database", "database_url", "db_url", "dsn", "uri", "connection_string"),
        "url, which is the first argument",
    ),
    **dict.fromkeys(("lease_seconds", "lease_duration", "visibility_timeout"), "lease, in seconds"),
    **dict.fromkeys(("name", "identity", "executor_id"), "worker_id"),
    **dict.fromkeys(("grace", "shutdown_timeout", "graceful_shutdown_timeout"), "drain_timeout"),
    "timeout": "answer_within for writes, or connect_timeout for opening",
    "activities": "workflows alone: activities are found by their calls",
    **dict.fromkeys(("codec", "data_converter", "serializer", "payload_codec"), "codecs"),
    **dict.fromkeys(("interceptors", "middleware", "plugins"), "hooks"),
    **dict.fromkeys(("auto_migrate", "create_tables", "run_migrations"), "migrate"),
}  # fmt: skip
OF_ACTIVITY: Final[Mapping[str, str]] = {
    **dict.fromkeys(_POLICIES, _POLICY),
    **dict.fromkeys(_LIMITS, "timeout, in seconds, for each attempt"),
    **dict.fromkeys(("undo", "rollback", "on_rollback", "compensate_with", "compensating"), "compensation"),
    **dict.fromkeys(("heartbeat", "heartbeat_interval"), "heartbeat_timeout"),
    **dict.fromkeys(("non_retryable", "non_retryable_error_types"), "retry=RetryPolicy(give_up_on=…)"),
    **dict.fromkeys(("bind", "with_context"), "pass_context"),
}
OF_ACTIVITY_CALLS: Final[Mapping[str, str]] = {
    **dict.fromkeys(_POLICIES, _POLICY),
    **dict.fromkeys(_LIMITS, "timeout, in seconds, for each attempt"),
    **dict.fromkeys(("activity_id", "name", "key"), "id"),
}
OF_WORKFLOW: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        (*_POLICIES, "retry"), "retry= of its activities, as in @activity(retry=RetryPolicy(max_attempts=…))"
    ),
    **dict.fromkeys((*_LIMITS, "timeout"), "timeout= of a start, as in wf.options(timeout=…)"),
    **dict.fromkeys(("id", "workflow_id", "instance_id"), "instance_id= of a start, as in wf.options(instance_id=…)"),
}
OF_STARTS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("id", "workflow_id", "task_id", "key", "job_id", "idempotency_key"), "instance_id"),
    **dict.fromkeys(("start_delay", "countdown", "delay_seconds"), "delay, in seconds"),
    **dict.fromkeys(("eta", "start_at", "run_at", "when"), "at, a datetime with a time zone"),
    **dict.fromkeys(_LIMITS, "timeout, in seconds, for the whole instance"),
    **dict.fromkeys((*_POLICIES, "retry"), "retry= of its activities, as in @activity(retry=RetryPolicy(…))"),
}
_ELSEWHERE: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("task_queue", "queue", "queue_name", "worker_pool"),
        "there are no queues: a worker takes what its app knows, and `romancy run --only` narrows that",
    ),
    **dict.fromkeys(
        ("id_reuse_policy", "id_conflict_policy", "workflow_id_reuse_policy", "on_conflict"),
        "if_exists= of app.start says what happens if the id is taken",
    ),
    **dict.fromkeys(("cron_schedule", "cron", "schedule"), "app.schedule(…) starts at times"),
    **dict.fromkeys(("start_signal", "start_signal_args"), "app.signal_with_start(…) does both"),
    **dict.fromkeys(
        ("memo", "search_attributes", "attributes", "metadata", "tags"),
        "headers= is kept with the instance, and its input is searched by app.find_instances",
    ),
    **dict.fromkeys(
        ("schedule_to_start_timeout",), "put `async with asyncio.timeout(…)` around the call: it counts the wait too"
    ),
    "cancellation_type": "what is cancelled is asked to stop, and waited for half a minute",
    "parent_close_policy": "detached=True lets a child outlive its parent; others are cancelled with it",
}
"""What others give as an option and has another place here."""


def refuse_unknown(what: str, given: Iterable[str], known: Sequence[str], words: Mapping[str, str]) -> None:
    """Raise OptionError for an option that `what` does not have. `words` are those of other libraries."""
    unknown = [name for name in given if name not in known]
    if not unknown:
        return
    told = ", and ".join(f"no option {name!r}{_hint(name, known, words)}" for name in unknown)
    raise OptionError(f"{what} has {told}{' Its' if told.endswith('?') else '; its'} options are {', '.join(known)}")


def _hint(name: str, known: Sequence[str], words: Mapping[str, str]) -> str:
    if name in _ELSEWHERE and name not in words:
        return f" ({_ELSEWHERE[name]})"
    if (meant := words.get(name)) is None:
        close = difflib.get_close_matches(name, known, 1)
        meant = repr(close[0]) if close else None
    return "" if meant is None else f"; did you mean {meant}?"


def answer_options(
    cls: type, words: Mapping[str, str], *, method: str = "__init__", called: str = "", takes: type | None = None
) -> None:
    """Let a method of a class answer options that it does not have. `called` is its name in the error.

    `takes`: a TypedDict of optional keywords, which the method unpacks. They are shown as its parameters.
    """
    inner: Any = vars(cls)[method]
    if takes is not None:
        inner.__signature__ = _with_keywords(inspect.signature(inner), takes)
    parameters = list(inspect.signature(inner).parameters.values())[1:]
    known = [its.name for its in parameters if its.kind is not its.POSITIONAL_ONLY]

    @functools.wraps(inner)
    def answering(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        try:
            return inner(self, *args, **kwargs)
        except TypeError:
            refuse_unknown(called or cls.__name__, kwargs, known, words)
            raise

    setattr(cls, method, answering)


def _with_keywords(signature: inspect.Signature, takes: type) -> inspect.Signature:
    """The signature with the keywords of a TypedDict in the place of `**`. None is the default of each."""
    named = [its for its in signature.parameters.values() if its.kind is not its.VAR_KEYWORD]
    for name, kind in takes.__annotations__.items():
        declared = getattr(kind, "__forward_arg__", kind)
        named.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=declared))
    return signature.replace(parameters=named)
