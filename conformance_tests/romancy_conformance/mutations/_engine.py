"""Mends of the engine and the core: what no store can do by itself."""

from __future__ import annotations

from functools import partial

from romancy_conformance.mutations._mutation import Mutation

__all__ = ["MUTATIONS"]

_code = partial(Mutation, file="romancy/engine/*.py")
_DOUBTS = "behaviour/faults/test_doubts.py"
_WATCHDOG = "tests/engine/test_watchdog.py"
_LEASES = "behaviour/faults/test_leases.py"
_WRITER = "tests/engine/test_log_writer.py"
_BESIDE = "behaviour/test_sessions_beside.py"
_RECUR = "behaviour/test_recur_races.py"

_OF_THE_LOG = (
    _code(
        name="memory: a second append is sent before the first is known",
        pitfall="A1",
        text="            live.in_flight = True\n            item = self._append(",
        replacement="            item = self._append(",
        tests=f"{_DOUBTS} on_its_way",
    ),
    _code(
        name="memory: what got no answer was refused",
        pitfall="A2",
        text='                logger.warning("the database is away, %d commits wait: %s", len(items), error)\n',
        replacement="                return [Outcome.TAKEN for _ in items if error]\n",
        tests=f"{_WRITER} without_an_answer",
    ),
    _code(
        name="memory: an unanswered session is tried again without a tombstone",
        pitfall="A3",
        text="return await _settle(store, writer, item, event, nonce=nonce, future=future), None",
        replacement="return None, None",
        tests="tests/engine/test_session_commits.py",
    ),
    _code(
        name="memory: a tombstone is taken for the session it buries",
        pitfall="A3",
        text="        return None if outcome is Outcome.ACCEPTED else outcome\n",
        replacement="        return outcome\n",
        tests="tests/engine/test_session_commits.py",
    ),
    _code(
        name="memory: what is locked holds up what came with it",
        pitfall="A5",
        text="            if outcome is Outcome.LOCKED:\n                self._wait_apart(entry)\n",
        replacement="            if outcome is Outcome.LOCKED:\n                self._queue.insert(0, entry)\n",
        tests=f"{_WRITER} locked",
    ),
    _code(
        name="memory: a session the database took away is a failed attempt",
        pitfall="A7",
        text="            return error if self.transacted else None\n",
        replacement="            return None\n",
        tests="behaviour/test_attempts.py took_away",
    ),
    _code(
        name="memory: a session that lost before its commit is a failed attempt",
        pitfall="A7",
        text="    except StorageUnavailableError:\n        return None, None\n    except CodecError",
        replacement="    except CodecError",
        tests="tests/engine/test_session_commits.py never_happened",
    ),
    _code(
        name="memory: one that cannot be written takes its neighbours along",
        pitfall="A12",
        text="                return [outcome for item in items for outcome in await self._commit([item], worker)]\n",
        replacement="                return [Outcome.INVALID for _ in items]\n",
        tests=f"{_WRITER} cannot_be_written",
    ),
    _code(
        name="memory: nobody sweeps up what nobody counted",
        pitfall="B1",
        text="        sweep = now - self._swept >= _SWEEP_EVERY\n",
        replacement="        sweep = False\n",
        tests="tests/engine/test_sweeps.py",
        waits=True,
    ),
    _code(
        name="memory: who has asked in vain asks again at once",
        pitfall="B6",
        text="            self._in_vain_until = now + _IN_VAIN\n",
        replacement="            self._in_vain_until = now\n",
        tests="tests/engine/test_claiming.py in_vain",
    ),
    _code(
        name="memory: a share grows whatever was written",
        pitfall="B6",
        text="self._written - before if self._driver.to_write else 0\n",
        replacement="_LARGEST_SHARE\n",
        tests="tests/engine/test_claiming.py share_grows",
    ),
)

_OF_MAIL = (
    _code(
        name="memory: an event is as old as the moment it is read",
        pitfall="B7",
        text="event = input_of(mail.message, mail.at, wait_id)",
        replacement="event = input_of(mail.message, self.clock.now(), wait_id)",
        tests=f"{_DOUBTS} before_the_timeout",
    ),
    _code(
        name="memory: a timeout is as old as the moment it is noticed",
        pitfall="B7",
        text="EventTimedOut(at=effect.due, id=effect.wait_id)",
        replacement="EventTimedOut(at=self.clock.now(), id=effect.wait_id)",
        tests=f"{_DOUBTS} before_the_timeout",
    ),
    _code(
        name="memory: what is due is fed as it comes",
        pitfall="B7",
        text="    inputs.sort(key=_time)\n",
        replacement="",
        tests=f"{_DOUBTS} order_of_time",
    ),
    _code(
        name="memory: an end that was refused for unseen mail stays refused",
        pitfall="B8",
        text="        if outcome is Outcome.UNSEEN:\n",
        replacement="        if outcome is Outcome.UNSEEN and not prepared:\n",
        tests=f"{_DOUBTS} last_moment",
        waits=True,
    ),
    _code(
        name="memory: what led to a refused end is done again",
        pitfall="B8",
        text="    if not inputs:\n        return effects\n",
        replacement="    if inputs is not None:\n        return effects\n",
        tests=f"{_DOUBTS} last_moment",
        waits=True,
    ),
)

_OF_SESSIONS = (
    Mutation(
        name="sqlite: a session does not take its instance's slot",
        pitfall="A8",
        file="backends/romancy_sqlite/_store.py",
        text="            sessions_exclude=True,\n",
        replacement="",
        tests=f"{_BESIDE} something_ends",
        waits=True,
    ),
    _code(
        name="sqlite: the end of who has the slot waits for those before it",
        pitfall="A8",
        text="            first, count = sessions[0], 1\n",
        replacement="            pass\n",
        tests=f"{_BESIDE} something_ends",
        waits=True,
    ),
    _code(
        name="postgres: a session that ended outlives its run",
        pitfall="A8",
        text="            self.give_up([self._of.pop(id(event))[1] for event, _ in inputs if id(event) in self._of])\n",
        replacement="            pass\n",
        tests=f"{_BESIDE} goes_with",
        waits=True,
    ),
    _code(
        name="sqlite: who waits for the slot of what is gone waits for ever",
        pitfall="A8",
        text="        live.post.clear()\n        hand_over(live)\n",
        replacement="        live.post.clear()\n",
        tests=f"{_BESIDE} while_the_instance_ends",
        waits=True,
    ),
    _code(
        name="memory: what ended beside a lost session is done again",
        pitfall="A7",
        text="            inputs += self.driver.ports.carry_over(prepared.live)\n",
        replacement="",
        tests=f"{_BESIDE} not_done_again",
    ),
    _code(
        name="memory: who is drained reads no mail",
        pitfall="B8",
        text="        self.claiming.only_mail()\n",
        replacement="        self.claiming.stop()\n",
        tests="behaviour/test_draining.py mail_comes",
        waits=True,
    ),
    _code(
        name="memory: what was dropped is taken for done",
        pitfall="B8",
        text="    return bool(live.attempts or state.activities or state.compensations)\n",
        replacement="    return bool(live.attempts)\n",
        tests="behaviour/test_draining.py dropped",
    ),
    _code(
        name="memory: what a run that ended did not take is nobody's",
        pitfall="A14",
        text="            live.keep_for_next_run(inputs, activation.dropped)\n",
        replacement="",
        tests=f"{_RECUR} a_cancellation",
        waits=True,
    ),
    _code(
        name="memory: a timer of the last run rings in the next",
        pitfall="A14",
        text="            self._empty(live)  # its ids would be taken for those of the next run\n",
        replacement="",
        tests=f"{_RECUR} a_timer",
    ),
)

_OF_ATTEMPTS = (
    _code(
        name="memory: an end that cannot be told is waited for",
        pitfall="C10",
        text="        if live.attempts.get(attempt.id) is attempt:\n            self._broken(live, error)\n",
        replacement="",
        tests="behaviour/test_attempts.py cannot_be_told",
        waits=True,
    ),
    _code(
        name="memory: what does not stop is waited for",
        pitfall="C8",
        text="call_later(_LAST_WORD, self._without_it, attempt)",
        replacement="call_later(1000 * _LAST_WORD, self._without_it, attempt)",
        tests="behaviour/test_attempts.py does_not_stop",
        waits=True,
    ),
    _code(
        name="memory: the keys of an instance are those of any with its id",
        pitfall="C9",
        text='        nonce=f"{life:x}",\n',
        replacement='        nonce=f"{life and 1:x}",\n',
        tests="behaviour/test_attempts.py every_run_and_life",
    ),
    _code(
        name="memory: who cannot say whether it lives begins attempts",
        pitfall="C10",
        text="        self._fresh = fresh\n        self._free = limit\n",
        replacement="        self._fresh = lambda: fresh is not None\n        self._free = limit\n",
        tests=f"{_LEASES} stops_when_the_lease",
    ),
    _code(
        name="memory: what runs goes on when the lease has run out",
        pitfall="C10",
        text="            self._has_lapsed = True\n            self._lapsed()\n",
        replacement="            self._has_lapsed = True\n",
        tests=f"{_LEASES} stops_when_the_lease",
        waits=True,
    ),
    _code(
        name="memory: what an instance that is gone had running goes on",
        pitfall="C10",
        text="        self.attempts.drop(live)\n        self.alarms.clear_all(live)\n",
        replacement="        self.alarms.clear_all(live)\n",
        tests=f"{_LEASES} stops_when_the_lease",
        waits=True,
    ),
    _code(
        name="memory: a thread never hears that it was given up",
        pitfall="C11",
        text="        if self.over:\n            raise CancelledError(",
        replacement="        if self.over and self.attempt is None:\n            raise CancelledError(",
        tests="behaviour/test_heartbeats.py thread_that_was_given_up",
    ),
    _code(
        name="memory: what a given-up attempt wrote is committed with its end",
        pitfall="C11",
        text="        self.over = True\n        await self.close()\n",
        replacement="        self.over = True\n",
        tests="behaviour/test_activities.py leaves_nothing_behind",
    ),
    _code(
        name="memory: a process whose time is up goes on",
        pitfall="C11",
        text="                self._all.discard(child)\n                child.kill()\n",
        replacement="                self._all.discard(child)\n",
        tests="behaviour/test_heartbeats.py kills_its_process",
        waits=True,
    ),
)

_OF_LEASES = (
    _code(
        name="memory: one of the same id elsewhere is never a rival",
        pitfall="A13",
        text="beats = peer.beat != self._elders[peer.token]",
        replacement="beats = False",
        tests="tests/engine/test_leases.py same_id_elsewhere",
    ),
    _code(
        name="memory: two of the same id drive each other out",
        pitfall="A13",
        text=" and peer.token in self._elders:",
        replacement=":\n                self._elders.setdefault(peer.token, peer.beat)",
        tests="tests/engine/test_leases.py came_later",
    ),
    _code(
        name="memory: silence is measured by what was seen in the first beat",
        pitfall="D1",
        text="since if beat == peer.beat else now",
        replacement="since",
        tests="tests/engine/test_leases.py",
    ),
    _code(
        name="memory: who was away itself takes the others for dead",
        pitfall="D1",
        text="before = {} if restart else self._watched",
        replacement="before = self._watched",
        tests="tests/engine/test_leases.py",
    ),
    _code(
        name="memory: a loop that is blocked for good keeps its lease",
        pitfall="D2",
        text="                if time.monotonic() > until:\n",
        replacement="                if time.monotonic() < 0 * until:\n",
        tests=f"{_WATCHDOG} gives_up",
    ),
    _code(
        name="memory: a heart beats on for a worker that was declared dead",
        pitfall="D2",
        text="                    if not await leases.beat_through(store):\n                        return\n",
        replacement="                    await leases.beat_through(store)\n",
        tests=f"{_WATCHDOG} declared_dead",
    ),
    _code(
        name="memory: nothing beats while the loop is blocked",
        pitfall="D2",
        text="now - asked > self._heart.after:",
        replacement="now - asked > 1000 * self._heart.after:",
        tests=f"{_WATCHDOG} lease_fresh",
    ),
    _code(
        name="memory: who was declared dead keeps what it had",
        pitfall="D2",
        text="            self._dead()\n",
        replacement="",
        tests="tests/engine/test_beating.py",
    ),
    _code(
        name="memory: any row without progress is a death",
        pitfall="D3",
        text="isinstance(event, OwnerChanged) and event.owner for event",
        replacement="isinstance(event, OwnerChanged) for event",
        tests="tests/engine/test_quarantine.py",
    ),
    _code(
        name="memory: who died in company counts as having died alone",
        pitfall="D3",
        text="        if before.alone and not after.alone:\n",
        replacement="        if not after.alone:\n",
        tests="tests/engine/test_quarantine.py",
    ),
    _code(
        name="memory: a death that speaks for a suspect is forgotten",
        pitfall="D3",
        text="            trials.clear()\n            without += 1\n",
        replacement="            without += 0\n",
        tests="tests/engine/test_quarantine.py",
    ),
    _code(
        name="memory: others are driven while a suspect is tried alone",
        pitfall="D3",
        text="        self.only = instance_id\n",
        replacement="",
        tests="tests/engine/test_quarantine.py alone_is_who",
    ),
    _code(
        name="sqlite: nobody is tried alone",
        pitfall="D3",
        text="return self.deaths >= _SUSPICIOUS\n",
        replacement="return self.deaths >= 100 * _SUSPICIOUS\n",
        tests="behaviour/faults/test_poison.py parked",
    ),
)

_OF_CODE = (
    Mutation(
        name="memory: a newer log is a broken one",
        pitfall="D5",
        file="romancy/core/_events.py",
        text="    if unknown and all(_TAG.fullmatch(tag) for tag in unknown):\n        return HistoryVersionError(",
        replacement="    if unknown == [None]:\n        return HistoryVersionError(",
        tests="tests/core/test_events.py unknown_event",
    ),
    _code(
        name="memory: what cannot be undone here is given up all the same",
        pitfall="D6",
        text="        if unknown:\n            live.run.close()",
        replacement="        if unknown is None:\n            live.run.close()",
        tests="behaviour/test_stuck.py leaves_it_to_who_does",
        waits=True,
    ),
    _code(
        name="memory: the stuck are wound up by nobody",
        pitfall="D6",
        text="                self._driver.wind_up(live, inputs, box)\n                return\n",
        replacement="                return\n",
        tests="behaviour/test_stuck.py undone_without",
        waits=True,
    ),
)

MUTATIONS = (*_OF_THE_LOG, *_OF_MAIL, *_OF_SESSIONS, *_OF_ATTEMPTS, *_OF_LEASES, *_OF_CODE)
