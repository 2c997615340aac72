"""Faults of who owns an instance: leases, takeovers, claims, hand-overs, drains and quarantine."""

from __future__ import annotations

from typing import Final

from tools.planting.planted import Planted

__all__ = ["PLANTED"]

_ENGINE: Final = "romancy/engine"
_WORKER: Final = f"{_ENGINE}/worker"

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
        name="pause: it is taken from the worker that has just claimed it",
        file="romancy/storage/verdicts.py",
        text="return Outcome.OWNED if change.unowned and row.owned else None",
        replacement="return None",
        unseen="the worker's next append is refused, and its body runs again; test_pausing.py and the contract find it",
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
        name="pause: it is written behind what has come since its row was read",
        file=f"{_ENGINE}/outside/pausing.py",
        text="    if last.seq != row.last_seq:\n",
        replacement="    if last.seq < row.last_seq:\n",
        shapes="paused",
        mend=True,
    ),
    Planted(
        name="rewind: what was open at the point has another key",
        file=f"{_ENGINE}/outside/cut_logs.py",
        text='key="" if event.id in undone else key',
        replacement='key=""',
        shapes="rewound",
    ),
    Planted(
        name="rewind: what completed behind the point is done again",
        file=f"{_ENGINE}/outside/cut_logs.py",
        text="        if not self.stands:\n",
        replacement="        if self.stands or not self.stands:\n",
        shapes="rewound",
    ),
    Planted(
        name="rewind: what a dead worker had begun is done again",
        file=f"{_ENGINE}/outside/cut_logs.py",
        text="self._at_work & self._in_doubt.union(unheard) - kept",
        replacement="set[str]()",
        shapes="rewound",
    ),
    Planted(
        name="rewind: it takes an instance from its worker",
        file=f"{_ENGINE}/outside/taking_back.py",
        text="                if row.owner is not None:\n",
        replacement="                if row.owner is not None and first is None:\n",
        shapes="rewound",
        unseen="the store refuses the append while a worker owns the instance",
    ),
    Planted(
        name="pause: it does not wait for attempts at work",
        file=f"{_ENGINE}/pausing.py",
        text="        elif all(attempt.rests for attempt in live.attempts.values()):\n",
        replacement="        else:\n",
        shapes="paused",
    ),
    Planted(
        name="pause: it takes all mail that has come before it",
        file=f"{_ENGINE}/pausing.py",
        text="for one in live.inbox.mail() if isinstance(one.message, _ABOUT_PAUSING))",
        replacement="for one in live.inbox.mail())",
        shapes="paused",
    ),
    Planted(
        name="children: a parent that is cancelled stops those that outlive it",
        file="romancy/core/run/ending.py",
        text="            if not (child.cancel_requested or child.started.detached):\n",
        replacement="            if not child.cancel_requested:\n",
        shapes="paused",
    ),
)
