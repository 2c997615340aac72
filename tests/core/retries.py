"""A small world for retries: it answers a run's requests, keeps the log as bytes, and can be cut after any commit.

Its ledger records what it did: every attempt with its idempotency key, and every undoing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from romancy.activity import activity, compensation
from romancy.core import (
    Activation,
    ActivityCancelled,
    ActivityCompleted,
    CancelActivity,
    ChildCompleted,
    ChildFailed,
    CompensationCompleted,
    Effect,
    Input,
    LogEvent,
    Message,
    MessageAwaited,
    MessageReceived,
    Publish,
    Recall,
    Run,
    RunEnd,
    StartActivity,
    StartChild,
    StartCompensation,
    StartTimer,
    TimerFired,
    WaitTimedOut,
    WorkflowResumed,
    WorkflowStarted,
    begin_of_retry,
    current_run,
    decode_commit,
    encode_commit,
    idempotency_key,
    replay,
)
from romancy.engine.activities.judging import failed_for_good
from romancy.serialization import describe_exception

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from romancy.workflow import Workflow

START = 1_700_000_000_000_000
SECOND = 1_000_000
SELF = "one"


class Shop:
    """The outside: what fails in it, what was done to it, and what was sent to the workflow."""

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self.broken_args: set[Any] = set()
        self.succeeded: list[tuple[str, Any, str]] = []
        self.gone: list[tuple[str, Any, str]] = []
        """The undoings that succeeded."""
        self.slow: set[str] = set()
        """Calls that never answer until they are cancelled."""
        self.mute: set[str] = set()
        """Those of them that do not answer then either. Of a broken one, nobody knows what it did."""
        self.calls: list[tuple[str, Any, str]] = []
        self.undone: list[tuple[str, Any, str]] = []
        self.children: list[tuple[str, bool]] = []
        self.signals: list[tuple[str, Any]] = []
        self.sent: list[str] = []
        self.waited: list[float] = []

    def names(self) -> list[str]:
        return [name for name, _, _ in self.calls]

    def keys(self, name: str) -> list[str]:
        return [key for called, _, key in self.calls if called == name]


class Retries:
    """One instance in the shop."""

    def __init__(
        self,
        workflow: Workflow[..., Any],
        *args: Any,
        shop: Shop,
        commits: Sequence[bytes] = (),
        named: Mapping[str, Any] | None = None,
    ) -> None:
        self.workflow = workflow
        self.args = args
        self.named = dict(named or {})
        self.shop = shop
        self.commits = list(commits)
        self.now = START
        self.outcome: RunEnd | None = None
        self.activities = {each.name: each for each in _activities(workflow)}
        self._todo: list[Effect] = []
        if self.commits:
            self._reopen()
        else:
            self.run = self._fresh()
            input = workflow.bind(*args, **self.named).encode()
            self._feed([WorkflowStarted(at=self.now, workflow=workflow.name, input=input, nonce="n")])

    def _fresh(self) -> Run:
        return Run(self.workflow, instance_id=SELF, known=self.activities)

    def log(self) -> list[LogEvent]:
        return [event for body in self.commits for event in decode_commit(body)]

    def _reopen(self) -> None:
        self.run = self._fresh()
        self.run.replay(current_run(decode_commit(body) for body in self.commits))
        self.now = max(self.now, self.run.last_time)
        self.outcome = self.run.outcome()
        self._todo = list(self.run.outstanding())
        if self.run.resumable or self.run.remembers:
            self._feed([WorkflowResumed(at=self.now)])

    def retry(
        self, workflow: Workflow[..., Any] | None = None, *, unsure: Any = "", gone: tuple[str, ...] = ()
    ) -> None:
        """Begin a new run, which may have other code."""
        assert self.outcome is not None
        self.run.close()
        self.workflow = workflow or self.workflow
        self.activities |= {each.name: each for each in _activities(self.workflow)}
        recall = Recall(SELF)
        for event in self.log():
            recall.follow(event)
        self.now += SECOND
        self.commits.append(encode_commit([recall.retried(at=self.now, unsure=unsure, gone=gone, by="")]))
        self._reopen()

    def cut(self, commits: int, shop: Shop | None = None) -> Retries:
        """Return the world as it is when only the first commits survive."""
        again = Retries(
            self.workflow, *self.args, shop=shop or self.shop, commits=self.commits[:commits], named=self.named
        )
        again.activities |= self.activities
        return again

    def _feed(self, inputs: list[Input]) -> None:
        activation: Activation = self.run.activate(inputs)
        assert activation.parked is None, activation.parked
        if activation.events:
            self.commits.append(encode_commit(activation.events))
        self.outcome = activation.outcome
        self._todo += activation.effects
        if self.run.remembers:
            self._feed([WorkflowResumed(at=self.now)])

    def finish(self) -> RunEnd:
        """Carry out requests until the run has ended."""
        while self.outcome is None:
            answer = self.next()
            assert answer is not None, f"nothing is due: {self.run.outstanding()}"
            self._feed([answer])
        self.shop.sent += [effect.name for effect in self._todo if isinstance(effect, Publish)]
        self._todo.clear()
        return self.outcome

    def result(self) -> Any:
        outcome = self.finish()
        assert outcome.result is not None, outcome
        return msgspec.json.decode(outcome.result)

    def fail(self) -> str:
        outcome = self.finish()
        assert outcome.error is not None, outcome
        return outcome.error.message

    def next(self) -> Input | None:
        """Return the next input from the requests."""
        for delay in (False, True):
            for effect in list(self._todo):
                if not any(effect is one for one in self._todo):
                    continue  # it was given up just now
                answer = self._answer(effect, delay=delay)
                if answer is not None:
                    return answer
        return None

    def _answer(self, effect: Effect, *, delay: bool) -> Input | None:  # noqa: C901, PLR0911, PLR0912 - one case each
        shop = self.shop
        match effect:
            case StartActivity(activity_id=id):
                if effect.name in shop.slow:
                    return None
                self._todo.remove(effect)
                if id not in self.run.state.activities:
                    return None
                return self._do(effect)
            case CancelActivity(activity_id=id):
                mine = (StartActivity, CancelActivity)
                self._todo = [one for one in self._todo if not (isinstance(one, mine) and one.activity_id == id)]
                asked = self.run.state.activities.get(id)
                mute = asked is not None and asked.scheduled.name in shop.mute
                return None if asked is None else ActivityCancelled(self.now, id, unknown=mute)
            case StartCompensation(compensation_id=id):
                self._todo.remove(effect)
                key = effect.key or idempotency_key(SELF, self._nonce(), id)
                shop.undone.append((effect.activity_id, _given(effect.args), key))
                if effect.name in shop.broken:
                    return failed_for_good(effect, describe_exception(ValueError("cannot undo")), now=self.now)
                shop.gone.append(shop.undone[-1])
                return CompensationCompleted(self.now, id)
            case StartTimer(timer_id=id, due=due):
                if not delay:
                    return None
                self._todo.remove(effect)
                if id not in self.run.state.timers:
                    return None
                shop.waited.append((due - self.now) / SECOND)
                self.now = max(self.now, due)
                return TimerFired(self.now, id)
            case MessageAwaited():
                return self._event(effect, delay=delay)
            case StartChild(child_id=id):
                self._todo.remove(effect)
                shop.children.append((effect.instance_id, effect.again))
                if effect.workflow in shop.broken or _in(_given(effect.input), shop.broken_args):
                    return ChildFailed(self.now, id, describe_exception(ValueError("child")))
                return ChildCompleted(self.now, id, Raw(msgspec.json.encode(effect.instance_id)))
            case Publish(name=name):
                self._todo.remove(effect)
                shop.sent.append(name)
                return None
            case _:
                self._todo.remove(effect)
                return None

    def _nonce(self) -> str:
        started = self.run.state.started
        assert started is not None
        return started.nonce

    def _do(self, effect: StartActivity) -> Input:
        self.now += SECOND
        id, args = effect.activity_id, _given(effect.args)
        key = effect.key or idempotency_key(SELF, self._nonce(), id)
        self.shop.calls.append((effect.name, args, key))
        if effect.name in self.shop.broken or _in(args, self.shop.broken_args):
            error = describe_exception(ValueError(f"{effect.name} is broken"))
            return failed_for_good(effect, error, now=self.now, unknown=effect.name in self.shop.mute)
        self.shop.succeeded.append(self.shop.calls[-1])
        return ActivityCompleted(self.now, id, Raw(msgspec.json.encode(f"{effect.name} {len(self.shop.calls)}")))

    def _event(self, effect: MessageAwaited, *, delay: bool) -> Input | None:
        id, topic = effect.id, effect.topic
        if id not in self.run.state.waits:
            self._todo.remove(effect)
            return None
        found = next((one for one in self.shop.signals if one[0] == topic.name), None)
        if found is not None:
            self.shop.signals.remove(found)
            self._todo.remove(effect)
            return MessageReceived(self.now, id, Message(topic, Raw(msgspec.json.encode(found[1]))))
        if not delay or effect.due is None:
            return None
        self._todo.remove(effect)
        self.now = max(self.now, effect.due)
        return WaitTimedOut(self.now, id)


def _given(stored: Raw) -> Any:
    """The only argument, or several by name."""
    arguments = msgspec.json.decode(stored)
    return next(iter(arguments.values())) if len(arguments) == 1 else arguments


def _in(args: Any, broken: set[Any]) -> bool:
    return isinstance(args, str) and args in broken


def _activities(workflow: Workflow[..., Any]) -> list[Any]:
    """Return the activities that the module of a workflow declares."""
    fn: Callable[..., Any] = workflow.fn
    return [each for each in fn.__globals__.values() if type(each).__name__ == "Activity"]


# ── what the tests share ─────────────────────────────────────────────────────────────────────────────────────────


@compensation
async def refund(x: int) -> None: ...


@activity(compensation=refund)
async def charge(x: int) -> str: ...  # type: ignore[empty-body]


@activity
async def note(x: int) -> str: ...  # type: ignore[empty-body]


@activity
async def stamp(x: str) -> str: ...  # type: ignore[empty-body]


@activity
async def ship(x: int) -> str: ...  # type: ignore[empty-body]


@compensation
async def give_back(x: int) -> None: ...


@activity(compensation=give_back, compensate="attempted")
async def lend(x: int) -> str: ...  # type: ignore[empty-body]


def failed(wf: Any, *args: Any, shop: Shop, broken: str = "ship", **named: Any) -> Retries:
    """An instance whose first run has failed, in a world that has been repaired since."""
    shop.broken.add(broken)
    one = Retries(wf, *args, shop=shop, named=named)
    one.fail()
    shop.broken.clear()
    shop.calls.clear()
    return one


def text(event: ActivityCompleted) -> str:
    return str(msgspec.json.decode(event.result))


def agree(one: Retries) -> None:
    """Check that a crash after any commit of the retry leads to the same end."""
    end = one.finish()
    begins = begin_of_retry([decode_commit(body) for body in one.commits])
    assert begins is not None
    for count in range(begins + 1, len(one.commits) + 1):
        shop = Shop()
        shop.broken |= one.shop.broken
        shop.signals += one.shop.signals
        assert one.cut(count, shop).finish().status is end.status
    commits = [decode_commit(body) for body in one.commits]
    assert replay(one.workflow, commits, instance_id=SELF, known=one.activities).outcome == end
