"""Faults of what an instance has done: what its log says after refusals, cancellations, retries and removals."""

from __future__ import annotations

from typing import Final

from tools.planting.planted import Planted

__all__ = ["PLANTED"]

_ENGINE: Final = "romancy/engine"
_WORKER: Final = f"{_ENGINE}/worker"

PLANTED: Final = (
    Planted(
        name="refused: an end that has unseen mail drops the run",
        file=f"{_WORKER}/worker.py",
        text="self._rewinding.go_back(prepared.unwritten(), first=lambda: self._until_mail_is_read(prepared))",
        replacement="self.driver.drop(live)\n            self._next_claim.look_for_own()",
        mend=True,
    ),
    Planted(
        name="drop: an end that the log may not have is forgotten",
        file=f"{_ENGINE}/driver.py",
        text="for id in ends_without_log(live, in_flight):",
        replacement="for id in ():",
        mend=True,
    ),
    Planted(
        name="retry: a request to stop reaches the run of a later one",
        file=f"{_WORKER}/retrying.py",
        text="and not await self._is_present(live, child):",
        replacement="and False:",
        mend=True,
    ),
    Planted(
        name="retry: an end that came before its child was asked for is not told again",
        file=f"{_WORKER}/retrying.py",
        text="if child.child_id not in live.run.state.children:",
        replacement="if recall.wanted_by == child.wanted_by or child.child_id not in live.run.state.children:",
        mend=True,
    ),
    Planted(
        name="timers: they ring early",
        file=f"{_ENGINE}/timers.py",
        text="        if self._clock.seconds_until(due):\n            self.arm(live, name, due, ring)\n",
        replacement="        if due < 0:\n            self.arm(live, name, due, ring)\n",
        case="long-timer",
    ),
    Planted(
        name="cancel: an attempt that has ended counts as never begun",
        file=f"{_ENGINE}/activities/runner.py",
        text="            if not live.has_ended(activity_id):\n                known = idle or",
        replacement="            if True:\n                known = True or",
        mend=True,
    ),
    Planted(
        name="cancel: attempts that died are forgotten",
        file=f"{_ENGINE}/activities/runner.py",
        text="unknown = attempt.stop.unknown or self._may_have_run(attempt)",
        replacement="unknown = attempt.stop.unknown",
        case="cancelled-after-a-death",
        mend=True,
    ),
    Planted(
        name="rewinding: a run that has followed another log goes on",
        file=f"{_WORKER}/recovery.py",
        text="if live.slot is GONE or (fresh.head, fresh.writer) != (live.head, live.writer):",
        replacement="if live.slot is GONE:",
        unseen="the fence refuses its next append, and it is taken up again",
    ),
    Planted(
        name="retry: the next attempt is not made",
        file=f"{_ENGINE}/driver.py",
        text="                self._again(live, event.id)\n",
        replacement="                pass\n",
    ),
    Planted(
        name="retry: a parent that waits for a retried child is not released",
        file=f"{_WORKER}/retrying.py",
        text="            await self._let_rest(driver, live)\n",
        replacement="            pass\n",
        mend=True,
    ),
    Planted(
        name="retry: requests that stayed behind an end stop the next run",
        file=f"{_WORKER}/retrying.py",
        text="consumed=await requests_to_stop(store, row.instance_id),",
        replacement="consumed=(),",
        mend=True,
        case="request-behind-an-end",
    ),
    Planted(
        name="retry: requests that came too late for an end stay in the inbox",
        file=f"{_ENGINE}/appending.py",
        text="consumed += too_late(live, inputs, activation.dropped)",
        replacement="consumed += ()",
        mend=True,
        unseen="the retry itself removes what lies there",
    ),
    Planted(
        name="cancel: a child is not told",
        file=f"{_ENGINE}/decide.py",
        text="deliveries.append(_to(effect.instance_id, message, incarnation.stamp()))",
        replacement="_to(effect.instance_id, message, incarnation.stamp())",
    ),
    Planted(
        name="cancel: a child's end does not say for which run it was",
        file=f"{_ENGINE}/family.py",
        text="return is_for_life(message, life) and not is_of_another_run(message, state)",
        replacement="return is_for_life(message, life)",
    ),
    Planted(
        name="cancel: a request that comes late stops the next life of the id",
        file=f"{_ENGINE}/family.py",
        text="PauseMessage() | UnpauseMessage():\n            return is_for_life(message, life)",
        replacement="PauseMessage() | UnpauseMessage():\n            return True",
        shapes="purged",
        mend=True,
    ),
    Planted(
        name="purge: one that comes late removes the next life of the id",
        file=f"{_ENGINE}/outside/management.py",
        text="ids, until = tuple(ended), max(ended.values(), default=0)",
        replacement="ids, until = ids, (1 << 63) - 1",
        shapes="purged",
        mend=True,
    ),
    Planted(
        name="retention: a child goes before its parent",
        file="romancy/retaining/keeping.py",
        text="left = [row for row in rows if row.instance_id not in held]",
        replacement="left = [row for row in rows if row.instance_id not in held or True]",
        shapes="retained",
    ),
    Planted(
        name="import: the last commit is left out",
        file="romancy/moving/reading.py",
        text="return map(brought, self.parts())",
        replacement="return iter([*map(brought, self.parts())][:-1])",
        shapes="retained",
    ),
    Planted(
        name="refused: what had happened is not written",
        file=f"{_ENGINE}/unwritten.py",
        text="        elif isinstance(event, ENDS) and id(event) not in passed_over:",
        replacement="        elif isinstance(event, ENDS) and id(event) not in passed_over and False:",
        mend=True,
    ),
    Planted(
        name="refused: a newer message takes the place of the last one",
        file=f"{_ENGINE}/instance.py",
        text="            if mail is not None and mail.delivery_id not in self.inbox:\n                self.keep(mail)",
        replacement=(
            "            if mail is not None and mail.delivery_id not in self.inbox:\n"
            "                self.keep(type(mail)(mail.delivery_id, mail.at, mail.message, self.inbox.read + 1,\n"
            "                                     mail.address, mail.interest, mail.posted_at))"
        ),
        mend=True,
        case="message-amid-an-end",
    ),
    Planted(
        name="refused: messages are fed in the order of their times",
        file=f"{_ENGINE}/input_order.py",
        text="latest = at = max(at, latest)",
        replacement="latest = at",
        mend=True,
    ),
    Planted(
        name="append: one of unknown outcome counts as written",
        file=f"{_ENGINE}/log_writer.py",
        text="            sent = sent or error.maybe_written\n",
        replacement="            if error.maybe_written:\n                return [Outcome.ACCEPTED for _ in items]\n",
    ),
    Planted(
        name="timers: a resting instance does not name its next one",
        file=f"{_ENGINE}/decide.py",
        text="    wake_at = state.wake_at()\n    if wake_at",
        replacement="    wake_at = None if len(live.instance_id) % 7 == 0 else state.wake_at()\n    if wake_at",
    ),
    Planted(
        name="timers: one of a run that was exchanged rings too",
        file=f"{_ENGINE}/driver.py",
        text="        self.timers.clear_all(live)\n        live.adopts(fresh)",
        replacement="        live.adopts(fresh)",
        unseen="the run that was exchanged armed the same timers, and an input for which nothing waits is dropped",
    ),
    Planted(
        name="prune: a child makes way that has not ended",
        file=f"{_WORKER}/orphans.py",
        text="        if row.status not in TERMINAL_STATUSES:",
        replacement="        if row.status is None:",
        unseen="the database prunes nothing that has not ended",
    ),
    Planted(
        name="prune: another's instance makes way for a child",
        file=f"{_WORKER}/orphans.py",
        text="if row.parent is None or not await _is_orphan(store, found, row.parent, asks):",
        replacement="if row.parent is None:",
    ),
    Planted(
        name="polls: a failure takes the place of a row that says something else",
        file=f"{_ENGINE}/amending.py",
        text="if former is None or former.writer != live.writer:",
        replacement="if former is None:",
    ),
    Planted(
        name="until: a task that is woken does not ask again",
        file="romancy/core/loop/conditions.py",
        text="        while not (value := self._asked(condition)) or self._loop.spent > self._loop.budget:\n",
        replacement="        if not (value := self._asked(condition)) or self._loop.spent > self._loop.budget:\n",
        shapes="listening",
    ),
    Planted(
        name="taken: what was found of the ids of children is forgotten when a read fails",
        file=f"{_WORKER}/worker.py",
        text="            find = partial(self._find_taken_children, live, _children_in(prepared))\n",
        replacement=(
            "            async def find() -> None:\n"
            "                await self._find_taken_children(live, _children_in(prepared))\n\n"
        ),
        shapes="scheduled",
        mend=True,
    ),
    Planted(
        name="taken: what was found of an id is forgotten before the log has accepted the refusal",
        file=f"{_ENGINE}/child_conflicts.py",
        text="live.taken.get(child.instance_id, _TAKEN)",
        replacement="live.taken.pop(child.instance_id, _TAKEN)",
        shapes="scheduled",
        mend=True,
    ),
    Planted(
        name="excess: an instance that is loaded reads its log two hundred times",
        file=f"{_ENGINE}/replay.py",
        text="    while True:\n        page = await store.read(instance_id, after=after, limit=_PAGE)\n",
        replacement=(
            "    while True:\n        for _ in range(200):\n            await store.read(instance_id, limit=1)\n"
            "        page = await store.read(instance_id, after=after, limit=_PAGE)\n"
        ),
    ),
    Planted(
        name="excess: each append keeps a megabyte",
        file=f"{_ENGINE}/instance.py",
        text="        self.head, self.writer, self.creates = item.seq, item.writer, None\n",
        replacement=(
            "        self.head, self.writer, self.creates = item.seq, item.writer, None\n"
            "        globals().setdefault('_kept', []).append(bytes([1]) * (1 << 20))\n"
        ),
    ),
)
