"""Options of other libraries: the error says what is meant, and the signatures stay as they are."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import pytest

from romancy import RetryPolicy, Romancy, UsageError, WorkflowContext, activity, workflow
from romancy import _expected_options as expected_options
from romancy.sync import SyncRomancy

if TYPE_CHECKING:
    from collections.abc import Callable


@activity
async def option_charge() -> None: ...


@workflow
async def option_order(ctx: WorkflowContext) -> None: ...


policy: Any = RetryPolicy
app: Any = Romancy
sync_app: Any = SyncRomancy
an_activity: Any = activity
a_workflow: Any = workflow
charge: Any = option_charge
order: Any = option_order


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: policy(attempts=3), "RetryPolicy has no option 'attempts'; did you mean max_attempts, which counts"),
        (lambda: policy(max_retries=3), "one more than retries"),
        (lambda: policy(backoff_coefficient=3), "did you mean multiplier?"),
        (lambda: policy(max_atempts=3), "did you mean 'max_attempts'?"),
        (lambda: app("memory://", pool_size=5), "Romancy has no option 'pool_size'; did you mean pool_size in the URL"),
        (lambda: sync_app("memory://", max_connections=5), "SyncRomancy has no option 'max_connections'; did you mean"),
        (lambda: app("memory://", nonsense=5), "Romancy has no option 'nonsense'; its options are url, password"),
        (lambda: an_activity(start_to_close_timeout=5), "did you mean timeout, in seconds, for each attempt?"),
        (lambda: a_workflow(retry=5), "did you mean retry= of its activities"),
        (lambda: charge.options(retries=2), "options(…) of an activity has no option 'retries'; did you mean retry="),
        (
            lambda: order.options(workflow_id="a"),
            "options(…) of a workflow has no option 'workflow_id'; did you mean inst",
        ),
    ],
)
def test_the_error_says_what_is_meant(call: Callable[[], object], text: str) -> None:
    for kind in (TypeError, UsageError):
        with pytest.raises(kind, match=re.escape(text)):
            call()


def test_other_errors_stay_and_signatures_too() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'url'"):
        app()
    with pytest.raises(TypeError, match="multiple values for argument 'max_attempts'"):
        policy(3, max_attempts=3)
    assert next(iter(inspect.signature(RetryPolicy).parameters)) == "max_attempts"
    assert "connect_timeout" in inspect.signature(SyncRomancy).parameters
    assert RetryPolicy.fixed(3, 1) == RetryPolicy(3, 1, 1, 1)


@pytest.mark.parametrize(
    ("words", "known"),
    [
        (expected_options.OF_POLICIES, RetryPolicy.__init__),
        (expected_options.OF_APPS, Romancy.__init__),
        (expected_options.OF_ACTIVITY_CALLS, option_charge.options),
        (expected_options.OF_STARTS, option_order.options),
    ],
)
def test_no_word_is_an_option(words: dict[str, str], known: Callable[..., object]) -> None:
    assert not words.keys() & inspect.signature(known).parameters.keys()
