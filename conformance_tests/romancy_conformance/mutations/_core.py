"""Mends of the deterministic core: that a run repeated is the same run, whatever else is the same."""

from __future__ import annotations

from functools import partial

from romancy_conformance.mutations._mutation import Mutation

__all__ = ["MUTATIONS"]

_code = partial(Mutation, file="romancy/core/*.py")
_ORDER = "tests/core/test_stable_order.py one_order"
_TEARDOWN = "tests/core/test_teardown.py"
_GARBAGE = "tests/core/test_garbage.py"
_TIME = "tests/core/test_time.py"
_FORBIDDEN = "tests/core/test_forbidden.py"
_SAGAS = "tests/core/test_sagas.py"
_RETRY = "tests/core/test_retry.py"

_OF_ORDER = (
    _code(
        name="memory: tasks lie in sets by their addresses",
        pitfall="C1",
        text="    def __hash__(self) -> int:\n        return self._number\n\n\ndef leaves_the_loop",
        replacement="    def __hash__(self) -> int:\n        return id(self) >> 4\n\n\ndef leaves_the_loop",
        tests=_ORDER,
    ),
    _code(
        name="memory: futures lie in sets by their addresses",
        pitfall="C1",
        text="            number: int = loop.number()\n",
        replacement="            number: int = id(self) >> 4\n            loop.number()\n",
        tests=_ORDER,
    ),
    _code(
        name="memory: coroutines lie in sets by their addresses",
        pitfall="C1",
        text="    return ordered if any(map(asyncio.iscoroutine, ordered)) else set(ordered)",
        replacement="    return set(ordered)",
        tests=_ORDER,
    ),
    _code(
        name="memory: scopes lie in sets by their addresses",
        pitfall="C1",
        text="        self._number: int = id(self) if loop is None else loop.number()\n",
        replacement="        self._number: int = id(self) >> 4\n",
        tests=_ORDER,
    ),
    _code(
        name="memory: commands are compared in the order of this Python",
        pitfall="C2",
        text="for position, command in enumerate(left):\n",
        replacement="for position, command in enumerate(left[:1]):\n",
        times=2,
        tests="tests/core/test_divergence.py harmless",
    ),
    _code(
        name="memory: what was created in between is collected",
        pitfall="C5",
        text="            self._tasks = {}\n",
        replacement='            self._tasks = cast("Any", weakref.WeakKeyDictionary())\n',
        tests=f"{_TEARDOWN} only_it_itself",
    ),
    _code(
        name="memory: a run sees what surrounded its host",
        pitfall="C6",
        text="        self._root = Context()\n",
        replacement="        self._root = copy_context()\n",
        tests="tests/core/test_isolation.py",
    ),
)

_OF_ENDS = (
    _code(
        name="memory: a drive goes on for ever",
        pitfall="C3",
        text="        while self._ready and self.spent <= self.budget:\n",
        replacement="        while self._ready:\n            self.spent = 0\n",
        tests=f"{_FORBIDDEN} never_yields",
        waits=True,
    ),
    _code(
        name="memory: what a drive left undone is forgotten",
        pitfall="C3",
        text="                    self._ready = round_[count:] + self._ready\n",
        replacement="                    self._ready.clear()\n",
        times=2,
        tests=_TEARDOWN,
    ),
    _code(
        name="memory: generators are finished by the host",
        pitfall="C4",
        text="        sys.set_asyncgen_hooks(self._meet_generator, self._abandon_generator)\n",
        replacement="        sys.set_asyncgen_hooks(self._meet_generator, self._stage._hooks[1])\n",
        tests=_TEARDOWN,
    ),
    _code(
        name="memory: a generator is finished when the collector finds it",
        pitfall="C4",
        text="        if this_stage().running is self:\n",
        replacement="        if not self.dead:\n",
        tests=f"{_GARBAGE} one_log",
    ),
    _code(
        name="memory: what only the collector can find waits for the end",
        pitfall="C4",
        text="        while self._is_at_an_end() and self._loop.finish_lost_generators():\n",
        replacement="        while False:\n",
        tests=f"{_GARBAGE} one_log",
    ),
    _code(
        name="memory: garbage is collected in the middle of a run",
        pitfall="C4",
        text="                gc.disable()\n",
        replacement="",
        tests=f"{_GARBAGE} somebody_else",
    ),
    _code(
        name="memory: a run torn down is heard",
        pitfall="C4",
        text="        self.dead = True\n        self._ready.clear()\n",
        replacement="        self._ready.clear()\n",
        tests=f"{_TEARDOWN} no_command_escape",
    ),
    _code(
        name="memory: a run nobody closed is closed by the collector",
        pitfall="C4",
        text="        if loop is not None and not loop.dead:\n            orphans.append(loop)\n",
        replacement="        if loop is not None and not loop.dead:\n            loop.teardown()\n",
        tests=_TEARDOWN,
        waits=True,
    ),
    _code(
        name="memory: what is left at the end may go on",
        pitfall="C5",
        text='            raise cancellation("the workflow has ended")\n',
        replacement="            pass\n",
        tests=_TEARDOWN,
    ),
    _code(
        name="memory: who leaves the loop and catches the error goes on",
        pitfall="C12",
        text="        self.violation = self.violation or error\n",
        replacement="",
        tests=f"{_FORBIDDEN} swallowing",
    ),
    _code(
        name="memory: nobody hears of calls that ask no loop",
        pitfall="C12",
        text="    if loop is not None:\n        raise loop.refuse(call)\n",
        replacement="    if loop is None:\n        return\n",
        tests=_FORBIDDEN,
    ),
    _code(
        name="memory: threads are started in a run",
        pitfall="C12",
        text="        if _running() is not None:\n            raise _running().refuse(call)\n",
        replacement="",
        tests=_FORBIDDEN,
    ),
    _code(
        name="memory: what no event can bring is waited for",
        pitfall="C12",
        text="        if events and self.parked is None and not self._has_prospects():\n",
        replacement="        if events and self.parked is None and not self._has_code:\n",
        tests=f"{_FORBIDDEN} nobody_will_resolve",
    ),
)

_OF_TIME = (
    _code(
        name="memory: time runs backwards with the clock",
        pitfall="C7",
        text="        loop.now = max(loop.now, now)\n",
        replacement="        loop.now = now\n",
        tests=f"{_TIME} backwards",
    ),
    _code(
        name="memory: what was put off happens at its own time",
        pitfall="C7",
        text="self.state.time if caught_up else each.at",
        replacement="each.at",
        tests=f"{_TIME} undriven",
    ),
    _code(
        name="memory: after a delay it is a little too early",
        pitfall="C7",
        text="        self.now = max(self.now, timer.when())\n",
        replacement="",
        tests=f"{_TIME} fires_early",
    ),
    _code(
        name="memory: a delay without an end is a row",
        pitfall="C7",
        text="        elif when - self.now <= FAR_FUTURE:\n",
        replacement="        elif when is not None:\n",
        tests=f"{_TIME} without_an_end",
    ),
    _code(
        name="memory: a delay may be no number",
        pitfall="C7",
        text="        if math.isnan(when):\n",
        replacement="        if when is None:\n",
        tests=f"{_TIME} no_number",
    ),
    _code(
        name="memory: armed and disarmed at once is a row",
        pitfall="C7",
        text="            if not timer.cancelled() and not ended:\n",
        replacement="            if not ended:\n",
        tests=f"{_TIME} one_breath",
    ),
    _code(
        name="memory: a timer nobody wants any more is waited for",
        pitfall="C7",
        text="                self.ask(ev.TimerCancelled(timer.id))\n",
        replacement="                pass\n",
        tests=f"{_TIME} no_longer_wanted",
    ),
)

_OF_SAGAS = (
    _code(
        name="memory: undone is what has not ended",
        pitfall="C8",
        text="        if state.activities or state.children or state.compensations:\n",
        replacement="        if state.compensations:\n",
        tests=f"{_SAGAS} settled",
    ),
    _code(
        name="memory: nobody tells what is in flight that all is over",
        pitfall="C8",
        text="            if not activity.cancel_requested:\n",
        replacement="            if activity.cancel_requested:\n",
        tests="tests/core/test_without_code.py",
    ),
    _code(
        name="memory: the next run begins before the last one's work has ended",
        pitfall="C8",
        text="        if state.activities:\n            return\n        if state.cancel is None:\n",
        replacement="        if state.cancel is None:\n",
        tests="tests/core/test_recur.py settled",
    ),
    _code(
        name="memory: the keys of a run are those of the last one",
        pitfall="C9",
        text='            nonce=derive(self.instance_id, started.nonce, "run", end.run).hex()[:32],\n',
        replacement="            nonce=started.nonce,\n",
        tests="tests/core/test_recur.py seeds_of_its_own",
    ),
    _code(
        name="memory: a key is the same in every run and life",
        pitfall="C9",
        text='    return derive(instance_id, nonce, "activity", activity_id).hex()[:32]',
        replacement='    return derive(instance_id, nonce and "", "activity", activity_id).hex()[:32]',
        tests="behaviour/test_attempts.py every_run_and_life",
    ),
    _code(
        name="memory: draws of one kind shift those of another",
        pitfall="C9",
        text="        number = self._draws[kind] = self._draws.get(kind, 0) + 1\n",
        replacement='        number = self._draws[""] = self._draws.get("", 0) + 1\n',
        tests="tests/authoring/test_context.py do_not_shift",
    ),
)

_OF_RETRIES = (
    _code(
        name="memory: what was undone is done again under the key that was refunded",
        pitfall="C9",
        text="        if former is None or former.undone:\n            return command\n",
        replacement="        if former is None:\n            return command\n",
        tests=f"{_RETRY} keeps_its_key",
    ),
    _code(
        name="memory: what failed is tried again under another key",
        pitfall="C9",
        text="        if former is None or former.undone:\n            return command\n",
        replacement="        if former is None or not former.stands:\n            return command\n",
        tests=f"{_RETRY} keeps_its_key",
    ),
    _code(
        name="memory: a retry draws other numbers",
        pitfall="C9",
        text="        seed = started.seed if isinstance(started, ev.WorkflowRetried) else started.nonce\n",
        replacement="        seed = started.nonce\n",
        tests=f"{_RETRY} draws_as_before",
    ),
    _code(
        name="memory: what stands of the runs before is forgotten when it is owed",
        pitfall="C8",
        text="            state.put_back(Compensable(scheduled, done.result, item.position, item.undo_key))\n",
        replacement="            _ = Compensable(scheduled, done.result, item.position, item.undo_key)\n",
        tests=f"{_RETRY} order_of_all",
    ),
)

MUTATIONS = (*_OF_RETRIES, *_OF_ORDER, *_OF_ENDS, *_OF_TIME, *_OF_SAGAS)
