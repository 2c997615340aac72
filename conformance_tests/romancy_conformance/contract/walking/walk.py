"""Walks: makes the same steps in a store and in the model, and shortens a walk in which they part."""

from __future__ import annotations

import random
import time
from contextlib import asynccontextmanager
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from romancy.errors import InstanceNotFoundError
from romancy.storage.backends import create_store
from romancy.storage.records import Outcome
from romancy_conformance.contract.building import full_log
from romancy_conformance.contract.walking.clock import BEGINNING, clock_of
from romancy_conformance.contract.walking.comparing import columns_of, tables_of, tables_of_model, told
from romancy_conformance.contract.walking.differing import require_same, rows_that_differ
from romancy_conformance.contract.walking.drawing import ADDRESSES, OUTSIDERS
from romancy_conformance.contract.walking.model import Model
from romancy_conformance.contract.walking.step import Step
from romancy_conformance.contract.walking.steps import KINDS, Chooser

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterator, Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append, Item, OutboxRow, PruneRequest
    from romancy_conformance.contract.walking.clock import Clock

__all__ = ["Ground", "walk"]

_PATIENCE = 60.0
"""Seconds in which a walk is made shorter."""


class PartedError(AssertionError):
    """The store and the model gave different answers."""


class Ground:
    """A store on an empty database whose time is set."""

    def __init__(self, url: str, store: Store, clock: Clock) -> None:
        self.url = url
        self.store = store
        self.clock = clock

    @classmethod
    @asynccontextmanager
    async def at(cls, url: str) -> AsyncGenerator[Ground]:
        """Open a store there, and take its clock."""
        kept = create_store(url)  # a database in memory lives as long as a store of it
        store = create_store(url)
        await store.open()
        ground = cls(url, store, clock_of(store, url))
        try:
            await ground.clock.begin(store)
            await ground.clock.clear()  # of what the migrations have written
            try:
                yield ground
            finally:
                await ground.clock.end()
        finally:
            await ground.store.close()
            del kept

    async def make(self, step: Step) -> Any:
        """Make one step, and return the answer. An instance that is not there is an answer."""
        await self.clock.set(step.at)
        special: dict[str, Callable[..., Awaitable[Any]]] = {
            "reopen": self.reopen, "session": self._session, "join": self._join, "send": self._send,
            "prune": self._prune, "drain": self._drain,
        }  # fmt: skip
        call = special.get(step.call) or attrgetter(step.call)(self.store.services if "." in step.call else self.store)
        try:
            return await call(*step.arguments, **step.options)
        except InstanceNotFoundError:
            return InstanceNotFoundError

    async def reopen(self) -> None:
        """A restart: another store comes upon what is there."""
        await self.store.close()
        self.store = create_store(self.url)
        await self.store.open()

    async def _session(self, item: Item, worker: str | None, *, leaves: bool) -> Outcome | None:
        async with self.store.services.sessions.begin() as session:
            return None if leaves else await session.commit(item, worker=worker)

    def _joinable(self, outer: Any) -> object:
        return outer.native if self.store.capabilities.sql else outer

    async def _join(self, first: Append, silent: Item, worker: str) -> Outcome:
        """A joined session begins an instance; a row of its log commits both."""
        async with self.store.services.sessions.begin() as outer:
            async with self.store.services.sessions.join(self._joinable(outer)) as joined:
                outcome = await joined.commit(first)
            return outcome if outcome is not Outcome.ACCEPTED else await outer.commit(silent, worker=worker)

    async def _send(self, item: Append, outbox: Sequence[OutboxRow]) -> Outcome:
        async with self.store.services.sessions.begin() as outer:
            async with self.store.services.sessions.join(self._joinable(outer)) as joined:
                assert await joined.send((), outbox) == []
            return await outer.commit(item)

    async def _prune(self, request: PruneRequest) -> tuple[int, dict[str, int]]:
        """Of too many, a store chooses. So the walk looks at what is left."""
        count = await self.store.services.upkeep.prune(request)
        left: dict[str, int] = {}
        for instance_id in self.ids:
            page = await self.store.read(instance_id, limit=1)
            if page is not None:
                left[instance_id] = page.rows[0].seq
        return count, left

    async def _drain(self, addresses: Sequence[str], *, limit: int) -> int:
        """Dispatch until there is nothing more to do. What one call of several does is left to the store."""
        delivered = 0
        for _ in range(1000):
            done = await self.store.services.router.dispatch(addresses, limit=limit)
            delivered += done.delivered
            if not done.more:
                return delivered
        raise AssertionError("the dispatch comes to no end")

    ids: Sequence[str] = ()
    """The instances that the model has."""


def expect(model: Model, step: Step, given: Any) -> Any:
    """The model's answer."""
    model.state.now, model.state.given = step.at, given
    try:
        return attrgetter(step.call)(model)(*step.arguments, **step.options)
    except InstanceNotFoundError:
        return InstanceNotFoundError


async def follow(ground: Ground, steps: Callable[[Model], Iterator[Step]]) -> list[Step]:
    """Make steps until there are no more. `PartedError` with those made, the last of which differs."""
    model, made = Model(sessions_exclude=ground.store.capabilities.sessions_exclude), list[Step]()
    model.state.now = BEGINNING
    try:
        for step in steps(model):
            made.append(step)
            ground.ids = list(model.state.instances)
            given = await ground.make(step)
            answer, expected = told(step, given, expect(model, step, given))
            require_same("the answers differ", expected, answer)
        await _look_at_all(ground.store, model)
    except Exception as error:
        raise PartedError(f"{type(error).__name__}: {error}", made) from error
    return made


async def _look_at_all(store: Store, model: Model) -> None:
    """Compare what is there in the end: by the public methods, and in the tables where the suite knows them."""
    state = model.state
    for found in list(state.instances.values()):
        page = await store.read(found.instance_id, limit=0)
        assert page is not None, f"{found.instance_id} is gone"
        require_same(f"the row of {found.instance_id}", found.row, page.instance)
        log = [found.log[seq] for seq in sorted(found.log)]
        require_same(f"the log of {found.instance_id}", log, await full_log(store, found.instance_id))
    services = store.services
    for address in ADDRESSES:
        interests = model.router.interests(address)
        require_same(f"the interests in {address}", interests, await services.router.interests(address))
    require_same("what is kept", model.router.kept(limit=10_000), await services.router.kept(limit=10_000))
    for name in OUTSIDERS:
        letters = model.router.letters(name, limit=10_000)
        require_same(f"the letters of {name}", letters, await services.router.letters(name, limit=10_000))
    require_same("the outbox", model.outbox.entries(limit=10_000), await services.outbox.entries(limit=10_000))
    tables = await tables_of(store)
    if tables is not None:
        expected = tables_of_model(model, tables)
        for name, rows in tables.items():
            missing = [row for row in expected[name] if row not in rows]
            more = [row for row in rows if row not in expected[name]]
            if missing or more:
                raise AssertionError(f"table {name}:\n{rows_that_differ(columns_of(name), missing, more)}")


async def walk(ground: Ground, seed: int, count: int, kinds: Counter[str], among: Collection[str] = ()) -> None:
    """Make a walk of so many steps at least, and of every kind, which are counted in `kinds`.

    With kinds of steps `among`, most are of these, and there may be none of others.

    `PartedError` with the shortest walk that was found to differ.
    """

    def chosen(model: Model) -> Iterator[Step]:
        chooser = Chooser(model, random.Random(seed), among)
        made = 0
        while made < count or (not among and len(kinds) < len(KINDS) and made < 20 * count):
            step = chooser.next()
            made += 1
            kinds[step.kind] += 1
            yield step

    try:
        await follow(ground, chosen)
    except PartedError as error:
        words, steps = await _shortest(ground, error)
        lines = "\n".join(f"  {number}. {step}" for number, step in enumerate(steps, 1))
        raise PartedError(f"seed {seed}: {words}\nafter these steps:\n{lines}") from None


async def _shortest(ground: Ground, error: PartedError) -> tuple[str, list[Step]]:
    """Leave out steps, first many at a time, as long as the rest still differs."""
    words, steps = error.args
    size, until = len(steps) // 2, time.monotonic() + _PATIENCE
    while size:
        place = 0
        while place < len(steps) and time.monotonic() < until:
            rest = steps[:place] + steps[place + size :]
            await ground.clock.clear()
            await ground.reopen()
            try:
                await follow(ground, lambda _, rest=rest: iter(rest))  # type: ignore[misc]  # bound now
            except PartedError as again:
                words, steps = again.args
            else:
                place += size
        size //= 2
    return words, steps
