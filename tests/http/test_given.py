"""`asgi` refuses bad arguments at once: values that are no app, and values that are no event type."""

from __future__ import annotations

from typing import Any

import pytest

from romancy import EventType, Romancy, WorkflowContext, workflow
from romancy.errors import UsageError
from romancy.http import asgi

PAID = EventType("paid", dict[str, int])


@workflow
async def tick(ctx: WorkflowContext) -> None: ...


@pytest.mark.parametrize("wrong", ["sqlite:///x.db", "postgresql://u:hush@h/d", None, Romancy, tick], ids=repr)
def test_what_is_no_app_is_refused_and_not_shown(wrong: Any) -> None:
    with pytest.raises(UsageError, match=r"asgi\(app\)") as caught:
        asgi(wrong, auth="local")

    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("wrong", [["paid"], [PAID, dict], "paid", PAID, None, 5], ids=repr)
def test_what_is_no_type_of_an_event_is_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match=r'events=\[EventType\("paid", Paid\)\]'):
        asgi(Romancy("memory://"), auth="local", events=wrong)
