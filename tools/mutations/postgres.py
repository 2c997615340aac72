"""The SQL of the PostgreSQL adapter: each mutation removes one fence."""

from __future__ import annotations

from functools import partial

from tools.mutations.playing import Mutation

__all__ = ["MUTATIONS"]

_mutation = partial(Mutation, file="backends/romancy_postgres/*.sql")

MUTATIONS = (
    _mutation(
        name="postgres: an append does not check that its writer is alive",
        pitfall="A4",
        text="where exists (select from romancy_workers where token = $1 and not dead)\n  and (",
        replacement="where exists (select from romancy_workers where token = $1)\n  and (",
        times=2,
        tests="test_log.py dead_worker or thaw",
    ),
    _mutation(
        name="postgres: an append does not check its predecessor",
        pitfall="A4",
        text="p.seq = $4 - 1) = $7)",
        replacement="p.seq = $4 - 1) is not null)",
        tests="test_fence.py predecessor_is_not",
    ),
    _mutation(
        name="postgres: a change of the row does not check its predecessor",
        pitfall="A4",
        text="p.seq = item.seq - 1) = item.after)",
        replacement="p.seq = item.seq - 1) is not null)",
        tests="test_fence.py predecessor_is_not",
    ),
    _mutation(
        name="postgres: an append does not check the life of an instance",
        pitfall="A4",
        text="(item.instance_id, item.life) in (select instance_id, life from held)",
        replacement="item.instance_id in (select instance_id from held)",
        tests="test_log.py former_life",
    ),
    _mutation(
        name="postgres: a claim waits for locked rows",
        pitfall="A5",
        text="        limit $4::bigint\n        for no key update skip locked\n",
        replacement="        limit $4::bigint\n        for no key update\n",
        tests="test_neighbours.py just_being_written",
    ),
    _mutation(
        name="postgres: a session locks the rows of receivers",
        pitfall="A7",
        text="    for key share\n), fitting",
        replacement="    for no key update\n), fitting",
        tests="test_sessions.py holds_up_nobody",
        waits=True,
    ),
    _mutation(
        name="postgres: a takeover changes the owner without a log row",
        pitfall="A10",
        text="from logged\nwhere i.instance_id = logged.instance_id\nreturning i.instance_id;",
        replacement="from (select instance_id, head + 1 as seq, now as at from placed) logged"
        "\nwhere i.instance_id = logged.instance_id\nreturning i.instance_id;",
        tests="test_interleavings.py owner_changes",
    ),
    _mutation(
        name="postgres: a release ignores unseen messages",
        pitfall="B1",
        text="when i.signals = fit.seen then fit.wake_at\n                       else fit.now end",
        replacement="else fit.wake_at end",
        tests="test_inbox.py missed",
    ),
    _mutation(
        name="postgres: a change of what nobody may own takes it from its owner",
        pitfall="D2",
        text="item.instance_id in (select instance_id from held where free))",
        replacement="item.instance_id in (select instance_id from held))",
        tests="test_interleavings.py nobody_owns",
    ),
    _mutation(
        name="postgres: a delivery does not count its message",
        pitfall="B1",
        text="set signals = i.signals + new.mail,",
        replacement="set signals = i.signals + 0 * new.mail,",
        times=4,
        tests="test_interleavings.py delivery_and_a_release or release_held",
    ),
    _mutation(
        name="postgres: an end ignores unseen messages",
        pitfall="B8",
        text="(item.instance_id, item.seen) in (select instance_id, signals from held))",
        replacement="item.instance_id in (select instance_id from held))",
        tests="test_interleavings.py end",
    ),
    _mutation(
        name="postgres: an ended instance accepts messages",
        pitfall="B8",
        text="    where not receiver.over\n",
        replacement="",
        tests="test_inbox.py takes_no_mail",
    ),
    _mutation(
        name="postgres: a commit that sends reaches an ended instance",
        pitfall="B8",
        text="    where not receiver.over\n",
        replacement="",
        tests="test_carried.py end_of_its_receiver",
    ),
    _mutation(
        name="postgres: a refused append starts its children",
        pitfall="A12",
        text="select * from child where case when append in (select instance_id from logged) then true end",
        replacement="select * from child",
        tests="test_carried.py only_what_the_accepted",
    ),
    _mutation(
        name="postgres: an append is accepted without its children",
        pitfall="A12",
        text="then 0 else 1 end as whole",
        replacement="then 1 else 1 end as whole",
        times=2,
        tests="test_carried.py child_and_a_start",
    ),
    _mutation(
        name="postgres: a worker with a heartbeat is taken over",
        pitfall="D1",
        text="and (dead.dead or dead.beat = $3)",
        replacement="and (dead.dead or dead.beat >= 0 or $3 = 0)",
        tests="test_leases.py beat_meanwhile",
    ),
    _mutation(
        name="postgres: a dead worker takes over another",
        pitfall="D1",
        text="where asking.token = $1 and not asking.dead and dead.token = $2",
        replacement="where asking.token = $1 and dead.token = $2",
        tests="test_leases.py dead_worker_takes",
    ),
)
