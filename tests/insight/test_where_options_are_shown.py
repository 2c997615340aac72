"""Where each option of an activity, of a compensation, of a call and of a start is shown, once it has acted.

A new option fails here under its own name until `SHOWN` has an instance in which it has acted, and the words by which
`romancy why`, `romancy show` and the page of the instance tell of it. A place without words needs a reason.
"""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from romancy import (
    ActivityUnknownError,
    Limit,
    RetryPolicy,
    Romancy,
    TerminalError,
    WorkflowContext,
    activity,
    workflow,
)
from romancy._call_options import CallKeywords, DeclaredKeywords, UndoKeywords
from romancy._start_options import StartKeywords
from romancy.activity import compensation
from romancy.core import ActivityAttemptFailed, CompensationAttemptFailed, MessageAwaited, WorkflowFailed
from romancy.dashboard import asgi
from romancy_conformance.behaviour.waiting import until
from tests.cli.in_process import runner
from tests.dashboard.browsing import Browser

if TYPE_CHECKING:
    from romancy.activity import Activity

KEYWORDS: Final = {
    "activity": DeclaredKeywords, "compensation": UndoKeywords, "call": CallKeywords, "start": StartKeywords,
}  # fmt: skip
OPTIONS: Final = [f"{of} {option}" for of, keywords in KEYWORDS.items() for option in keywords.__annotations__]
REFERENCE: Final = Path(__file__).parents[2] / "docs" / "reference" / "declaring.md"
LATER: Final = RetryPolicy.fixed(2, 3_600)
SETTLED: Final = (ActivityAttemptFailed, CompensationAttemptFailed, MessageAwaited, WorkflowFailed)
"""After one of these, an instance of this module does nothing more."""


async def works() -> str:
    return "done"


async def breaks() -> None:
    raise OSError("the line is dead")


async def breaks_for_good() -> None:
    raise TerminalError("the line is dead")


async def hangs() -> None:
    await asyncio.sleep(3_600)


async def may_have_worked() -> None:
    raise ActivityUnknownError("nobody has answered")


@compensation(name="shown_refund")
async def refund() -> None: ...


@compensation(name="shown_late_refund", retry=LATER)
async def refund_later() -> None:
    raise OSError("the bank is closed")


one_try = RetryPolicy.none()
plain = activity(name="shown_plainly")(works)
broken = activity(name="shown_broken", retry=LATER)(breaks)
hanging = activity(name="shown_hanging", retry=LATER)(hangs)
CALLS: Final[dict[str, tuple[Activity[[], Any], ...]]] = {
    "activity name": (activity(name="shown_by_its_name")(works),),
    "activity retry": (broken,),
    "activity timeout": (activity(name="shown_timed", retry=LATER, timeout=0.01)(hangs),),
    "activity heartbeat_timeout": (activity(name="shown_silent", retry=LATER, heartbeat_timeout=0.01)(hangs),),
    "activity limits": (activity(name="shown_limited", limits=[Limit("shown limit", concurrency=1)])(works),),
    "activity at_most_once": (activity(name="shown_once", retry=one_try, at_most_once=True)(may_have_worked),),
    "activity compensate": (
        activity(name="shown_tried", compensation=refund, compensate="attempted")(breaks_for_good),
    ),
    "compensation name": (
        activity(name="shown_paid", compensation=refund)(works),
        activity(name="shown_unshipped")(breaks_for_good),
    ),
    "compensation retry": (
        activity(name="shown_paid_late", compensation=refund_later)(works),
        activity(name="shown_unpacked")(breaks_for_good),
    ),
    "call id": (plain.options(id="of-mine"),),
    "call retry": (activity(name="shown_retried", retry=one_try)(breaks).options(retry=LATER),),
    "call timeout": (hanging.options(timeout=0.01),),
}


@workflow
async def shown_options(ctx: WorkflowContext, option: str) -> None:
    for call in CALLS.get(option, (plain,)):
        await call()
    await ctx.wait_event("never")


class Shown(NamedTuple):
    """The words that tell of an option, at three places. `nowhere`: why those without words do not."""

    why: str = ""
    show: str = ""
    page: str = ""
    nowhere: str = ""
    start: dict[str, Any] = {}  # noqa: RUF012 - nothing changes it
    """The options of the start."""


def everywhere(words: str, **start: Any) -> Shown:
    """The same words at each place."""
    return Shown(words, words, words, start=start)


RETRIED: Final = Shown("waits for attempt 2, due", "attempt 1 failed", "the line is dead")
LATE: Final = everywhere("took longer than 0.01 s")
OPEN: Final = "`why` tells what an open instance waits for, and a call that has ended is no such thing"
UNRECORDED: Final = "it changes how an attempt is made, and the log has the ends of attempts"
SHOWN: Final = {
    "activity name": Shown(show="shown_by_its_name:1", page="shown_by_its_name:1", nowhere=OPEN),
    "activity retry": RETRIED,
    "activity timeout": LATE,
    "activity heartbeat_timeout": everywhere("sent no heartbeat for 0.01 s"),
    "activity executor": Shown(nowhere=UNRECORDED),
    "activity transactional": Shown(nowhere=UNRECORDED),
    "activity raises": Shown(nowhere="the error is shown, and its class is only what the workflow catches it by"),
    "activity at_most_once": everywhere("ActivityUnknownError: nobody has answered"),
    "activity limits": Shown(show="shown limit", page="shown limit", nowhere=OPEN),
    "activity commit": Shown(nowhere="the log has the same events in fewer rows"),
    "activity pass_context": Shown(nowhere=UNRECORDED),
    "activity compensate": Shown(show="undoes shown_tried:1: completed", page="undoes shown_tried:1", nowhere=OPEN),
    "compensation name": Shown(
        show="compensation shown_refund (compensate:shown_paid:1) undoes shown_paid:1",
        page="shown_refund",
        nowhere=OPEN,
    ),
    "compensation retry": Shown("waits for attempt 2, due", "attempt 1 failed", "the bank is closed"),
    "call id": Shown(show="of-mine", page="of-mine", nowhere=OPEN),
    "call retry": RETRIED,
    "call timeout": LATE,
    "start instance_id": Shown(show="shown-options", page="shown-options", nowhere="`why` is asked by the id"),
    "start delay": everywhere("No worker holds it while it rests; one takes it at", delay=3_600),
    "start at": everywhere("one takes it at 2999-12-31", at=datetime(2999, 12, 31, tzinfo=UTC)),
    "start headers": Shown(
        show="acme",
        page="header tenant acme",
        nowhere="no instance waits because of a header",
        start={"headers": {"tenant": "acme"}},
    ),
    "start timeout": everywhere("It is stopped if it has not ended 1 h after its body began", timeout=3_600),
    "start fair_key": everywhere("its key acme has one turn in each round", fair_key="acme"),
    "start weight": everywhere("its key acme has 2 turns in each round", fair_key="acme", weight=2),
    "start detached": Shown(nowhere="only a child has it, and it acts when the parent has ended"),
    "start paused": everywhere("It has been paused since", paused=True),
    "start priority": Shown("It has priority 7", "priority 7", "Priority 7", start={"priority": 7}),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_is_shown_where_it_has_acted(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = SHOWN.get(option)
    assert told is not None, f"say in SHOWN where the option {option!r} is shown"
    empty = [place for place in ("why", "show", "page") if not getattr(told, place)]
    assert told.nowhere if empty else not told.nowhere, f"{option!r}: {', '.join(empty)} without a reason"
    name = option.partition(" ")[2]
    assert re.search(rf"^ *(- `)?{name}: ", REFERENCE.read_text("utf-8"), re.MULTILINE), f"the reference lacks {name!r}"
    if len(empty) == 3:
        return
    url = f"sqlite:///{tmp_path}/shown.db"
    romancy = runner(capsys)

    page = asyncio.run(_page(url, option, told.start))
    shown, why = (romancy(verb, "--url", url, "shown-options").out for verb in ("show", "why"))

    for place, text in (("page", page), ("show", shown), ("why", why)):
        assert getattr(told, place) in " ".join(text.split()), f"{place} does not tell of {option!r}: {text}"


async def _page(url: str, option: str, start: dict[str, Any]) -> str:
    """Run an instance in which the option acts. Returns the text of its page."""
    async with Romancy(url, workflows=[shown_options]) as app:
        handle = await app.start(shown_options.options(instance_id="shown-options", **start), option)

        async def settled() -> bool:
            return any(isinstance(event, SETTLED) for event in await app.history(handle.instance_id))

        if not {"delay", "at", "paused"} & start.keys():
            await until(settled)
        return Browser.text(await Browser(asgi(app, auth="local")).get("/instances/shown-options"))


def test_no_option_is_shown_that_there_is_not() -> None:
    assert [] == sorted(SHOWN.keys() - set(OPTIONS))
