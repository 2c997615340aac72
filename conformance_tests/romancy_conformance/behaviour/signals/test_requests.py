"""Requests: a sender gets the answer of a body, once, and finds it again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    EventType,
    Handle,
    InstanceEndedError,
    InstanceNotFoundError,
    Request,
    RequestError,
    RequestFailedError,
    RequestRefusedError,
    RequestTimeoutError,
    RequestType,
    RequestUnansweredError,
    Romancy,
    SerializationError,
    Status,
    TerminalError,
    UsageError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    workflow,
)
from romancy.core import MessageReceived, RequestAnswered, RequestRefused, WorkflowRetried
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from romancy.core import LogEvent
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

Add = RequestType("add", int, str)
Take = RequestType("take", int, int)
Close = RequestType("close", None, int)

did: list[str] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear the record of the test before."""
    did.clear()


@activity
async def request_doubled(number: int) -> int:
    return 2 * number


@activity
async def request_slow(number: int) -> int:
    did.append(f"began {number}")
    await asyncio.sleep(30)
    return number


@activity
async def request_mended() -> None:
    if "mended" not in did:
        raise TerminalError("broken")


@workflow
async def request_account(ctx: WorkflowContext, balance: int) -> int:
    """Answers with an activity, refuses to take too much, and fails at thirteen."""
    closed = False

    async def add(number: int) -> str:
        nonlocal balance
        if number == 13:
            raise LookupError("thirteen is bad luck")
        if number == 14:
            raise PermissionError("fourteen ends the block")
        balance += await request_doubled(number) // 2
        return f"{balance} now"

    async def take(number: int) -> int:
        nonlocal balance
        balance -= number
        return balance

    def enough(number: int) -> None:
        did.append(f"asked {number}")
        if number > balance:
            raise ValueError(f"only {balance} left")

    async def close() -> int:
        nonlocal closed
        closed = True
        return balance

    async with ctx.handling(Add.by(add, fatal=PermissionError), Take.by(take, validate=enough), Close.by(close)):
        await ctx.until(lambda: closed)
    return balance


@workflow
async def request_rounds(ctx: WorkflowContext, seen: list[int], needed: int) -> list[int]:
    """Goes on with a new run after every second request."""
    before = len(seen)

    async def add(number: int) -> str:
        await request_doubled(number)
        seen.append(number)
        return f"{len(seen)}: {number}"

    async with ctx.handling(Add.by(add)):
        await ctx.until(lambda: len(seen) >= min(needed, before + 2))
        await ctx.all_handled()
        if len(seen) < needed:
            return request_rounds.recur(seen, needed)
    return seen


@workflow
async def request_by_hand(ctx: WorkflowContext, how: str) -> str:
    """Waits for one request without a handler."""
    request: Request[int, str] = await ctx.wait_request(Add)
    if how == "reply":
        await request.reply(f"{request.data} by hand")
        await request_doubled(1)
    elif how == "fail":
        await request.fail(ValueError(f"not {request.data}"))
    elif how == "twice":
        await request.reply("once")
        await request.reply("twice")
    elif how == "recur":
        return request_by_hand.recur("reply")
    elif how == "raise":
        raise RuntimeError("no answer today")
    else:
        await ctx.sleep(3600)
    return request.id


@workflow
async def request_slowly(ctx: WorkflowContext, how: str) -> str:
    """The handler never comes to an end; the body may give it up."""
    begun = False

    async def add(number: int) -> str:
        nonlocal begun
        begun = True
        return str(await request_slow(number))

    try:
        async with ctx.handling(Add.by(add)):
            await ctx.until(lambda: begun)
            if how == "gives it up":
                raise TimeoutError
            await ctx.sleep(3600)
    except TimeoutError:
        await request_doubled(1)
    return "went on"


@workflow
async def request_retried(ctx: WorkflowContext) -> str:
    """Answers one request and fails, until it is allowed to end."""
    request = await ctx.wait_request(Add)
    await request.reply(f"{request.data} once")
    await request_mended()
    return request.id


@workflow
async def request_or_signal(ctx: WorkflowContext) -> int:
    """Takes one number, by a signal or by a request."""
    seen: list[int] = []

    async def noted(number: int) -> None:
        seen.append(number)

    async def answered(number: int) -> str:
        seen.append(number)
        return str(number)

    async with ctx.handling(EventType("add", int).by(noted), Add.by(answered)):
        await ctx.until(lambda: seen)
    return seen[0]


@workflow
async def request_touches(ctx: WorkflowContext) -> None:
    """Has a validator that does more than look."""
    event = asyncio.Event()
    waiting = asyncio.create_task(event.wait())

    async def add(number: int) -> str:
        return str(number)

    def check(_: int) -> None:
        event.set()

    async with ctx.handling(Add.by(add, validate=check)):
        await waiting


@workflow
async def request_wrongly(ctx: WorkflowContext, how: str) -> None:
    async def add(number: int) -> str:
        return str(number)

    async def check(number: int) -> None:
        pass

    def none() -> None:
        pass

    if how == "async":
        ctx.handling(Add.by(add, validate=check))
    elif how == "parameters":
        ctx.handling(Add.by(add, validate=none))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    elif how == "plain":
        ctx.handling(Add.by(none))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    elif how == "fatal":
        ctx.handling(Add.by(add, fatal=KeyboardInterrupt))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    else:
        ctx.handling(Add.by(add), Add.by(add))


async def events(app: Romancy, handle: Handle[Any], *kinds: type[LogEvent]) -> list[Any]:
    """The events of these kinds in the log of all runs."""
    found = [entry.event async for entry in app.entries_of(handle.instance_id)]
    return [event for event in found if isinstance(event, kinds)]


async def test_a_handler_answers(app: Romancy) -> None:
    handle = await app.start(request_account, 10)

    assert await handle.request(Add, 5) == "15 now"
    assert await handle.request("take", 3) == 12
    assert await handle.request(Close) == 12
    assert await handle.result() == 12


async def test_a_sender_without_a_worker_is_answered(open_app: Open, app: Romancy) -> None:
    handle = await app.start(request_account, 10)
    sender = await open_app(worker=False)

    assert await sender.request(handle.instance_id, Add, 5) == "15 now"
    with pytest.raises(RequestRefusedError, match="only 15 left"):
        await sender.request(handle.instance_id, Take, 16)


async def test_the_answer_is_in_the_commit_of_the_step_that_gives_it(app: Romancy) -> None:
    handle = await app.start(request_account, 10)
    asked = [await handle.ask(Take, 1), await handle.ask(Add, 1)]
    await asyncio.gather(*(one.reply() for one in asked))

    entries = [entry async for entry in app.entries_of(handle.instance_id)]
    commits: dict[str, list[str]] = {}
    for entry in entries:
        commits.setdefault(entry.cursor.rsplit("-", 1)[0], []).append(type(entry.event).__name__)
    took, added = (one for one in commits.values() if "RequestAnswered" in one)
    assert took[:3] == ["MessageReceived", "MessageAwaited", "RequestAnswered"]
    assert added[0] == "ActivityCompleted"
    assert added[-1] == "RequestAnswered"


async def test_a_request_costs_a_signal_and_one_event(app: Romancy) -> None:
    """In commits, and in events of the log."""
    signalled, asked = await app.start(request_or_signal), await app.start(request_or_signal)
    for handle in (signalled, asked):
        await status_is(app, handle.instance_id, Status.WAITING)
    await signalled.signal(EventType("add", int), 1)
    assert await signalled.result() == 1
    assert await asked.request(Add, 1) == "1"
    assert await asked.result() == 1

    costs: list[tuple[int, int]] = []
    for handle in (signalled, asked):
        cursors = [entry.cursor async for entry in app.entries_of(handle.instance_id)]
        costs.append((len({cursor.rsplit("-", 1)[0] for cursor in cursors}), len(cursors)))
    (commits, events), more = costs
    assert more == (commits, events + 1)


async def test_an_exception_of_a_handler_is_the_answer_and_the_body_goes_on(app: Romancy) -> None:
    handle = await app.start(request_account, 10)

    with pytest.raises(RequestFailedError, match="LookupError: thirteen is bad luck") as failed:
        await handle.request(Add, 13)
    assert isinstance(failed.value.__cause__, LookupError)
    assert failed.value.error_type == "LookupError"
    assert "raise LookupError" in failed.value.trace
    assert await handle.request(Add, 1) == "11 now"


async def test_a_fatal_exception_is_the_answer_and_ends_the_block(app: Romancy) -> None:
    handle = await app.start(request_account, 10)

    with pytest.raises(RequestFailedError, match="fourteen ends the block"):
        await handle.request(Add, 14)
    with pytest.raises(WorkflowFailedError, match="fourteen ends the block"):
        await handle.result()


async def test_a_refused_request_is_not_recorded(app: Romancy) -> None:
    handle = await app.start(request_account, 10)

    with pytest.raises(RequestRefusedError, match="ValueError: only 10 left") as refused:
        await handle.request(Take, 4711, id="much")
    assert isinstance(refused.value.__cause__, ValueError)
    with pytest.raises(RequestRefusedError, match="only 10 left"):
        await handle.request(Take, 4711, id="much")

    assert did == ["asked 4711"]
    assert [] == await events(app, handle, MessageReceived)
    (recorded,) = await events(app, handle, RequestRefused)
    assert (recorded.name, recorded.id) == ("take", "much")


async def test_each_request_is_judged_in_the_state_that_the_one_before_has_left(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[request_account], worker=False) as sender:
        handle = await sender.start(request_account, 10)
        asked = [await handle.ask(Take, number) for number in (4, 4, 4, 2, 1)]
        added = await handle.ask(Add, 1)
        last = await handle.ask(Take, 1)
        assert did == []

        async with Romancy(storage_url, workflows=[request_account]):
            told = await asyncio.gather(*(one.reply() for one in asked), return_exceptions=True)
            assert [2, 0] == [told[1], told[3]]
            assert [6, RequestRefusedError, RequestRefusedError] == [told[0], type(told[2]), type(told[4])]
            assert await added.reply() == "1 now"
            with pytest.raises(RequestRefusedError, match="only 0 left"):
                await last.reply()  # the handler before it is at work


async def test_data_that_do_not_fit_are_refused_at_the_sender_or_by_the_body(app: Romancy) -> None:
    handle = await app.start(request_account, 10)

    with pytest.raises(SerializationError):
        await handle.request(Add, "five")  # type: ignore[misc] # pyright: ignore[reportArgumentType, reportCallIssue]
    for name in ("add", "take"):
        with pytest.raises(RequestRefusedError, match="int"):
            await handle.request(name, "five")
    assert await handle.request(Add, 1) == "11 now"


async def test_the_same_id_is_handled_once_and_finds_the_same_answer(open_app: Open, app: Romancy) -> None:
    handle = await app.start(request_account, 10)
    sender = await open_app(worker=False)

    one, two = await asyncio.gather(handle.request(Add, 5, id="a"), sender.request(handle.instance_id, Add, 5, id="a"))
    assert one == two == "15 now"
    assert await handle.request(Add, 6, id="a") == "15 now"
    assert await handle.request(Take, 5, id="a") == 10
    await handle.request(Close)
    assert await handle.result() == 10
    assert await sender.request(handle.instance_id, Add, 5, id="a") == "15 now"
    assert 3 == len(await events(app, handle, RequestAnswered))


async def test_accepted_is_apart_from_answered(app: Romancy) -> None:
    handle = await app.start(request_account, 10)

    asked = await handle.ask(Add, 5, id="b")

    assert (asked.id, asked.instance_id) == ("b", handle.instance_id)
    assert await asked.reply() == await asked.reply(timeout=30) == "15 now"


async def test_requests_go_on_to_the_next_run(app: Romancy) -> None:
    handle = await app.start(request_rounds, [], 9)
    told = await asyncio.gather(*(handle.request(Add, number, id=str(number)) for number in range(9)))

    assert sorted(await handle.result()) == list(range(9))
    assert sorted(told) == sorted(f"{number + 1}: {found}" for number, found in enumerate(await handle.result()))
    assert told[0] == await handle.request(Add, 0, id="0")


@pytest.mark.parametrize("how", ["reply", "fail"])
async def test_a_body_answers_by_hand(app: Romancy, how: str) -> None:
    handle = await app.start(request_by_hand, how)

    if how == "reply":
        assert await handle.request(Add, 5, id="c") == "5 by hand"
    else:
        with pytest.raises(RequestFailedError, match="ValueError: not 5"):
            await handle.request(Add, 5, id="c")
    assert await handle.result() == "c"


async def test_a_second_answer_is_refused(app: Romancy) -> None:
    handle = await app.start(request_by_hand, "twice")

    assert await handle.request(Add, 5) == "once"
    with pytest.raises(WorkflowFailedError, match="is answered already"):
        await handle.result()


async def test_an_instance_that_ends_without_an_answer_says_so(app: Romancy) -> None:
    handle = await app.start(request_by_hand, "raise")

    with pytest.raises(InstanceEndedError, match=r"has ended \(failed\) without an answer") as ended:
        await handle.request(Add, 5, id="d")
    assert ended.value.status == Status.FAILED
    with pytest.raises(InstanceEndedError, match="without an answer"):
        await handle.request(Add, 5, id="d")
    with pytest.raises(InstanceEndedError):
        await handle.request(Add, 5)


async def test_a_run_that_goes_on_without_an_answer_says_so(app: Romancy) -> None:
    handle = await app.start(request_by_hand, "recur")

    with pytest.raises(RequestUnansweredError, match="run 2"):
        await handle.request(Add, 5)
    assert await handle.request(Add, 6) == "6 by hand"


async def test_a_request_that_nobody_takes_is_kept_and_its_timeout_says_why(app: Romancy) -> None:
    handle = await app.start(request_account, 10)
    asked = await handle.ask("nothing")

    with pytest.raises(RequestTimeoutError, match="no body has taken it yet"):
        await asked.reply(timeout=0.05)
    await handle.request(Close)
    with pytest.raises(InstanceEndedError, match="without an answer"):
        await asked.reply()


async def test_a_timeout_while_the_handler_works_says_so(app: Romancy) -> None:
    handle = await app.start(request_slowly, "waits")
    asked = await handle.ask(Add, 1)
    await until_began(1)

    with pytest.raises(RequestTimeoutError, match="its handler is at work"):
        await asked.reply(timeout=0.05)
    await handle.cancel("enough")
    with pytest.raises((RequestFailedError, InstanceEndedError), match=r"stopped before it had answered|ended"):
        await asked.reply()
    with pytest.raises(WorkflowCancelledError):
        await handle.result()


async def test_a_handler_that_its_body_stops_answers(app: Romancy) -> None:
    handle = await app.start(request_slowly, "gives it up")

    with pytest.raises(RequestFailedError, match="stopped before it had answered"):
        await handle.request(Add, 1)
    assert await handle.result() == "went on"


async def test_a_terminated_instance_answers_nobody(app: Romancy) -> None:
    handle = await app.start(request_slowly, "waits")
    asked = await handle.ask(Add, 1)
    await until_began(1)

    await app.terminate(handle.instance_id)

    with pytest.raises(InstanceEndedError, match=r"ended \(cancelled\)"):
        await asked.reply()


async def test_a_purged_instance_is_not_found(app: Romancy) -> None:
    handle = await app.start(request_account, 10)
    asked = await handle.ask(Close)
    await handle.result()
    await app.purge(handle.instance_id)

    with pytest.raises(InstanceNotFoundError):
        await asked.reply()
    with pytest.raises(InstanceNotFoundError):
        await handle.request(Close)


async def test_a_retry_answers_no_request_again(app: Romancy) -> None:
    handle = await app.start(request_retried)
    assert await handle.request(Add, 5, id="e") == "5 once"
    with pytest.raises(WorkflowFailedError):
        await handle.result()
    did.append("mended")

    await app.retry(handle.instance_id)

    assert await app.handle(handle.instance_id, request_retried).result() == "e"
    assert await handle.request(Add, 5, id="e") == "5 once"
    assert 1 == len(await events(app, handle, WorkflowRetried))
    assert [False, True] == [one.again for one in await events(app, handle, RequestAnswered)]


async def test_a_validator_that_does_more_than_look_is_named(app: Romancy) -> None:
    handle = await app.start(request_touches)
    await handle.ask(Add, 5)

    await status_is(app, handle.instance_id, Status.STUCK)

    assert "validate= of request 'add' asks for something or wakes a task" in " ".join(await handle.explain())


async def test_unknown_instances_and_wrong_calls_are_named(app: Romancy) -> None:
    with pytest.raises(InstanceNotFoundError):
        await app.request("nobody", Add, 5)
    handle = await app.start(request_account, 10)
    with pytest.raises(UsageError, match="a request is sent by its RequestType"):
        await handle.request(5)  # type: ignore[call-overload] # pyright: ignore[reportArgumentType, reportCallIssue]
    untyped: Any = Add
    for call in (
        handle.signal(untyped, 5),
        app.send(untyped, 5),
        app.signal_with_start(request_account.bind(10), untyped, 5),
    ):
        with pytest.raises(UsageError, match="'add' is a request, not an event: send it with `request`"):
            await call
    with pytest.raises(UsageError, match="needs a name"):
        RequestType("", int, int)


WRONG = {
    "async": "must be a plain function of the data",
    "parameters": "validate= of the handler of request 'add' must take one parameter",
    "plain": "the handler of request 'add' must be an `async def`",
    "fatal": "fatal= takes classes of exceptions",
    "two": "request 'add' has two handlers",
}


@pytest.mark.parametrize("how", WRONG)
async def test_what_cannot_be_handled_is_refused_by_name(app: Romancy, how: str) -> None:
    handle = await app.start(request_wrongly, how)

    with pytest.raises(WorkflowFailedError, match=WRONG[how]):
        await handle.result()


async def test_a_request_starts_its_instance(app: Romancy) -> None:
    call = request_account.options(instance_id="account-1").bind(10)

    assert await app.request_with_start(call, Add, 5, id="g") == "15 now"
    assert await app.request_with_start(call, Add, 5, id="g") == "15 now"
    asked = await app.ask_with_start(call, Add, 1)
    assert await asked.reply() == "16 now"
    assert await app.request_with_start(call, Close) == 16
    assert await app.handle("account-1", request_account).result() == 16
    assert await app.request_with_start(call, Add, 5, id="g") == "15 now"
    with pytest.raises(InstanceEndedError):
        await app.request_with_start(call, Add, 5)
    again = await app.request_with_start(call, Add, 5, if_exists="restart_ended")
    assert again == "15 now"


async def test_errors_say_what_was_asked(app: Romancy) -> None:
    handle = await app.start(request_account, 10)

    with pytest.raises(RequestError) as failed:
        await handle.request(Add, 13, id="f")
    assert (failed.value.instance_id, failed.value.request, failed.value.request_id) == (handle.instance_id, "add", "f")


async def until_began(number: int) -> None:
    """Wait until the slow handler's activity has begun."""
    async with asyncio.timeout(30):
        while f"began {number}" not in did:  # noqa: ASYNC110 - a list of this process
            await asyncio.sleep(0.01)


@pytest.fixture
async def app(open_app: Open) -> Romancy:
    return await open_app()
