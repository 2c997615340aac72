"""Faults planted into the engine, for which the simulation looks: a tool that finds faults is tested by planting them.

    python -m tools.planting [--minutes M] [--cores N] [WORD…]

plants each fault whose name contains a word (all of them without words, and each fence of SQLite that `tools.mutations`
removes) into a copy of the tree, and lets `romancy_conformance.simulation` play slices until it finds something. It
prints how many slices that took, and fails if a fault was missed that is not named as unseen. `make planting` does the
same. Changed code may no longer have the text of a fault: a test names such faults.
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
        unseen="what is done twice near a lapse of the lease is allowed, and a late answer comes with a lapse",
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
    ),
    Planted(
        name="claim: an own append under way is not awaited",
        file=f"{_WORKER}/intake.py",
        text=" and claimed.instance_id not in appending:",
        replacement=":",
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
    ),
    Planted(
        name="cancel: an attempt that has ended counts as never begun",
        file=f"{_ENGINE}/activities/runner.py",
        text="            if not live.has_ended(activity_id):\n                known = idle or",
        replacement="            if True:\n                known = True or",
    ),
    Planted(
        name="cancel: attempts that died are forgotten",
        file=f"{_ENGINE}/activities/runner.py",
        text="unknown = attempt.stop.unknown or self._may_have_run(attempt)",
        replacement="unknown = attempt.stop.unknown",
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
)
