"""The SQL of the SQLite adapter: each mutation removes one fence."""

from __future__ import annotations

from functools import partial

from tools.mutations.playing import Mutation

__all__ = ["MUTATIONS"]

_mutation = partial(Mutation, file="backends/romancy_sqlite/*.sql")

_OF_A_CLAIM = "from romancy_log as log\n            where log.instance_id = instance.instance_id"

MUTATIONS = (
    _mutation(
        name="sqlite: an append does not check that its writer is alive",
        pitfall="A4",
        text="when\n            exists (select 1 from romancy_workers where token = ? and dead = 0)",
        replacement="when\n            exists (select 1 from romancy_workers where token = ?)",
        tests="test_log.py dead_worker or thaw",
    ),
    _mutation(
        name="sqlite: an append does not check its predecessor",
        pitfall="A4",
        text="and seq = ? and writer = ?)",
        replacement="and seq = ? and ? is not null)",
        tests="test_fence.py predecessor_is_not",
    ),
    _mutation(
        name="sqlite: a batch does not check that its writer is alive",
        pitfall="A4",
        text="    and exists (select 1 from romancy_workers where token = ? and dead = 0)\n",
        replacement="    and ? is not null\n",
        tests="test_batches.py dead_worker",
    ),
    _mutation(
        name="sqlite: a batch does not check the predecessors",
        pitfall="A4",
        text="seq = column3 - 1 and writer = column6",
        replacement="seq = column3 - 1",
        tests="test_fence.py neighbours",
    ),
    _mutation(
        name="sqlite: an end in a batch ignores unseen messages",
        pitfall="B1",
        text=" and (not column3 or signals = column5)\n",
        replacement=" and column3 is not null\n",
        tests="test_batches.py refused_among_many",
    ),
    _mutation(
        name="sqlite: a change of what nobody may own takes it from its owner",
        pitfall="D2",
        text="    and (column12 <> 2 or owner is null)",
        replacement="    and column12 >= 0",
        tests="test_batches.py refused_among_many",
    ),
    _mutation(
        name="sqlite: a release in a batch ignores unseen messages",
        pitfall="B1",
        text="when signals = column5 then nullif(column8, '') else ? end",
        replacement="when signals <> -1 then nullif(column8, '') else ? end",
        tests="test_batches.py sleeps_only",
    ),
    _mutation(
        name="sqlite: a release ignores unseen messages",
        pitfall="B1",
        text="when signals = :seen then :wake_at else :now end",
        replacement="else :wake_at end",
        tests="test_inbox.py missed",
    ),
    _mutation(
        name="sqlite: a delivery does not count its message",
        pitfall="B1",
        text="    signals = signals + 1,\n",
        replacement="    signals = signals,\n",
        tests="test_interleavings.py delivery",
    ),
    _mutation(
        name="sqlite: a claim does not report messages to the owner",
        pitfall="B6",
        text="where owned.owner = :worker and owned.signals <> owned.seen\nunion all",
        replacement="where owned.owner = :worker and owned.signals < owned.seen\nunion all",
        tests="test_inbox.py owner_gets",
    ),
    _mutation(
        name="sqlite: a claim reports an old head",
        pitfall="A11",
        text=f"select max(seq) {_OF_A_CLAIM}",
        replacement=f"select min(seq) {_OF_A_CLAIM}",
        tests="test_claims.py recovering",
    ),
    _mutation(
        name="sqlite: a continued run keeps its first position",
        pitfall="A14",
        text="    run_from = :run_from,\n",
        replacement="    run_from = run_from + 0 * :run_from,\n",
        tests="test_claims.py continues",
    ),
    _mutation(
        name="sqlite: a claim offers an instance to code that refused it",
        pitfall="D4",
        text="            candidate.refused = '[]'\n            or",
        replacement="            candidate.refused <> ''\n            or",
        tests="test_claims.py fitting_code",
    ),
)
