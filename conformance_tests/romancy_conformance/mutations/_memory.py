"""Mends of the executable specification, and of what stands before every store."""

from __future__ import annotations

from functools import partial

from romancy_conformance.mutations._mutation import Mutation

__all__ = ["MUTATIONS"]

_code = partial(Mutation, file="romancy/storage/memory/*.py")
_limits = partial(Mutation, file="romancy/storage/limits.py")
_leaves = partial(Mutation, file="romancy/storage/query/_leaves.py")

MUTATIONS = (
    _limits(
        name="memory: an instance may be twice in a batch",
        pitfall="A1",
        text="        if item.instance_id in targets:\n            raise",
        replacement="        if item.instance_id in ():\n            raise",
        tests="test_log.py misuse",
    ),
    _code(
        name="memory: one's own nonce is a stranger's",
        pitfall="A2",
        text="return Outcome.ACCEPTED if held.writer == item.writer else Outcome.TAKEN",
        replacement="return Outcome.TAKEN",
        tests="test_log.py sent_again",
    ),
    _code(
        name="memory: any nonce is one's own",
        pitfall="A2",
        text="return Outcome.ACCEPTED if held.writer == item.writer else Outcome.TAKEN",
        replacement="return Outcome.ACCEPTED",
        tests="test_log.py taken_seq or another_nonce",
    ),
    _code(
        name="memory: the writer's row is not asked",
        pitfall="A4",
        text="    if not alive(tx, worker):\n        return Outcome.DEAD",
        replacement="    if not alive(tx, worker) and worker is None:\n        return Outcome.DEAD",
        tests="test_log.py dead_worker or thaw",
    ),
    _code(
        name="memory: a former life reaches the new one",
        pitfall="A4",
        text="if row is None or row.life != item.life:",
        replacement="if row is None:",
        tests="test_log.py former_life",
    ),
    _code(
        name="memory: a takeover waits for what is locked",
        pitfall="A5",
        text='        if not tx.try_lock("log", key):\n            return False\n',
        replacement='        await tx.lock("log", key)\n',
        tests="test_neighbours.py takeover",
        waits=True,
    ),
    _code(
        name="memory: a takeover takes all at once",
        pitfall="A5",
        text="        for instance in owned[:limit]:\n",
        replacement="        for instance in owned[: 100 * limit]:\n",
        tests="test_leases.py no_more_at_once",
    ),
    _code(
        name="memory: a frozen row freezes its batch",
        pitfall="A5",
        text="self._begin(_LOCK_PATIENCE)",
        replacement="self._begin()",
        tests="test_neighbours.py keeps_no_neighbour",
        waits=True,
    ),
    _limits(
        name="memory: bodies of any size",
        pitfall="A6",
        text="if len(item.body) > MAX_BODY_BYTES:",
        replacement="if len(item.body) > 9 * MAX_BODY_BYTES:",
        tests="test_values.py too_large",
    ),
    _code(
        name="memory: a session locks the rows of others",
        pitfall="A7",
        text="await deliver(tx, database, delivery, wake=not session)",
        replacement="await deliver(tx, database, delivery)",
        tests="test_neighbours.py holds_up_nobody",
    ),
    _code(
        name="memory: uncounted mail of sessions is nobody's",
        pitfall="A7",
        text="uncounted = row.signals == row.seen and row.instance_id in old_mail",
        replacement="uncounted = False",
        tests="test_neighbours.py nobody_counted",
        waits=True,
    ),
    _code(
        name="memory: an owner changes without its log row",
        pitfall="A10",
        text=(
            '        if tx.get("log", key) is None:\n            break\n        head += 1\n'
            '    tx.put("log", (row.instance_id, row.life, head + 1), '
        ),
        replacement=(
            '        break\n    if tx.get("log", key) is None:\n'
            '        tx.put("log", (row.instance_id, row.life, head + 1), '
        ),
        tests="tests/storage/test_memory.py",
    ),
    _code(
        name="memory: a claim tells a former head",
        pitfall="A11",
        text="        head = head_of(self.database, row)\n",
        replacement="        head = row.last_seq\n",
        tests="test_claims.py recovering",
    ),
    _code(
        name="memory: pruning knows no limit",
        pitfall="A5",
        text="and len(doomed) < request.limit and",
        replacement="and",
        tests="test_prune.py limit",
    ),
    _limits(
        name="memory: half of a character in an error is sent",
        pitfall="A12",
        text="    if error.isascii():\n",
        replacement="    if error:\n",
        tests="test_batches.py half_a_character",
    ),
    _code(
        name="memory: a value out of bounds is taken",
        pitfall="A12",
        text="    if not _storable(item):",
        replacement="    if not _storable(item) and worker is None:",
        tests="test_neighbours.py value",
    ),
    _code(
        name="memory: a run that continues keeps its start",
        pitfall="A14",
        text="        run_from=change.run_from,\n",
        replacement="",
        tests="test_claims.py continues",
    ),
    _code(
        name="memory: a release does not look at the counter",
        pitfall="B1",
        text="wake_at = change.wake_at if row.signals == change.seen else now",
        replacement="wake_at = change.wake_at",
        tests="test_inbox.py missed",
    ),
    _code(
        name="memory: a delivery does not move the counter",
        pitfall="B1",
        text="return replace(row, signals=row.signals + count, wake_at=now if sleeps else row.wake_at)",
        replacement="return replace(row, wake_at=now if sleeps else row.wake_at)",
        tests="test_interleavings.py delivery_and_a_release or release_held",
    ),
    _code(
        name="memory: a dedupe key is forgotten with its message",
        pitfall="B3",
        text='        if await tx.lock("seen", (delivery.dedupe,)) is not None:\n            return False\n',
        replacement='        await tx.lock("seen", (delivery.dedupe,))\n',
        tests="test_inbox.py dedupe_key",
    ),
    _code(
        name="memory: nobody tells an owner of its mail",
        pitfall="B6",
        text="and (row.signals != row.seen or row.instance_id in fresh or",
        replacement="and (row.instance_id in fresh or",
        tests="test_inbox.py owner_gets",
    ),
    Mutation(
        name="memory: all mail in one answer",
        pitfall="B6",
        file="romancy/storage/mail.py",
        text="if chosen and one.size and size > MAX_MAIL_BYTES:",
        replacement="if chosen and one.size and size > 100 * MAX_MAIL_BYTES:",
        tests="test_mail.py several",
    ),
    Mutation(
        name="memory: mail is brought again by every claim",
        pitfall="B6",
        file="romancy/storage/mail.py",
        text="if one.fresh or request.known.get(one.instance_id) != one.signals]",
        replacement="]",
        tests="test_mail.py known",
    ),
    _code(
        name="memory: an end does not look at the inbox",
        pitfall="B8",
        text="    if change.status in TERMINAL_STATUSES and row.signals != change.seen:",
        replacement="    if change.status in TERMINAL_STATUSES and row.signals < 0:",
        tests="test_interleavings.py end",
    ),
    _code(
        name="memory: the ended take mail",
        pitfall="B8",
        text="return Delivered.CLOSED if row.status in TERMINAL_STATUSES else None",
        replacement="return None",
        tests="test_inbox.py takes_no_mail",
    ),
    _code(
        name="memory: who beats is taken over all the same",
        pitfall="D1",
        text="or (not row.dead and row.beat != dead.beat)",
        replacement="",
        tests="test_leases.py beat_meanwhile",
    ),
    _code(
        name="memory: the dead take others over",
        pitfall="D1",
        text="if not alive(tx, worker) or row is None",
        replacement="if row is None",
        tests="test_leases.py dead_worker_takes",
    ),
    _code(
        name="memory: every crash counts",
        pitfall="D3",
        text="idle = row.crash_seq == head - 1",
        replacement="idle = True",
        tests="test_leases.py crashes_count",
    ),
    _code(
        name="memory: code that refused gets it again",
        pitfall="D4",
        text="if code is None or code in row.refused or",
        replacement="if code is None or",
        tests="test_claims.py fitting_code",
    ),
    _code(
        name="memory: code of live workers is taken at once",
        pitfall="D4",
        text="if row.code in request.leave and",
        replacement="if row.code in () and",
        tests="test_claims.py left_to_them",
    ),
    _code(
        name="memory: work is given to who does not know it",
        pitfall="D6",
        text="            code = request.codes.get(row.workflow_name)\n",
        replacement='            code = request.codes.get(row.workflow_name, "")\n',
        tests="test_claims.py only_known",
    ),
    _leaves(
        name="memory: true is one",
        pitfall="E",
        text="        return TRUE if value else FALSE",
        replacement="        return number_leaf(int(value))",
        tests="tests/storage/query/test_agreement.py truth_table",
    ),
    _leaves(
        name="memory: NUL ends a string",
        pitfall="E",
        text="return STRING + escape(value)",
        replacement='return STRING + escape(value.split("\\x00")[0])',
        tests="tests/storage/query/test_agreement.py truth_table",
    ),
    _leaves(
        name="memory: large integers are rounded",
        pitfall="E",
        text="    if -_EXACT <= value <= _EXACT:",
        replacement="    if abs(value) < 1e300:",
        tests="tests/storage/query/test_agreement.py truth_table",
    ),
    _leaves(
        name="memory: there are two zeros",
        pitfall="E",
        text="_BITS.unpack(_FLOAT.pack(value + 0.0))",
        replacement="_BITS.unpack(_FLOAT.pack(value))",
        tests="tests/storage/query/test_agreement.py truth_table",
    ),
    Mutation(
        name="memory: an array has an index 01",
        pitfall="E",
        file="romancy/storage/query/_paths.py",
        text='_INDEX = re.compile(r"0|[1-9][0-9]*")',
        replacement='_INDEX = re.compile(r"[0-9]+")',
        tests="tests/storage/query/test_agreement.py refused",
    ),
    _leaves(
        name="memory: strings of any length are words",
        pitfall="E",
        text="    if utf8_size(value) > MAX_STRING_BYTES:\n",
        replacement="    if utf8_size(value) > 100 * MAX_STRING_BYTES:\n",
        tests="tests/storage/query/test_leaves.py already_hold",
    ),
    Mutation(
        name="memory: a projection may be of any size",
        pitfall="E",
        file="romancy/storage/query/_projection.py",
        text='    return text.encode("ascii") if len(text) <= MAX_PROJECTION_BYTES else None\n',
        replacement='    return text.encode("ascii")\n',
        tests="tests/storage/query/test_projection.py size_limit",
    ),
    Mutation(
        name="memory: a projection has any depth",
        pitfall="E",
        file="romancy/storage/query/_projection.py",
        text="if value and depth < MAX_DEPTH and not",
        replacement="if value and depth < 100 * MAX_DEPTH and not",
        tests="tests/storage/query/test_projection.py deeper",
    ),
    Mutation(
        name="memory: containers are looked for",
        pitfall="E",
        file="romancy/storage/query/_filters.py",
        text='    raise QueryError(\n        f"{where}: {type(value).__name__} is',
        replacement='    return str(value)\n    raise QueryError(\n        f"{where}: {type(value).__name__} is',
        tests="tests/storage/query/test_agreement.py refused",
    ),
    Mutation(
        name="memory: a token fits any query",
        pitfall="E",
        file="romancy/storage/query/_query.py",
        text="sorted({msgspec.json.encode(condition).decode() for condition in self.conditions}),",
        replacement="",
        tests="test_find.py token",
    ),
)
