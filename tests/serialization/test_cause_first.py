"""Lines about failures: what was raised comes first, and our own errors around it come last."""

from __future__ import annotations

import asyncio

import pytest

from romancy.errors import RetryExhaustedError, WorkflowFailedError
from romancy.serialization import ErrorInfo, cause_first, describe_exception

BANK = ErrorInfo("ConnectionError", "bank down for 7: try later")
EXHAUSTED = ErrorInfo(
    "romancy.errors.RetryExhaustedError",
    "activity charge:1 failed after 5 attempt(s): ConnectionError: bank down for 7: try later",
    cause=BANK,
)
CHILD = ErrorInfo(
    "romancy.errors.WorkflowFailedError",
    "child workflow order:2 failed: romancy.errors.RetryExhaustedError: activity charge:1 failed after 1 attempt(s): "
    "ConnectionError: bank down for 7: try later",
    cause=BANK,
)


@pytest.mark.parametrize(
    ("info", "line"),
    [
        (EXHAUSTED, "ConnectionError: bank down for 7: try later, after 5 attempts of charge:1"),
        (CHILD, "ConnectionError: bank down for 7: try later, after 1 attempt of charge:1, in child workflow order:2"),
    ],
)
def test_what_was_raised_comes_first_also_in_rows_of_older_versions(info: ErrorInfo, line: str) -> None:
    assert info.summary == line
    assert info.report.startswith(line)
    assert cause_first(f"{info.type}: {info.message}") == line
    assert cause_first(line) == line


def test_what_our_errors_say_by_themselves_stays() -> None:
    for error in (RetryExhaustedError("of mine"), WorkflowFailedError("activity x failed after lunch: ouch")):
        error.__cause__ = ValueError("deeper")
        info = describe_exception(error)
        assert info.summary == f"{info.type}: {error}" == cause_first(info.summary)
    assert cause_first("ValueError: activity a failed after 2 attempt(s): x") == (
        "ValueError: activity a failed after 2 attempt(s): x"
    )


def test_the_members_of_a_group_behind_retries_are_told() -> None:
    group = describe_exception(ExceptionGroup("many", [ValueError("a"), TimeoutError()]))
    wrapped = ErrorInfo(EXHAUSTED.type, "activity both:1 failed after 2 attempt(s): ExceptionGroup: many", cause=group)
    assert (
        wrapped.summary == "ExceptionGroup: many, after 2 attempts of both:1 (ValueError: a; TimeoutError (no message))"
    )


async def gives_up() -> None:
    async with asyncio.timeout(0):
        await asyncio.get_running_loop().create_future()


@pytest.mark.anyio
async def test_an_exception_without_a_message_says_where_it_was_raised() -> None:
    with pytest.raises(TimeoutError) as caught:
        await gives_up()
    info = describe_exception(caught.value)
    line = gives_up.__code__.co_firstlineno + 1
    assert info.line.startswith("TimeoutError (no message) raised in gives_up (test_cause_first.py:")
    assert info.line.endswith((f":{line})", f":{line + 1})"))
    assert info.message == "", "what a body gets is as it was"


def test_an_old_row_without_a_message_says_so() -> None:
    assert cause_first("TimeoutError: ") == "TimeoutError (no message)"
    assert cause_first(
        "romancy.errors.RetryExhaustedError: activity slow:1 failed after 2 attempt(s): TimeoutError: "
    ) == ("TimeoutError (no message), after 2 attempts of slow:1")
    assert cause_first("no worker: ") == "no worker: "
