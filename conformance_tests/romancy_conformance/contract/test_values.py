"""Values: what was given comes back, bit for bit and character for character, or is refused before it is written."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from romancy.errors import PayloadTooLargeError, UsageError
from romancy.status import Status
from romancy.storage.limits import MAX_BODY_BYTES
from romancy.storage.records import ClaimRequest, Delivered, OutboxRow, Outcome, PruneRequest
from romancy_conformance.contract.building import append, change, delivery, full_log, start, step, unique
from romancy_conformance.contract.interleaving import statements

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append, Item
    from romancy_conformance.contract.building import Actor

pytestmark = pytest.mark.anyio

_PLANES = "".join(chr(plane << 16 | offset) for plane in range(17) for offset in (0x20, 0x41, 0xFFFD))
_VALUES: list[Any] = [
    *("", "\x00", "a\x00b", _PLANES, "\u2028\u2029\u200b\ufeff\u202e", "e\u0301é", '"\\/\b\f\n\r\t', "%_?:$1 ' -- ;"),
    *(0, -1, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 + 1, 10**400),
    *(-0.0, 0.1, 1e308, -1e308, 5e-324, 2**53 + 0.0, sys.float_info.max),
    *(True, False, None, [], {}, [[]], {"": {}}),
    {"a.b": 1, 'c"d': 2, "e'f": 3, "\x00": 4, " ": 5, "É": 6, "É".lower(): 7},
    ["0001-01-01", "9999-12-31T23:59:59.999999Z", "2024-02-29", "1969-12-31T23:59:59.6"],
]
BODIES: list[bytes] = [
    b"",
    b"\x00",
    bytes(range(256)),
    b"\xff\xfe\xfd",
    rb'["\ud800", NaN, 1e400, -0, {"a":1,"a":2}]',
    b"[" * 200 + b"]" * 200,
    b" [ 1 , 2 ] \n",
    *(json.dumps([value], ensure_ascii=ascii_only).encode() for value in _VALUES for ascii_only in (True, False)),
]


async def test_bodies_of_the_log_come_back_as_the_bytes_they_were(actor: Actor) -> None:
    begun = await actor.begin(body=BODIES[2])
    for seq, body in enumerate(BODIES, 2):
        assert await actor.write(step(begun, seq, body)) is Outcome.ACCEPTED

    rows = await full_log(actor.store, begun.instance_id)

    assert [row.body for row in rows] == [BODIES[2], *BODIES]


async def test_bodies_of_a_batch_come_back_as_the_bytes_they_were(actor: Actor) -> None:
    begun = [await actor.begin() for _ in BODIES]
    batch = [step(one, 2, body) for one, body in zip(begun, BODIES, strict=True)]

    assert await actor.store.commit(batch, worker=actor.token) == [Outcome.ACCEPTED] * len(BODIES)

    logs = [await full_log(actor.store, one.instance_id) for one in begun]
    assert [rows[1].body for rows in logs] == BODIES


async def test_mail_and_outgoing_messages_come_back_as_the_bytes_they_were(actor: Actor, store: Store) -> None:
    begun, target = await actor.begin(), await actor.begin()
    mail = [delivery(begun, body) for body in BODIES]
    sent = [delivery(target, body) for body in BODIES]
    outgoing = [
        OutboxRow(outbox_id=f"{unique('o')}-{number:03d}", topic="té\u200bst😀", body=body)
        for number, body in enumerate(BODIES)
    ]
    assert await store.deliver(mail) == [Delivered.ACCEPTED] * len(mail)

    item = append(begun, 2, deliveries=tuple(sent), outbox=tuple(outgoing))
    assert await actor.write(item) is Outcome.ACCEPTED

    work = await store.claim(ClaimRequest(worker=actor.token, codes=actor.workflows, limit=0))
    got = {box.instance_id: [row.body for row in box.rows] for box in work.mail}
    assert got == {begun.instance_id: BODIES, target.instance_id: BODIES}
    ours = {row.outbox_id: row for row in outgoing}
    assert {row.outbox_id: row for row in await store.services.outbox.read(1000) if row.outbox_id in ours} == ours


async def test_inputs_come_back_as_the_bytes_they_were(actor: Actor, store: Store) -> None:
    begun = [start(workflow_name=next(iter(actor.workflows)), input=body) for body in BODIES]

    assert await store.commit(begun) == [Outcome.ACCEPTED] * len(begun)

    rows = [await store.read(item.instance_id, limit=0) for item in begun]
    assert [None if row is None else row.instance.input for row in rows] == BODIES


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies=st.lists(st.binary(max_size=300), min_size=1, max_size=40))
async def test_any_bytes_come_back(actor: Actor, bodies: list[bytes]) -> None:
    begun = await actor.begin(input=bodies[0])
    for seq, body in enumerate(bodies, 2):
        await actor.write(step(begun, seq, body))

    assert [row.body for row in await full_log(actor.store, begun.instance_id)][1:] == bodies


@pytest.mark.parametrize("size", [70_000, 2_000_000, MAX_BODY_BYTES], ids=["70 kB", "2 MB", "the limit"])
async def test_large_bodies_up_to_the_limit_come_back(actor: Actor, store: Store, size: int) -> None:
    """A6: a database that truncates what is too long for a column would still report that it was accepted."""
    body = (bytes(range(256)) * (size // 256 + 1))[:size]
    begun = await actor.begin(body=body, input=body)
    plain, rich = step(begun, 2, body), append(begun, 3, body, change=change(error="x" * 100_000))

    assert await actor.write(plain) is Outcome.ACCEPTED
    assert await actor.write(rich) is Outcome.ACCEPTED
    assert await store.deliver([delivery(begun, body)]) == [Delivered.ACCEPTED]

    rows = await full_log(store, begun.instance_id)
    assert [len(row.body) for row in rows] == [size] * 3
    assert all(row.body == body for row in rows)
    history = await store.read(begun.instance_id, limit=0)
    assert history is not None
    assert (history.instance.input == body, history.instance.error) == (True, "x" * 100_000)
    work = await store.claim(ClaimRequest(worker=actor.token, codes=actor.workflows, limit=0))
    assert [row.body == body for box in work.mail for row in box.rows] == [True]


async def sent(store: Store, call: Awaitable[object]) -> int:
    """Return how often the call sent its most frequent statement."""
    return max(Counter(await statements(store, call)).values())


_LARGE = b"[" + b"1," * 1_000_000 + b"1]"


async def test_a_batch_of_large_bodies_is_written_whole(actor: Actor, store: Store) -> None:
    """A12: the batch is larger than a database takes in one statement, 24 MB."""
    begun = [await actor.begin() for _ in range(12)]
    outcomes: list[Outcome] = []

    async def write() -> None:
        outcomes.extend(await store.commit([step(one, 2, _LARGE) for one in begun], worker=actor.token))

    times = await sent(store, write())

    assert outcomes == [Outcome.ACCEPTED] * 12
    for one in begun:
        assert (await full_log(store, one.instance_id))[1].body == _LARGE
    assert times > 1 or store.capabilities.embedded, "24 MB in one statement"


async def test_much_mail_with_large_bodies_is_delivered_whole(actor: Actor, store: Store) -> None:
    begun = [await actor.begin() for _ in range(12)]
    mail = [delivery(one, _LARGE) for one in begun]
    answers: list[Delivered] = []

    async def deliver() -> None:
        answers.extend(await store.deliver(mail))

    times = await sent(store, deliver())

    assert answers == [Delivered.ACCEPTED] * 12
    assert await store.deliver(mail) == [Delivered.DUPLICATE] * 12
    assert times > 1 or store.capabilities.embedded, "24 MB in one statement"


async def test_what_is_too_long_for_a_column_is_refused_or_kept_whole(actor: Actor, store: Store) -> None:
    """A6: the store never keeps a part of a value, and it writes the neighbours."""
    for count in (1, 3):
        begun = [await actor.begin() for _ in range(count)]
        batch = [step(one, 2, writer="w" * 300) if one is begun[0] else step(one, 2) for one in begun]

        first, *others = await store.commit(batch, worker=actor.token)

        written = [row.writer for row in (await full_log(store, begun[0].instance_id))[1:]]
        assert (first, written) in [(Outcome.ACCEPTED, ["w" * 300]), (Outcome.INVALID, [])]
        assert others == [Outcome.ACCEPTED] * (count - 1)
        assert [len(await full_log(store, one.instance_id)) for one in begun[1:]] == [2] * (count - 1)


async def test_a_page_of_large_rows_is_cut_and_goes_on(actor: Actor, store: Store) -> None:
    body = b"x" * 2_000_000
    begun = await actor.begin()
    for seq in range(2, 12):
        await actor.write(step(begun, seq, body))

    first = await store.read(begun.instance_id)

    assert first is not None
    assert first.more
    assert sum(len(row.body) for row in first.rows) <= 3 * MAX_BODY_BYTES
    assert [row.seq for row in await full_log(store, begun.instance_id)] == list(range(1, 12))


_TOO_LARGE = b"x" * (MAX_BODY_BYTES + 1)


_OVERSIZED: dict[str, Callable[[Append], Item]] = {
    "append": lambda one: step(one, 2, _TOO_LARGE),
    "its delivery": lambda one: append(one, 2, deliveries=(delivery(one, _TOO_LARGE),)),
    "its message": lambda one: append(one, 2, outbox=(OutboxRow(outbox_id=unique("o"), topic="t", body=_TOO_LARGE),)),
    "its child": lambda one: append(one, 2, starts=(start(body=_TOO_LARGE),)),
    "its new input": lambda one: append(one, 2, change=change(run_from=2, input=_TOO_LARGE)),
    "start": lambda _: start(body=_TOO_LARGE),
    "input": lambda _: start(input=_TOO_LARGE),
}


async def test_what_is_too_large_is_refused_with_nothing_written(actor: Actor) -> None:
    begun, neighbour = await actor.begin(), await actor.begin()

    for build in _OVERSIZED.values():
        with pytest.raises(PayloadTooLargeError, match="at most"):
            await actor.store.commit([step(neighbour, 2), build(begun)], worker=actor.token)
        with pytest.raises(PayloadTooLargeError, match="at most"):
            async with actor.store.services.sessions.begin() as session:
                await session.commit(build(begun), worker=actor.token)

    assert len(await full_log(actor.store, neighbour.instance_id)) == 1
    assert len(await full_log(actor.store, begun.instance_id)) == 1


async def test_a_delivery_that_is_too_large_is_refused_with_its_batch(actor: Actor, store: Store) -> None:
    begun = await actor.begin()

    with pytest.raises(PayloadTooLargeError, match="at most"):
        await store.deliver([delivery(begun), delivery(begun, _TOO_LARGE)])

    history = await store.read(begun.instance_id, limit=0)
    assert history is not None
    assert history.instance.signals == 0


LONGEST = ["i" * 243, "é" * 121 + "i", "😀" * 60 + "abc"]
"""Ends of ids whose characters take one, two and four bytes."""


async def test_the_longest_ids_work_everywhere(actor: Actor, store: Store) -> None:
    """An id has up to 255 bytes of UTF-8; one more character at the end makes another id."""
    for text in LONGEST:
        await use_ids_that_end_in(text, actor, store)


async def use_ids_that_end_in(text: str, actor: Actor, store: Store) -> None:
    ids = [f"{unique()[-11:]:x>11}{end}{text}" for end in "AB"]
    assert {len(one.encode()) for one in ids} == {255}
    name = unique("w") + "n" * (255 - len(unique("w")))
    first, second = [start(one, workflow_name=name[:255], parent=ids[0], owner=actor.token) for one in ids]

    assert await store.commit([first, second], worker=actor.token) == [Outcome.ACCEPTED] * 2
    mail = delivery(first, delivery_id=ids[0], dedupe=ids[1])
    assert await store.deliver([mail]) == [Delivered.ACCEPTED]
    outgoing = OutboxRow(outbox_id=ids[0], topic="t", body=b"")
    item = append(first, 2, consumed=(ids[0],), outbox=(outgoing,), change=change(seen=1))
    assert await actor.write(item) is Outcome.ACCEPTED

    history = await store.read(ids[0])
    assert history is not None
    row = history.instance
    assert (row.instance_id, row.workflow_name, row.parent) == (ids[0], name[:255], ids[0])
    assert len(await full_log(store, ids[1])) == 1
    assert await store.services.outbox.remove([ids[0]]) == 1


async def test_ids_that_some_database_could_not_keep_are_refused_by_all(actor: Actor, store: Store) -> None:
    begun = await actor.begin()
    for text in ("", "i" * 256, "😀" * 64, "a\x00b", "\ud800", "a\udfff"):
        refused: list[Item] = [
            start(text),
            start(workflow_name=text),
            append(begun, 2, starts=(start(text),)),
            append(begun, 2, deliveries=(delivery(begun, delivery_id=text),)),
            append(begun, 2, outbox=(OutboxRow(outbox_id=text, topic="t", body=b""),)),
            append(begun, 2, outbox=(OutboxRow(outbox_id=unique("o"), topic=text, body=b""),)),
            start(code=text),
            start(parent=text),
        ]
        for item in refused:
            with pytest.raises(UsageError):
                await store.commit([item], worker=actor.token)
        for mail in (delivery(text), delivery(begun, delivery_id=text), delivery(begun, dedupe=text)):
            with pytest.raises(UsageError):
                await store.deliver([mail])

    assert len(await full_log(store, begun.instance_id)) == 1


async def test_an_id_that_nothing_can_have_is_not_found(store: Store) -> None:
    """The id comes from outside, so asking for it is no error of the program."""
    await store.commit([start()])

    for text in ("", "i" * 300, "a\x00b", "\ud800", "' or '1'='1", "%"):
        assert await store.read(text) is None, text


async def test_what_nothing_can_be_called_is_not_there_to_be_removed(actor: Actor, store: Store) -> None:
    for text in ("", "i" * 300, "a\x00b", "\ud800"):
        outgoing = OutboxRow(outbox_id=unique("o"), topic="t", body=b"")
        begun = await actor.begin()
        last = append(begun, 2, change=change(Status.COMPLETED), outbox=(outgoing,))
        assert await actor.write(last) is Outcome.ACCEPTED

        assert await store.services.outbox.remove([text]) == 0
        assert await store.services.outbox.remove([text, outgoing.outbox_id]) == 1
        assert await store.services.upkeep.prune(PruneRequest(instance_ids=(text,))) == 0
        assert await store.services.upkeep.prune(PruneRequest(instance_ids=(text, begun.instance_id))) == 1


async def test_an_error_of_any_characters_comes_back(actor: Actor) -> None:
    begun = await actor.begin()
    text = "it broke: \x00 " + _PLANES + "\u2028" * 50

    assert await actor.write(append(begun, 2, change=change(Status.FAILED, error=text))) is Outcome.ACCEPTED

    history = await actor.store.read(begun.instance_id, limit=0)
    assert history is not None
    assert history.instance.error == text


async def test_large_numbers_come_back(actor: Actor) -> None:
    begun = await actor.begin(life=2**63 - 1)
    far = 2**62
    item = append(begun, 2, change=change(Status.WAITING, release=True, wake_at=far))
    assert await actor.write(item) is Outcome.ACCEPTED

    history = await actor.store.read(begun.instance_id, limit=0)

    assert history is not None
    assert (history.instance.life, history.instance.wake_at) == (2**63 - 1, far)
