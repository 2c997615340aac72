"""What the log records of an activity's own exception types, and what a workflow gets."""

from __future__ import annotations

import subprocess
import sys
from abc import ABCMeta
from typing import TYPE_CHECKING, Any, Self

import msgspec
import pytest

from romancy.activity import activity
from romancy.core import ActivityFailed, LogEvent, as_caught, decode_commit, encode_commit
from romancy.core.run.failures import activity_error
from romancy.errors import NonDeterminismError, RetryExhaustedError
from romancy.serialization import describe_exception, exception_name

if TYPE_CHECKING:
    from pathlib import Path


class OwnError(Exception):
    pass


class NearerError(OwnError):
    pass


class AbstractError(Exception, metaclass=ABCMeta):
    pass


class OneOfAKind(type):
    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> type:
        if any(isinstance(base, OneOfAKind) for base in bases):
            raise TypeError("nothing is derived from it")
        return super().__new__(cls, name, bases, namespace)


class LastOfItsKindError(Exception, metaclass=OneOfAKind):
    pass


class RefusesToBeMadeError(Exception):
    def __new__(cls, *, only_by_name: int) -> Self:
        return super().__new__(cls, only_by_name)

    def __init__(self, *, only_by_name: int) -> None:
        self.only_by_name = only_by_name


@activity
async def works() -> None:
    """Work."""


def failed(error: Exception, *named: type[Exception]) -> ActivityFailed:
    names = frozenset(map(exception_name, named))
    event = ActivityFailed(at=1, id="works:1", error=describe_exception(error, (), names), attempts=3)
    events: list[LogEvent] = [as_caught(event, works, names, error)]
    (read,) = decode_commit(encode_commit(events))
    assert isinstance(read, ActivityFailed)
    return read


def caught(event: ActivityFailed) -> Exception:
    return activity_error(event, works, ("first",))


def test_the_nearest_class_that_is_named() -> None:
    event = failed(NearerError("x"), OwnError)
    assert event.own == (exception_name(OwnError),)
    error = caught(event)
    kinds = (OwnError, RetryExhaustedError, NearerError)
    assert [isinstance(error, kind) for kind in kinds] == [True, True, False]
    assert failed(NearerError("x"), OwnError, NearerError).own == (exception_name(NearerError),)


def test_a_failure_recorded_before_is_what_it_was() -> None:
    event = msgspec.structs.replace(failed(OwnError("x"), OwnError), own=())
    assert b'"own"' not in encode_commit([event])
    error = caught(event)
    assert type(error) is RetryExhaustedError
    assert str(error) == f"activity works:1 failed after 3 attempt(s): {exception_name(OwnError)}: x"


def test_what_no_module_names_is_not_chosen() -> None:
    assert failed(OwnError("x")).own == ()
    assert type(caught(failed(OwnError("x")))) is RetryExhaustedError


def test_causes_and_members_come_back_as_themselves() -> None:
    try:
        raise LookupError("out") from OwnError("in")
    except LookupError as outer:
        error = caught(failed(outer, OwnError))
    assert type(error) is RetryExhaustedError
    cause = error.__cause__
    assert type(cause) is LookupError
    assert type(cause.__cause__) is OwnError


@pytest.mark.parametrize("error", [AbstractError("x"), LastOfItsKindError("x")])
def test_a_class_of_another_metaclass(error: Exception) -> None:
    made = caught(failed(error, type(error)))
    assert isinstance(made, RetryExhaustedError)
    assert isinstance(made, AbstractError) is isinstance(error, AbstractError)
    assert type(made.__cause__) is type(error)


def test_a_class_that_cannot_be_made_again() -> None:
    made = caught(failed(RefusesToBeMadeError(only_by_name=1), RefusesToBeMadeError))
    assert type(made) is RetryExhaustedError


def test_a_class_that_is_not_there_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    event = failed(OwnError("x"), OwnError)
    monkeypatch.delitem(globals(), "OwnError")
    with pytest.raises(NonDeterminismError, match=r"works:1 failed with .*\.OwnError, .* deploy the code that has"):
        caught(event)


SCRIPT = """
import asyncio

from romancy import RetryPolicy, Romancy, WorkflowContext, activity, workflow


class MineError(Exception):
    pass


@activity(executor="process", retry=RetryPolicy.none())
def fails() -> None:
    raise MineError("no", 7)


@workflow
async def catches(ctx: WorkflowContext) -> str:
    try:
        await fails()
    except MineError as error:
        return f"caught {error.args}"
    return "nothing failed"


async def main() -> None:
    async with Romancy("memory://", workflows=[catches]) as app:
        print(await app.run(catches))


if __name__ == "__main__":
    asyncio.run(main())
"""


def test_an_error_of_a_script_from_a_process_of_its_own(tmp_path: Path) -> None:
    """There the script has another name than where the workflow names the class."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    answer = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True, timeout=120)
    assert answer.stdout.strip() == "caught ('no', 7)"
