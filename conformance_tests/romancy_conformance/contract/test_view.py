"""The view for people: one line per event, in SQL, on every database that has SQL."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from romancy_conformance.contract.building import step

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy_conformance.contract.building import Actor

pytestmark = pytest.mark.anyio


async def _lines(store: Store, instance_id: str) -> list[dict[str, Any]]:
    """Return the view's lines for an instance, text as text whatever the driver returns."""
    if not store.capabilities.sql:
        pytest.skip("capability: no SQL in sessions")
    columns = "instance_id, life, seq, position, type, event, writer, at"
    query = f"select {columns} from romancy_events where instance_id = {store.capabilities.placeholder} "  # noqa: S608 - no values
    async with store.services.sessions.begin() as session:
        rows = await session.fetch_all(query + "order by seq, position", instance_id)
    return [{name: _text(value) for name, value in row.items()} for row in rows]


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


async def test_the_view_shows_one_line_per_event(actor: Actor) -> None:
    first = [{"type": "started", "name": "order"}, {"type": "scheduled", "id": "a:1"}]
    second = [{"type": "completed", "id": "a:1", "result": 'é😀\u0000 "quoted"'}]
    begun = await actor.begin(body=json.dumps(first).encode())
    item = step(begun, 2, json.dumps(second, ensure_ascii=False).encode())
    await actor.write(item)

    lines = await _lines(actor.store, begun.instance_id)

    assert [(line["instance_id"], int(line["life"]), int(line["seq"])) for line in lines] == [
        (begun.instance_id, begun.life, 1),
        (begun.instance_id, begun.life, 1),
        (begun.instance_id, begun.life, 2),
    ]
    assert [int(line["position"]) for line in lines] == [1, 2, 1]
    assert [line["type"] for line in lines] == ["started", "scheduled", "completed"]
    assert [json.loads(line["event"]) for line in lines] == first + second
    assert [line["writer"] for line in lines] == [begun.writer, begun.writer, item.writer]
    assert all(int(line["at"]) > 1_700_000_000_000_000 for line in lines)


async def test_an_empty_commit_has_no_lines_and_does_not_hide_the_others(actor: Actor) -> None:
    begun = await actor.begin(body=b'[{"type":"started"}]')
    await actor.write(step(begun, 2, b"[]"))
    await actor.write(step(begun, 3, b'[{"type":"completed"}]'))

    lines = await _lines(actor.store, begun.instance_id)

    assert [(int(line["seq"]), line["type"]) for line in lines] == [(1, "started"), (3, "completed")]


async def test_large_and_odd_events_are_shown(actor: Actor) -> None:
    """The view parses JSON from a column of another type."""
    events = [
        {"type": "big", "result": "x" * 500_000},
        {"type": "deep", "result": json.loads("[" * 60 + "]" * 60)},
        {"type": "numbers", "result": [2**63 - 1, -(2**63), 1e308, -0.0]},
        {"type": "keys", "a.b": 1, 'c"d': 2, "": 3},
        {"no": "type"},
    ]
    begun = await actor.begin(body=json.dumps(events).encode())

    lines = await _lines(actor.store, begun.instance_id)

    assert [line["type"] for line in lines] == ["big", "deep", "numbers", "keys", None]
    assert [len(json.loads(line["event"])) for line in lines] == [len(event) for event in events]


UNREADABLE = {
    "bytes": b"\x00\xff\x80 sealed \xfe",
    "nothing": b"",
    "text": b"gAAAAABmX3-sealed",
    "cut off": b'[{"type":"completed"',
    "no array": b'{"type":"completed"}',
    "a text of JSON": b'"completed"',
    "null": b"null",
    "NUL and JSON": b'[{"type":"a"}]\x00',
}
"""What a codec may return as a body: encrypted, compressed, or wrapped."""


async def test_a_body_that_is_no_list_of_events_is_one_line_without_an_event(actor: Actor) -> None:
    for kind, body in UNREADABLE.items():
        begun = await actor.begin(body=b'[{"type":"started"},{"type":"scheduled"}]')
        sealed = step(begun, 2, body)
        await actor.write(sealed)
        await actor.write(step(begun, 3, b'[{"type":"completed"}]'))

        lines = await _lines(actor.store, begun.instance_id)

        assert [(int(line["seq"]), int(line["position"]), line["type"]) for line in lines] == [
            (1, 1, "started"),
            (1, 2, "scheduled"),
            (2, 1, None),
            (3, 1, "completed"),
        ], kind
        assert (lines[2]["event"], lines[2]["writer"]) == (None, sealed.writer), kind


async def test_no_body_hides_the_lines_of_others(actor: Actor) -> None:
    """The test queries the view without a condition, so it parses every body in the database."""
    begun = [await actor.begin(body=body) for body in [*UNREADABLE.values(), b'[{"type":"started"}]']]
    if not actor.store.capabilities.sql:
        pytest.skip("capability: no SQL in sessions")

    async with actor.store.services.sessions.begin() as session:
        rows = await session.fetch_all("select instance_id, type from romancy_events")

    types = {_text(row["instance_id"]): _text(row["type"]) for row in rows}
    assert {one.instance_id for one in begun} <= types.keys()
    assert types[begun[-1].instance_id] == "started"
