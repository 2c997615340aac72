"""Random programs that fail in random places and are retried until they succeed: each effect stands exactly once."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import Any

import hypothesis.strategies as st
import msgspec
from hypothesis import HealthCheck, given, settings

from romancy.activity import activity, compensation
from romancy.context import WorkflowContext
from romancy.core import Recall
from romancy.errors import ActivityError, WorkflowFailedError
from romancy.status import Status
from romancy.workflow import workflow
from tests.core.retries import SELF, Retries, Shop

Step = list[Any]


@compensation
async def undo_it(what: str) -> None: ...


@activity
async def plain(what: str) -> str: ...  # type: ignore[empty-body]


@activity(compensation=undo_it)
async def undoable(what: str) -> str: ...  # type: ignore[empty-body]


@activity
async def guess(what: str) -> str: ...  # type: ignore[empty-body]


@workflow
async def kid(ctx: WorkflowContext, what: str) -> str:
    return "never driven here"


async def play(ctx: WorkflowContext, step: Step) -> None:
    kind, what = step
    if kind == "plain":
        await plain(what)
    elif kind == "undoable":
        await undoable(what)
    elif kind == "guess":
        await guess.or_default(None)(what)
    elif kind == "kid":
        await kid(what)
    elif kind == "sleep":
        await asyncio.sleep(what)
    elif kind == "wait":
        await ctx.wait_event(what)
    elif kind == "try":
        with contextlib.suppress(ActivityError, WorkflowFailedError):
            await play(ctx, what)
    else:
        await asyncio.gather(*(play(ctx, each) for each in what))


@workflow
async def plays(ctx: WorkflowContext, steps: list[Any]) -> None:
    for step in steps:
        await play(ctx, step)


WHATS = ("a", "b", "c")
calls = st.tuples(st.sampled_from(("plain", "undoable", "guess", "kid")), st.sampled_from(WHATS)).map(list)
leaves = st.one_of(
    calls,
    st.tuples(st.just("sleep"), st.sampled_from((1, 2))).map(list),
    st.tuples(st.just("wait"), st.sampled_from(("x", "y"))).map(list),
)
steps = st.one_of(
    leaves,
    st.tuples(st.just("gather"), st.lists(leaves, min_size=2, max_size=4)).map(list),
    st.tuples(st.just("try"), calls).map(list),
)
programs = st.lists(steps, min_size=1, max_size=6)
breakage = st.lists(
    st.tuples(st.sets(st.sampled_from(WHATS), min_size=1), st.booleans(), st.sampled_from(("done", "undone"))),
    max_size=4,
)


def wanted(program: list[Step]) -> Counter[tuple[str, str]]:
    """Return the effects of the program, once each."""
    found: Counter[tuple[str, str]] = Counter()
    for kind, what in program:
        if kind == "gather":
            found += wanted(what)
        elif kind == "try":
            found += wanted([what])
        elif kind not in {"sleep", "wait"}:
            found[kind, what] += 1
    return found


class Account:
    """Compares what the shop saw with what must be."""

    def __init__(self, shop: Shop, program: list[Step]) -> None:
        self.shop = shop
        self.wanted = wanted(program)
        self.by_hand: Counter[str] = Counter()
        self.side_by_side = any(kind == "gather" for kind, _ in program)

    def standing(self, kind: str) -> Counter[tuple[str, str]]:
        done = Counter((name, what) for name, what, _ in self.shop.succeeded if name == kind)
        if kind == "undoable":
            done -= Counter(("undoable", what) for _, what, _ in self.shop.gone)
            done -= Counter({("undoable", what): count for what, count in self.by_hand.items()})
        return done

    def holds(self) -> None:
        """Check that nothing was done twice under one key, and nothing that stands was done again."""
        keys = Counter(key for _, _, key in self.shop.succeeded)
        assert not keys or max(keys.values()) == 1, "a key was charged twice"
        assert not self.standing("plain") - self.wanted
        assert not self.standing("undoable") - self.wanted
        plain_keys: dict[str, set[str]] = {}
        for name, what, key in self.shop.calls:
            if name == "plain":
                plain_keys.setdefault(what, set()).add(key)
        guesses = Counter(key for name, _, key in self.shop.calls if name == "guess")
        if not self.side_by_side:  # else another call may fail first, and then this one gets no default
            assert set(guesses.values()) <= {1}, "a call that has failed and got its default was made again"
        for what, distinct in plain_keys.items():
            assert len(distinct) <= self.wanted["plain", what], "what was never undone has got a new key"
        kids = Counter(instance_id for instance_id, again in self.shop.children if not again)
        assert not kids or max(kids.values()) == 1
        assert len(kids) <= sum(count for (kind, _), count in self.wanted.items() if kind == "kid")

    def settles(self) -> None:
        """Check that everything the program does stands, now that it has ended well."""
        self.holds()
        for kind in ("plain", "undoable"):
            assert self.standing(kind) == Counter({k: n for k, n in self.wanted.items() if k[0] == kind})


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs, breakage)
def test_each_effect_stands_exactly_once(program: list[Step], broken: list[tuple[set[str], bool, str]]) -> None:
    shop = Shop()
    waits = str(program).count("'wait'")
    shop.signals += [(name, n) for n in range(waits) for name in ("x", "y")]
    account = Account(shop, program)
    one: Retries | None = None
    runs: list[tuple[set[str], bool, str]] = [*broken, (set(), False, "done")]
    for whats, undoing, unsure in runs:
        shop.broken_args = set(whats)
        shop.broken = {"undo_it"} if undoing else set()
        if one is None:
            one = Retries(plays, program, shop=shop)
        elif one.outcome is not None and one.outcome.status is Status.FAILED:
            if unsure == "undone":
                account.by_hand += Counter(doubts(one))
            one.retry(unsure=unsure)
        one.finish()
        account.holds()
        assert one.cut(len(one.commits)).outcome == one.outcome, "its log says the same"
    assert one is not None
    assert one.outcome is not None
    assert one.outcome.status is Status.COMPLETED
    if all(kind != "try" for kind, _ in program):
        account.settles()


def doubts(one: Retries) -> list[str]:
    """Return what was done and could not be undone."""
    recall = Recall(SELF)
    for event in one.log():
        recall.follow(event)
    return [str(*msgspec.json.decode(item.asked.args).values()) for item in recall.unsure()]
