"""Faults planted into the engine, for which the simulation looks: a tool that finds faults is tested by planting them.

    python -m tools.planting [--slices N] [--seeds WORD,…] [--cores N] [WORD…]

plants each fault whose name contains a word (all of them without words, and each fence of SQLite that `tools.mutations`
removes) into a copy of the tree, and lets `romancy_conformance.simulation` play slices until it finds something. It
prints how many slices, virtual hours and seconds of CPU that took (the medians of all seeds), and fails if a fault was
missed that is not named as unseen. `make planting` does the same. Slices are counted, and not minutes: they are the
same under any load. Changed code may no longer have the text of a fault: a test names such faults.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

__all__ = ["PLANTED", "Planted"]


class Planted(Struct, frozen=True, kw_only=True):
    """One fault."""

    name: str
    file: str
    text: str
    """It occurs once."""
    replacement: str
    unseen: str = ""
    """Why the simulation need not find it."""
    case: str = ""
    """The named case that finds it. Random slices nearly never do."""
    shapes: str = ""
    """The only shapes that are played, separated by commas; nothing: the usual ones."""
    mend: bool = False
    """Whether the engine once had this fault: a mend is undone."""


_ENGINE: Final = "romancy/engine"
_WORKER: Final = f"{_ENGINE}/worker"
_SCHEDULES: Final = "romancy/schedules"

PLANTED: Final = (
    Planted(
        name="lease: it never expires",
        file=f"{_WORKER}/lease.py",
        text="return self._beaten_at is not None and boot_time() - self._beaten_at < self.worker.lease",
        replacement="return self._beaten_at is not None",
    ),
    Planted(
        name="lease: it is counted from the answer of a heartbeat",
        file=f"{_WORKER}/lease.py",
        text="            self._beaten_at = max(sent, self._beaten_at or 0)\n            self._watch",
        replacement="            self._beaten_at = max(boot_time(), self._beaten_at or 0)\n            self._watch",
        case="late-answer",
    ),
    Planted(
        name="lease: what was claimed before its end is driven after it",
        file=f"{_WORKER}/lease_keeper.py",
        text="        self.term.end()\n",
        replacement="",
        mend=True,
    ),
    Planted(
        name="takeover: a silence is counted from before the question that found the heartbeat",
        file=f"{_WORKER}/lease.py",
        text="self._watch(pulse.peers, now, restart=missed)",
        replacement="self._watch(pulse.peers, sent, restart=missed)",
        case="late-question",
        mend=True,
    ),
    Planted(
        name="lapse: the worker goes on",
        file=f"{_WORKER}/worker.py",
        text="        self._lost_lease()\n\n    def reborn",
        replacement="\n    def reborn",
    ),
    Planted(
        name="death: a worker that was declared dead goes on",
        file=f"{_WORKER}/worker.py",
        text="        self._lost_lease(known=self.beating.has_lapsed)",
        replacement="        pass",
        unseen="the fence refuses what it writes, and what it does twice is allowed after its lease",
    ),
    Planted(
        name="drain: attempts are not awaited",
        file=f"{_WORKER}/worker.py",
        text="        if not await self._let_attempts_end(grace):",
        replacement="        if False:",
        unseen="interrupted attempts are made again, as after any drain that takes too long",
    ),
    Planted(
        name="takeover: after half a lease",
        file=f"{_WORKER}/lease.py",
        text="self._beaten_at - since >= peer.lease",
        replacement="self._beaten_at - since >= peer.lease // 2",
        case="late-answer",
    ),
    Planted(
        name="takeover: a silence during a gap of its own heartbeats counts",
        file=f"{_WORKER}/lease.py",
        text="before = {} if restart else self._watched",
        replacement="before = self._watched",
    ),
    Planted(
        name="refused: an end that has unseen mail drops the run",
        file=f"{_WORKER}/worker.py",
        text="self._rewinding.go_back(prepared.unwritten(), first=lambda: self._until_mail_is_read(prepared))",
        replacement="self.driver.drop(live)\n            self._next_claim.look_for_own()",
        mend=True,
    ),
    Planted(
        name="claim: an own append under way is not awaited",
        file=f"{_WORKER}/intake.py",
        text="self._appending().keys() | gone if work.claimed",
        replacement="_NONE if work.claimed",
        case="lapse-amid-an-append",
        mend=True,
    ),
    Planted(
        name="claim: what was released while it was answered is taken up",
        file=f"{_WORKER}/intake.py",
        text="self._appending().keys() | gone if work.claimed",
        replacement="self._appending().keys() if work.claimed",
        mend=True,
    ),
    Planted(
        name="quarantine: a claim takes up what begins its trial",
        file=f"{_WORKER}/intake.py",
        text=" or self._quarantine.begins(claimed.instance_id)",
        replacement="",
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
        name="claim: what a late claim has brought is not asked for",
        file=f"{_WORKER}/claims.py",
        text=" or (sweep and now < self._doubtful_until)",
        replacement="",
        mend=True,
    ),
    Planted(
        name="hand over: a cancellation beside the news of a worker is lost",
        file=f"{_WORKER}/handing_over.py",
        text="async with asyncio.timeout(_PAUSE):\n                        await self._has_come.wait()",
        replacement="await asyncio.wait_for(self._has_come.wait(), _PAUSE)",
        mend=True,
    ),
    Planted(
        name="claim: a start under way is not awaited",
        file=f"{_WORKER}/intake.py",
        text="if mine is None and claimed.instance_id not in self.starting and",
        replacement="if mine is None and",
    ),
    Planted(
        name="claim: missing mail is not noticed",
        file=f"{_WORKER}/intake.py",
        text="return box.after > max(signals, 0) or",
        replacement="return bool(told) and False and",
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
        name="relay: an event is sent although its claim has run out",
        file="romancy/outbox/running.py",
        text="        if here().seconds() - begun > relay.lease - relay.timeout:",
        replacement="        if False:",
        unseen="a receiver may get an event twice",
    ),
    Planted(
        name="relay: an event whose sending was stopped counts as sent",
        file="romancy/outbox/running.py",
        text="settled = _given_back(entry) if ours else",
        replacement="settled = _settled(entry, OutboxState.PUBLISHED) if ours else",
    ),
    Planted(
        name="takeover: every process of the same machine counts as gone",
        file=f"{_WORKER}/lease.py",
        text="if peer.dead or gone(peer.host, own) or self._expired(peer)",
        replacement="if peer.dead or same_machine(peer.host, own) or self._expired(peer)",
    ),
    Planted(
        name="takeover: one that failed is not tried again",
        file=f"{_WORKER}/lease_keeper.py",
        text="        for peer in self.leases.lost():\n",
        replacement=(
            "        tried: set[str] = vars(self).setdefault('tried', set())\n"
            "        for peer in [one for one in self.leases.lost() if one.token not in tried]:\n"
            "            tried.add(peer.token)\n"
        ),
        case="dbos-716",
    ),
    Planted(
        name="takeover: what others have claimed meanwhile is freed again",
        file="backends/romancy_sqlite/claims.sql",
        text="where owner = :dead\norder by instance_id",
        replacement="where owner = :dead or (crash_seq > 0 and owner is not null)\norder by instance_id",
        case="dbos-742",
    ),
    Planted(
        name="takeover: a worker of the same name is no rival",
        file=f"{_WORKER}/lease_keeper.py",
        text="        if rival is not None:\n            await self.leases.leave()\n            raise rival",
        replacement="        if rival is not None and False:\n            raise rival",
        case="dbos-804",
    ),
    Planted(
        name="takeover: one late heartbeat shows that a worker of the same name lives *",
        file=f"{_WORKER}/lease.py",
        text="self._elders[peer.token][1] > _LATE_LOOKS",
        replacement="self._elders[peer.token][1] > 0",
        case="late-heartbeat",
    ),
    Planted(
        name="takeover: the next step of what was taken up is not begun",
        file=f"{_ENGINE}/driver.py",
        text="if not (isinstance(effect, StartActivity | StartCompensation) and live.is_at(id_of(effect))):",
        replacement="if not isinstance(effect, StartActivity | StartCompensation):",
        case="dbos-805",
    ),
    Planted(
        name="takeover: what was left by a portion stays behind",
        file=f"{_WORKER}/lease_keeper.py",
        text="if answer.refused or not answer.left or not answer.moved:",
        replacement="if answer is not None:",
        unseen="the next heartbeat finds the dead worker again, and takes over what is left",
    ),
    Planted(
        name="drain: ends that wait are not written",
        file=f"{_ENGINE}/driver.py",
        text="        if unfinished and live.has_ends:",
        replacement="        if unfinished and live.has_ends and False:",
        unseen="an end waits beside a free slot only within a turn of the event loop",
    ),
    Planted(
        name="drain: attempts that were interrupted are not named",
        file=f"{_ENGINE}/driver.py",
        text="handing_back(live, now, writer, interrupted=interrupted, not_begun=not_begun)",
        replacement="handing_back(live, now, writer, interrupted=False, not_begun=not_begun)",
    ),
    Planted(
        name="drain: it goes on claiming",
        file=f"{_WORKER}/worker.py",
        text="        self.claiming.only_mail()\n",
        replacement="",
        unseen="what it claims it gives back, and others take over what is left",
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
        text="consumed=await _requests_to_stop(store, row.instance_id),",
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
        text="        case CancelMessage() | TerminateMessage():\n            return is_for_life(message, life)",
        replacement="        case CancelMessage() | TerminateMessage():\n            return True",
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
        name="claim: appends under way are not known",
        file=f"{_ENGINE}/log_writer.py",
        text="return {item.instance_id: item for item in items}",
        replacement="return {'': item for item in items}",
        case="lapse-amid-an-append",
        mend=True,
    ),
    Planted(
        name="resting: a run is kept although its log has grown",
        file=f"{_WORKER}/resting.py",
        text="if (kept.life, kept.head, kept.writer, kept.run_from) != there:",
        replacement="if kept.life != there[0]:",
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
        name="schedule: what comes behind a deletion starts runs",
        file=f"{_SCHEDULES}/keeper.py",
        text="            case _ if self._progress.deleted:\n                pass  # it came behind the deletion\n",
        replacement="",
        shapes="scheduled",
        mend=True,
    ),
    Planted(
        name="schedule: a declaration does not see the orders before it",
        file=f"{_SCHEDULES}/handle.py",
        text='any(one.name == ORDER.name or one.kind == "sealed" for one in instance.untaken or ())',
        replacement="False",
        shapes="scheduled",
        mend=True,
    ),
    Planted(
        name="schedule: a declaration is sent to an instance that is about to end",
        file="romancy/app.py",
        text="if await takes_no_change(self, definition):",
        replacement="if False:",
        shapes="scheduled",
        mend=True,
    ),
    Planted(
        name="schedule: a worker also keeps those whose workflow it does not know",
        file=f"{_WORKER}/recovery.py",
        text="return None if declines is None or started is None else declines(bytes(started.input))",
        replacement="return None",
        shapes="scheduled,told-sealed",
        mend=True,
    ),
    Planted(
        name="schedule: a pause forgets what is late",
        file=f"{_SCHEDULES}/keeper.py",
        text="                await self._start_what_is_due()\n                self._now(paused=order.note",
        replacement="                self._now(paused=order.note",
        shapes="scheduled",
    ),
    Planted(
        name="schedule: it goes on where it was paused",
        file=f"{_SCHEDULES}/keeper.py",
        text="self._now(paused=None, since=self._ctx.now())",
        replacement="self._now(paused=None)",
        shapes="scheduled",
    ),
    Planted(
        name="schedule: a change takes effect when a worker hears of it",
        file=f"{_SCHEDULES}/keeper.py",
        text="since=max(decided, begins(order.definition.options.timing, declared_at))",
        replacement="since=self._ctx.now()",
        shapes="scheduled",
    ),
    Planted(
        name="place: a dispatch does not count those that are taken",
        file="romancy/storage/sqlkit/lanes.py",
        text="        ((self.taken, self.heavy),) = taken.rows\n",
        replacement="        self.taken = self.heavy = 0\n",
        shapes="limited",
    ),
    Planted(
        name="place: an end leaves no mark at its lanes",
        file=f"{_ENGINE}/interests.py",
        text="        for one in self.registered.values():\n            self._changes(one)\n",
        replacement="",
        shapes="limited",
    ),
    Planted(
        name="place: whoever asks leaves no mark at the lane",
        file=f"{_ENGINE}/interests.py",
        text="                self._changes(wanted, new=True)\n",
        replacement="",
        shapes="limited",
    ),
    Planted(
        name="place: an instance that is terminated from outside gives none back",
        file=f"{_ENGINE}/outside/terminating.py",
        text="    gone, changes = await _places(store, row)\n",
        replacement="    gone, changes = (), ()\n",
        shapes="limited",
        unseen="others of its lane end soon, and their marks have the lane dispatched",
    ),
    Planted(
        name="place: what the run before has asked for is for the next one too",
        file="romancy/core/run/place_commands.py",
        text="~{self.started.nonce[:_OF_THE_RUN]}",
        replacement="~",
        shapes="limited",
    ),
    Planted(
        name="place: the lowest priority goes first",
        file="romancy/storage/admission.py",
        text="    return -rank(0, decode_terms(terms).priority)\n",
        replacement="    return rank(0, decode_terms(terms).priority)\n",
        shapes="limited",
    ),
    Planted(
        name="place: who is refused begins all the same",
        file="romancy/core/run/place_commands.py",
        text="            answer.set_exception(Skipped(answer.refusal))\n",
        replacement="            answer.set_result(event.id)\n",
        shapes="limited",
    ),
    Planted(
        name="place: who does not wait is not refused either",
        file="romancy/storage/sqlkit/lanes.py",
        text="        self.refused += [one for one in demands if (one.owner, one.interest_id) not in given]\n",
        replacement="",
        shapes="limited",
    ),
    Planted(
        name="place: a start takes what a worker writes at first for the body",
        file="romancy/starting/skipping.py",
        text="(Input, InputDeferred, WorkflowCaughtUp, PlaceAsked)",
        replacement="(PlaceAsked, PlaceGranted, PlaceRefused)",
        shapes="limited",
    ),
    Planted(
        name="handlers: a message overtakes those of another kind",
        file=f"{_ENGINE}/inbox.py",
        text="        elif self._in_turn:\n",
        replacement="        elif self._in_turn < 0:\n",
        shapes="listening",
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
