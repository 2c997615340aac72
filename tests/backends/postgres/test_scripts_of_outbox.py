"""What the scripts of the outbox read and change, where each condition meets a row that lacks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.backends.postgres.scripts import Scripts

if TYPE_CHECKING:
    import asyncpg

    from romancy_postgres._store import PostgresStore

pytestmark = [pytest.mark.anyio, pytest.mark.backends("postgres")]

LAST = 2**63 - 1
SENT = {"state": "published", "next_at": None, "ended_at": 5}
FAILED = SENT | {"state": "failed"}


@pytest.fixture(params=["by index", "without indexes"])
async def scripts(store: PostgresStore, connection: asyncpg.Connection, request: pytest.FixtureRequest) -> Scripts:
    """An empty outbox."""
    return Scripts(store, connection, by_index=request.param == "by index")


async def put(scripts: Scripts, **messages: dict[str, Any]) -> None:
    await scripts.put("outbox", *({"outbox_id": name, **columns} for name, columns in messages.items()))


async def ids(scripts: Scripts, name: str, *values: object) -> list[str]:
    return [row[0] for row in await scripts.ask(name, *values)]


async def pending(scripts: Scripts) -> dict[str, bool]:
    """Which messages are pending, and whether they are due."""
    rows = await scripts.rows("outbox", "outbox_id, state, next_at is not null")
    return {name: due for name, state, due in rows if state == "pending"}


async def test_which_messages_are_due(scripts: Scripts) -> None:
    """The longest due first, then in the order in which they were inserted."""
    await put(
        scripts,
        e={"next_at": 2}, d={"next_at": 1, "at": 2}, c={"next_at": 1}, b={"next_at": 1}, later={"next_at": LAST},
        parked={"next_at": None}, sent=SENT | {"next_at": 0},
    )  # fmt: skip

    assert await ids(scripts, "outbox_due", 9) == ["b", "c", "d", "e"]
    assert await ids(scripts, "outbox_due", 2) == ["b", "c"]
    ((_, first),) = await scripts.ask("outbox_look")
    assert first == 1


async def test_which_messages_are_claimed(scripts: Scripts) -> None:
    """A message behind another one of its key is parked. Of the others the longest due are claimed."""
    await put(
        scripts,
        z={"order_key": "k", "at": 3}, b={"order_key": "k", "at": 3}, sent=SENT | {"order_key": "k"},
        c={"order_key": "l", "at": 4}, d={"next_at": 1}, f={"at": 0, "next_at": 1}, g={"next_at": 1, "at": 0},
        a={"order_key": "m", "at": 9, "next_at": 0},
    )  # fmt: skip

    rows = await scripts.ask("outbox_claim", ["z", "b", "c", "d", "f", "g"], 3, "claim", 7)

    assert {(row[0], row[2], row[9] is None, row[10]) for row in rows} == {
        ("z", None, True, None), ("b", b"1", False, "claim"), ("c", b"1", False, "claim"), ("f", b"1", False, "claim"),
    }  # fmt: skip
    assert await pending(scripts) == dict.fromkeys("abcdfg", True) | {"z": False}
    assert [one for one, claim in await scripts.rows("outbox", "outbox_id, claim") if claim] == ["b", "c", "f"]


async def test_what_is_settled(scripts: Scripts) -> None:
    """By its claim. What has ended is not due again, and frees its key; what has not is due later."""
    mine = {"claim": "mine", "order_key": "k", "error": "old"}
    await put(scripts, a=mine, b=mine, c=mine | {"claim": "other"}, d=mine | SENT, e=mine, f=mine)
    names, outcomes = ["a", "b", "c", "d", "e"], ["published", "pending", "failed", "failed", "pending"]
    counts, errors = [True, True, True, True, False], ["new", None, "new", "new", None]

    keys = await scripts.ask("outbox_settle", names, ["mine"] * 5, outcomes, [9, LAST // 2, 9, 9, 9], counts, errors)

    assert sorted(keys, key=str) == [("k",), (None,), (None,)]
    assert await scripts.rows("outbox", "outbox_id, state, claim, attempts, error, ended_at is null, next_at > 0") == [
        ("a", "published", None, 1, "new", False, None), ("b", "pending", None, 1, None, True, True),
        ("c", "pending", "other", 0, "old", True, False), ("d", "published", "mine", 0, "old", False, None),
        ("e", "pending", None, 0, "old", True, True), ("f", "pending", "mine", 0, "old", True, False),
    ]  # fmt: skip


async def put_keys(scripts: Scripts) -> None:
    """Messages behind one another, of three keys and of none."""
    parked: dict[str, Any] = {"next_at": None}
    await put(
        scripts,
        m1=parked | {"order_key": "m"}, m2=parked | {"order_key": "m"}, none=parked, sent=SENT | {"order_key": "n"},
        l2=parked | {"order_key": "l", "at": 2}, l1={"order_key": "l", "next_at": 7},
        k3=parked | {"order_key": "k", "at": 3}, k2=parked | {"order_key": "k", "at": 2},
        k1=parked | {"order_key": "k", "at": 2}, k0=SENT | {"order_key": "k", "at": 0},
    )  # fmt: skip


async def test_the_next_of_a_key(scripts: Scripts) -> None:
    await put_keys(scripts)

    await scripts.ask("outbox_promote", ["k", "l", "n"])

    assert [one for one, due in (await pending(scripts)).items() if due] == ["k1", "l1"]
    assert ("l1", 7) in await scripts.rows("outbox", "outbox_id, next_at")


async def test_the_next_of_every_key(scripts: Scripts) -> None:
    await put_keys(scripts)

    await scripts.ask("outbox_sweep")

    assert [one for one, due in (await pending(scripts)).items() if due] == ["k1", "l1", "m1"]
    assert ("l1", 7) in await scripts.rows("outbox", "outbox_id, next_at")


async def test_many_keys_at_a_time(scripts: Scripts) -> None:
    """However many are due."""
    await scripts.sql(
        "insert into romancy_outbox (outbox_id, topic, body, at, next_at, order_key) "
        "select n::text, '', '', 1, case when n <= 1001 then 1 end, to_char(n, '9999') "
        "from generate_series(1, 2002) as n"
    )

    await scripts.ask("outbox_sweep")

    assert list((await pending(scripts)).values()).count(False) == 1


async def test_pages_of_the_outbox(scripts: Scripts) -> None:
    await put(scripts, c={"at": 2}, b={"at": 2}, a={"at": 3}, d={"at": 1}, e=FAILED | {"at": 2}, f=SENT | {"at": 2})

    async def page(*values: object) -> list[str]:
        return await ids(scripts, "outbox_entries", *values)

    assert await page(["pending", "failed"], 0, "", 9) == ["d", "b", "c", "e", "a"]
    assert await page(["pending", "failed"], 2, "b", 2) == ["c", "e"]
    assert await ids(scripts, "outbox_read", 9) == ["a", "b", "c", "d"]
    assert await ids(scripts, "outbox_read", 2) == ["a", "b"]


async def test_how_many_there_are(scripts: Scripts) -> None:
    """So many that are due at a time, and so many of the keys, of which those that are parked count."""
    key: dict[str, Any] = {"order_key": "k", "next_at": None}
    await put(
        scripts,
        c={"at": 3, "next_at": 3}, b={"at": 4, "next_at": 2}, a={"at": 5, "next_at": 1},
        d=key | {"next_at": 9, "at": 6}, e=key | {"at": 7}, f=key | {"at": 8}, g={"next_at": None, "at": 0},
        s=SENT, t=SENT, u=SENT, v=FAILED,
    )  # fmt: skip

    async def counts(most: int) -> dict[str, tuple[int, int | None]]:
        rows = await scripts.ask("outbox_counts", most, ["published", "failed", "invalid"])
        return {state: (count, oldest) for _, state, count, oldest in rows}

    assert await counts(9) == {"pending": (6, 3), "published": (3, None), "failed": (1, None), "invalid": (0, None)}
    assert await counts(2) == {"pending": (2, 4), "published": (2, None), "failed": (1, None), "invalid": (0, None)}


async def test_how_many_are_parked(scripts: Scripts) -> None:
    """The first by their keys, and the oldest of these."""
    await put(scripts, a={"order_key": "k", "next_at": None, "at": 6}, b={"order_key": "j", "next_at": None, "at": 9})

    assert [row[2:] for row in await scripts.ask("outbox_counts", 1, [])] == [(1, 9)]


async def test_what_is_queued_again(scripts: Scripts) -> None:
    """The first that were inserted come first."""
    await put(scripts, c=SENT | {"at": 2}, b=SENT | {"at": 2}, a=SENT | {"at": 3}, d=FAILED, e={}, f=SENT | {"at": 1})

    await scripts.ask("outbox_requeue", ["published"], *(False, ["a", "d", "e"]), 9)
    assert await pending(scripts) == {"a": True, "e": True}
    await scripts.ask("outbox_requeue", ["published"], *(True, [""]), 2)
    assert await pending(scripts) == dict.fromkeys(("a", "b", "e", "f"), True)


async def test_what_is_removed(scripts: Scripts) -> None:
    await put(
        scripts, a=SENT, b=SENT | {"ended_at": 4}, c=FAILED | {"ended_at": 1}, d=SENT | {"ended_at": 3}, e={},
        f=SENT | {"ended_at": 2}, k={"order_key": "k"}, l={"order_key": "l"},
    )  # fmt: skip

    assert await scripts.run("outbox_purge", ["published"], 5, 2) == 2
    assert await scripts.run("outbox_purge", ["published"], 5, 9) == 1
    assert await scripts.ask("outbox_remove", ["k", "nothing"]) == [("k",)]
    assert await scripts.rows("outbox", "outbox_id") == [("a",), ("c",), ("e",), ("l",)]
