"""What the scripts of routing read and change, where each condition meets a row that lacks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.backends.postgres.scripts import Scripts

if TYPE_CHECKING:
    import asyncpg

    from romancy_postgres._store import PostgresStore

pytestmark = [pytest.mark.anyio, pytest.mark.backends("postgres")]

WHERE = b'{"n":1}'
LAST = 2**63 - 1


@pytest.fixture(params=["by index", "without indexes"])
async def scripts(store: PostgresStore, connection: asyncpg.Connection, request: pytest.FixtureRequest) -> Scripts:
    """Instances that are open, that have ended, and that have begun another life."""
    found = Scripts(store, connection, by_index=request.param == "by index")
    await found.put(
        "instances",
        {"instance_id": "first", "signals": 6},
        {"instance_id": "open"},
        {"instance_id": "ended", "status": "completed"},
        {"instance_id": "reborn", "life": 2},
    )
    return found


def interest(owner: str, interest_id: str, address: str, **columns: Any) -> dict[str, Any]:
    return {"owner": owner, "interest_id": interest_id, "address": address, **columns}


def message(address: str, message_id: str, **columns: Any) -> dict[str, Any]:
    return {"address": address, "message_id": message_id, **columns}


async def test_addresses_with_something_to_route(scripts: Scripts) -> None:
    """Where nobody listens, a message for all is removed."""
    await scripts.put(
        "interests",
        interest("open", "1", "no message"),
        interest("open", "2", "wanted"),
        interest("open", "3", "heard", kind="copy"),
        interest("open", "4", "member", kind="member"),
    )
    asked = ["wanted", "nobody", "member", "heard", "no message"]
    await scripts.put("messages", *(message(one, one, spread="every") for one in asked if one != "no message"))
    await scripts.put("messages", *(message(one, f"{one} 1") for one in asked if one != "no message"))

    assert [one for one, _ in await scripts.ask("route_due", [*asked, "wanted"])] == ["heard", "wanted"]
    assert await scripts.rows("messages", "message_id") == [
        ("heard",), ("heard 1",), ("member 1",), ("nobody 1",), ("wanted 1",),
    ]  # fmt: skip


async def test_interests_that_a_dispatch_reads(scripts: Scripts) -> None:
    """Those of owners that can receive, those with marks, and of takers without conditions one for each message."""
    for address in ("here", "there"):
        owners = (("open", 1), ("ended", 1), ("reborn", 1), ("outside", 0))
        kinds: dict[str, dict[str, Any]] = {
            "copy": {"kind": "copy"},
            "choosy copy": {"kind": "copy", "where_": WHERE},
            "choosy": {"where_": WHERE},
            "marked": {"where_": WHERE, "compared_to": 0},
            "member": {"kind": "member"},
        }
        await scripts.put(
            "interests",
            *(
                interest(owner, f"{address} {kind}", address, life=life, **columns)
                for owner, life in owners
                for kind, columns in kinds.items()
            ),
            interest("outside", f"{address} third", address, life=0, at=9),
            interest("outside", f"{address} second", address, life=0, at=5),
            interest("open", f"{address} first", address, at=3),
            *(interest(owner, f"{address} none", address, at=1) for owner in ("ended", "reborn")),
        )
        await scripts.put("messages", *(message(address, f"{address} {number}") for number in (1, 2)))
        await scripts.put("addresses", {"address": address, "number": len(address)})

    async def read(limit: int) -> set[tuple[Any, ...]]:
        rows = await scripts.ask("route_interests", ["here"], limit)
        assert len(rows) == len({row[:3] for row in rows})
        return {(row[0], row[2].removeprefix("here "), row[8], row[9]) for row in rows}

    both = {
        (owner, kind, True, 4) for owner in ("open", "outside") for kind in ("copy", "choosy copy", "choosy", "marked")
    }
    marked = {(owner, "marked", False, 4) for owner in ("ended", "reborn")}
    assert await read(10) == both | marked | {("open", "first", True, 4), ("outside", "second", True, 4)}
    assert await read(1) == both | marked | {("open", "first", True, 4)}


ALL = {"c2", "c3", "e2", "e3", "o2", "o3"}
NEW = {"c0", "c1", "o0", "o1"}
"""Those that were compared, which others may fit."""
READ: dict[str, tuple[list[dict[str, Any]], set[str], int | None]] = {
    "nobody": ([], {"e2", "e3"}, None),
    "member": ([{"kind": "member", "where_": WHERE}], {"e2", "e3"}, None),
    "taker": ([{}, {"kind": "member", "where_": WHERE}], {"c0", "c2", "e2", "e3", "o0", "o2"}, None),
    "listener": ([{"kind": "copy"}], {"c0", "c1", "c2", "c3", "e2", "e3"}, None),
    "choosy": ([{"where_": WHERE, "compared_to": 1}, {"kind": "member"}], ALL, 1),
    "less compared": ([{"where_": WHERE, "compared_to": 0}], ALL | {"c1", "o1"}, 0),
    "not compared": ([{"where_": WHERE}], ALL | NEW, -1),
    "all compared": ([{"where_": WHERE, "compared_to": LAST}], ALL, LAST),
    "choosy listener": ([{"kind": "copy", "where_": WHERE}], ALL | NEW, -1),
}
"""The interests at an address, the messages that are read there, and up to when they were compared."""


async def test_messages_that_a_dispatch_reads(scripts: Scripts) -> None:
    """No more than could have receivers, and no projection where nobody looks into it."""
    for address, (interests, _, _) in READ.items():
        await scripts.put(
            "interests",
            *(interest("open", f"{address} {number}", address, **one) for number, one in enumerate(interests)),
        )
        await scripts.put(
            "messages",
            *(
                message(address, f"{letter}{at} {address}", spread=spread, at=at, compared=at < 2, projection=b"p")
                for letter, spread in (("c", "channel"), ("e", "every"), ("o", "one"))
                for at in (3, 2, 1, 0)
            ),
        )

    for address, (interests, read, least) in READ.items():
        rows = await scripts.ask("route_messages", [address], -1, "", "", 100)
        assert {one.partition(" ")[0] for _, one, *_ in rows} == read, address
        searched = any("where_" in one and one.get("kind") != "member" for one in interests)
        assert {(row[4], row[6]) for row in rows} == {(b"p" if searched else None, least)}, address


async def test_a_page_of_messages(scripts: Scripts) -> None:
    """It begins behind a place: a message may have several. The oldest come first, wherever they are."""
    await scripts.put("interests", *(interest("open", one, one, where_=WHERE) for one in ("a", "b")))
    await scripts.put("messages", *(message(one, f"m{at}", at=at) for at in (3, 2, 1) for one in ("b", "a")))

    async def page(at: int, after: str, address: str, limit: int) -> list[str]:
        return [
            f"{one} {place}"
            for place, one, *_ in await scripts.ask("route_messages", ["a", "b"], at, after, address, limit)
        ]

    assert await page(-1, "", "", 100) == ["m1 a", "m1 b", "m2 a", "m2 b", "m3 a", "m3 b"]
    assert await page(-1, "", "", 3) == ["m1 a", "m1 b", "m2 a"]
    assert await page(2, "m2", "a", 2) == ["m2 b", "m3 a"]


def columns(*rows: tuple[Any, ...]) -> list[list[Any]]:
    return [list(one) for one in zip(*rows, strict=True)]


NOT_THERE = (
    ("ended", 1, "ended", "here"), ("reborn", 1, "reborn", "here"), ("open", 2, "right", "here"),
    ("open", 1, "wrong", "here"), ("open", 1, "right", "there"),
)  # fmt: skip
"""Interests as a dispatch has read them, which have changed: their owner, their life, or where they stand."""


async def put_interests(scripts: Scripts, kind: str) -> None:
    await scripts.put(
        "interests",
        *(interest(one, one, "here", kind=kind) for one in ("ended", "reborn")),
        interest("open", "right", "here", kind=kind),
        interest("open", "other", "here", kind=kind),
        interest("outside", "right", "here", kind=kind, life=0),
    )
    await scripts.put("messages", *(message(one, "m", at=5) for one in ("here", "there")))


@pytest.mark.parametrize(("number", "times"), [(None, (5, None)), (9, (9, 5))])
async def test_a_take(scripts: Scripts, number: int | None, times: tuple[int, int | None]) -> None:
    await put_interests(scripts, "take")
    takes = [(*one, number) for one in (*NOT_THERE, ("open", 1, "right", "here"))]

    found = await scripts.ask(
        "route_take", *columns(*((owner, life, one, "m", at, here, "m", 1) for owner, life, one, here, at in takes))
    )

    assert found == [("open", 1, "m")]
    assert await scripts.rows("inbox", "instance_id, delivery_id, at, posted_at") == [("open", "m", *times)]
    assert await scripts.rows("messages", "address") == [("there",)]
    assert [one for _, one in await scripts.rows("interests", "owner, interest_id")] == [
        "ended", "other", "right", "reborn",
    ]  # fmt: skip


async def test_who_waits_in_a_line_of_a_lane_takes_a_message_of_the_lane(scripts: Scripts) -> None:
    line = "l/k/1/a/\x1fJacme"
    await scripts.put("interests", interest("open", "place", line, kind="take"))
    await scripts.put("messages", message("l/k/1/a/", "m", at=5))

    found = await scripts.ask("route_take", *columns(("open", 1, "place", "told", 9, line, "m", 1)))

    assert found == [("open", 1, "told")]
    assert await scripts.rows("inbox", "delivery_id, at, interest, address") == [("told", 9, "place", "l/k/1/a/")]
    assert await scripts.rows("messages", "address") == await scripts.rows("interests", "address") == []


async def test_who_has_a_place_takes_a_message_of_the_lane(scripts: Scripts) -> None:
    await scripts.put("interests", interest("open", "place", "p/k/1/a/", kind="member"))
    await scripts.put("messages", message("l/k/1/a/", "m", at=5))

    found = await scripts.ask("route_take", *columns(("open", 1, "place", "told", 9, "p/k/1/a/", "m", 1)))

    assert found == [("open", 1, "told")]
    assert await scripts.rows("inbox", "delivery_id, at, interest, address") == [("told", 9, "place", "l/k/1/a/")]
    assert await scripts.rows("messages", "address") == await scripts.rows("interests", "address") == []


async def test_a_take_of_what_lies_there(scripts: Scripts) -> None:
    """It was posted twice. The interest waits for another message."""
    await put_interests(scripts, "take")
    await scripts.put("inbox", {"instance_id": "open", "delivery_id": "m"})

    assert await scripts.ask("route_take", *columns(("open", 1, "right", "m", None, "here", "m", 1))) == []
    assert ("open", "right") in await scripts.rows("interests", "owner, interest_id")
    assert await scripts.rows("messages", "address") == [("there",)]


async def test_copies(scripts: Scripts) -> None:
    await put_interests(scripts, "copy")
    await scripts.put("interests", interest("open", "take", "here"))
    await scripts.put("letters", {"subscriber": "outside", "letter_id": "old"})
    copied = (*NOT_THERE, ("open", 1, "take", "here"))

    async def copies(owner: str, life: int, one: str, here: str, copy_id: str) -> list[tuple[Any, ...]]:
        return await scripts.ask("route_copy", *columns((owner, life, one, copy_id, 9, here, "m")))

    assert [await copies(*one, "c") for one in copied] == [[]] * len(copied)
    assert await copies("open", 1, "right", "here", "c") == [("open", True, "c")]
    assert await copies("outside", 0, "right", "here", "old") == []
    assert await copies("outside", 0, "right", "here", "new") == [("outside", False, "new")]


async def put_mail(scripts: Scripts) -> None:
    """Two messages for each of several instances that do not count them."""
    await scripts.put(
        "instances",
        {"instance_id": "kept", "owner": "somebody"},
        {"instance_id": "stuck", "status": "stuck"},
        {"instance_id": "third", "signals": 7},
    )
    names = ("open", "ended", "kept", "stuck", "third")
    await scripts.put(
        "inbox",
        *(
            {"instance_id": name, "delivery_id": one, "counted": one == "c", "number": LAST}
            for name in names
            for one in ("a", "b", "c")
        ),
    )


async def counted(scripts: Scripts) -> dict[str, tuple[int, bool, list[str]]]:
    """Of each instance: its counter, whether it is due, and what was numbered."""
    mail = await scripts.rows("inbox", "instance_id, delivery_id, number")
    return {
        name: (
            signals,
            wakes,
            [f"{one}{number}" for owner, one, number in mail if owner == name and number < LAST],
        )
        for name, signals, wakes in await scripts.rows("instances", "instance_id, signals, wake_at is not null")
    }


NAMED = [(name, one) for name in ("open", "ended", "kept", "stuck") for one in ("a", "c")]


@pytest.mark.parametrize("script", ["route_count", "count_mail"])
async def test_counting(scripts: Scripts, script: str) -> None:
    """What is not counted yet; nobody is woken who has an owner, or does not go on with mail."""
    await put_mail(scripts)

    answer = await scripts.ask(script, *columns(*NAMED))

    over = script == "route_count"
    names = ("ended", "kept", "open", "stuck")
    assert sorted(answer) == ([(name, name == "ended") for name in names] if over else [(name,) for name in names])
    assert await counted(scripts) == {
        "open": (1, True, ["a1"]),
        "ended": (0, False, []) if over else (1, False, ["a1"]),
        "kept": (1, False, ["a1"]),
        "stuck": (1, False, ["a1"]),
        "first": (6, False, []),
        "third": (7, False, []),
        "reborn": (0, False, []),
    }


async def test_counting_in_a_sweep(scripts: Scripts) -> None:
    """By a worker that is alive, and of messages that are at least five seconds old."""
    await put_mail(scripts)
    await scripts.put("workers", {"token": "alive"}, {"token": "dead", "dead": True})
    await scripts.put(
        "inbox", {"instance_id": "third", "delivery_id": "new", "counted": False, "number": LAST, "at": LAST}
    )

    assert await scripts.ask("sweep_mail", "dead") == await scripts.ask("sweep_mail", "nobody") == []
    assert len(await scripts.ask("sweep_mail", "alive")) == 5
    assert await counted(scripts) == {
        "open": (2, True, ["a1", "b1"]),
        "ended": (2, False, ["a1", "b1"]),
        "kept": (2, False, ["a1", "b1"]),
        "stuck": (2, False, ["a1", "b1"]),
        "third": (9, True, ["a8", "b8"]),
        "first": (6, False, []),
        "reborn": (0, False, []),
    }


async def test_the_oldest_mail_is_counted_first(scripts: Scripts) -> None:
    await scripts.put("workers", {"token": "alive"})
    await scripts.sql(
        "insert into romancy_inbox (at, counted, instance_id, delivery_id, body) "
        "select n, false, 'open', n::text, '' from generate_series(1001, 1, -1) as n"
    )

    await scripts.ask("sweep_mail", "alive")

    assert [one for one in await scripts.rows("inbox", "counted, delivery_id") if not one[0]] == [(False, "1001")]


async def test_marks(scripts: Scripts) -> None:
    """What has changed since it was read is compared again."""
    same = ("open", 1, "right", "here", WHERE)
    changed = [
        ("open", 1, "moved", "there", WHERE), ("open", 1, "copy", "here", WHERE), ("open", 1, "where", "here", b"{}"),
        ("open", 2, "life", "here", WHERE), ("reborn", 1, "owner", "here", WHERE), ("open", 1, "gone", "here", WHERE),
    ]  # fmt: skip
    await scripts.put(
        "interests",
        *(
            interest("open", one, "here", where_=WHERE, kind="copy" if one == "copy" else "take")
            for one in ("right", "other", "moved", "copy", "where", "life", "owner")
        ),
        interest("other", "right", "here", where_=WHERE),
        interest("open", "right", "here", where_=WHERE, life=3),
    )
    await scripts.put("messages", *(message(here, one) for here in ("here", "there") for one in ("m", "n", "o")))

    messages = columns(("here", "m", 1), ("here", "n", 2))
    for one in (*changed, same):
        await scripts.run("route_mark", *messages, *columns(one), 7)

    assert await scripts.rows("messages", "compared, address, message_id") == [
        (False, "here", "n"), (False, "here", "o"), (False, "there", "m"), (False, "there", "n"), (False, "there", "o"),
        (True, "here", "m"),
    ]  # fmt: skip
    marked = await scripts.rows("interests", "compared_to, owner, life, interest_id")
    assert [one for one in marked if one[0] >= 0] == [(7, "open", 1, "right")]


REGISTERED: dict[str, tuple[tuple[str, str, bytes], tuple[bool, int]]] = {
    "the same": (("here", "take", WHERE), (True, 5)),
    "other conditions": (("here", "take", b"{}"), (True, -1)),
    "another address": (("there", "take", WHERE), (False, -1)),
    "another kind": (("here", "copy", WHERE), (False, -1)),
}
"""What an interest becomes; whether it keeps its place in the queue, and its marks."""


@pytest.mark.parametrize("what", REGISTERED)
@pytest.mark.parametrize("script", ["register_interest", "interests_change"])
async def test_an_interest_that_is_registered_again(scripts: Scripts, script: str, what: str) -> None:
    wanted, (keeps, compared) = REGISTERED[what]
    standing = [("open", 1, "i"), ("open", 1, "j"), ("open", 2, "i"), ("other", 1, "i")]
    await scripts.put(
        "interests",
        *(interest(owner, one, "here", life=life, where_=WHERE, compared_to=5) for owner, life, one in standing),
    )

    if script == "register_interest":
        assert await scripts.ask(script, "open", 1, "i", *wanted, None) == [(True, True)]
    else:
        await scripts.run(script, *columns(("open", 1, "j")), *columns(("open", 1, "i", *wanted, 0)))
        standing.remove(("open", 1, "j"))

    found = await scripts.rows("interests", "owner, life, interest_id, address, kind, where_, at = 1, compared_to")
    unchanged = [(*one, "here", "take", WHERE, True, 5) for one in standing[1:]]
    assert found == sorted([("open", 1, "i", *wanted, keeps, compared), *unchanged])


async def test_kinds_that_exclude_each_other(scripts: Scripts) -> None:
    """Those of owners that are there count."""
    await scripts.put(
        "interests",
        *(interest(owner, "c", "over", kind="copy") for owner in ("ended", "reborn")),
        *(interest("open", kind, "both", kind=kind) for kind in ("copy", "member")),
        interest("open", "t", "taken"),
        interest("open", "m", "elsewhere", kind="copy"),
    )

    async def register(owner: str, address: str, kind: str, other: str) -> tuple[bool, bool]:
        ((there, allowed),) = await scripts.ask(
            "register_interest", owner, 1, f"{address} new", address, kind, None, other
        )
        return there, allowed

    assert await register("ended", "free", "copy", "member") == (False, False)
    assert await register("reborn", "free", "copy", "member") == (False, False)
    assert await register("open", "over", "member", "copy") == (True, True)
    assert await register("open", "taken", "member", "copy") == (True, True)
    assert await register("open", "both", "copy", "member") == (True, False)
    assert await register("open", "both", "member", "copy") == (True, False)


async def test_interests_at_an_address(scripts: Scripts) -> None:
    await scripts.put(
        "interests",
        interest("open", "b", "here"), interest("open", "a", "here"), interest("open", "z", "here", at=0),
        interest("ended", "a", "here"), interest("reborn", "a", "here"), interest("outside", "c", "here", life=0),
        interest("open", "there", "there"),
    )  # fmt: skip

    assert [one[:3] for one in await scripts.ask("interests", "here")] == [
        ("open", 1, "z"), ("open", 1, "a"), ("open", 1, "b"), ("outside", 0, "c"),
    ]  # fmt: skip


async def test_what_goes_back(scripts: Scripts) -> None:
    """Nothing of another life. What was posted again stays as it is."""
    await scripts.put(
        "inbox",
        *(
            {"instance_id": "open", "delivery_id": one, "address": "here", "interest": "i", "spread": "one"}
            for one in "ab"
        ),
    )
    await scripts.put("messages", message("here", "a", body=b"again"), message("here", "c", body=b"again"))
    await scripts.put(
        "letters",
        *(
            {"subscriber": "s", "letter_id": one, "message_id": one, "address": "here", "spread": "one", "posted_at": 1}
            for one in "cd"
        ),
    )

    assert await scripts.ask("give_back", "open", 2, ["a", "b"], None) == [(0,)]
    assert await scripts.ask("give_back", "open", 1, ["a", "x"], None) == [(1,)]
    assert await scripts.ask("letters_back", "s", ["c", "d"]) == [(2,)]
    assert await scripts.rows("messages", "message_id, body") == [("a", b"again"), ("c", b"again"), ("d", b"1")]


async def test_lists_of_letters_and_messages(scripts: Scripts) -> None:
    times = (("c", 1), ("a", 2), ("b", 1))
    await scripts.put("letters", *({"subscriber": "s", "letter_id": one, "at": at} for one, at in times))
    await scripts.put("letters", {"subscriber": "t", "letter_id": "a"})
    await scripts.put("messages", *(message(here, one) for one in ("c", "a", "b") for here in ("y", "x")))

    assert [one for one, *_ in await scripts.ask("letters", "s", 10)] == ["b", "c", "a"]
    assert [one for one, *_ in await scripts.ask("letters", "s", 2)] == ["b", "c"]
    assert [one for one, *_ in await scripts.ask("kept", "a", 1)] == ["b", "b"]
    assert [one for one, *_ in await scripts.ask("kept", "", 3)] == ["a", "a", "b", "b"]
    assert [one for one, *_ in await scripts.ask("kept_at", "x", "a", 1)] == ["b"]


async def test_what_expires(scripts: Scripts) -> None:
    await scripts.put(
        "interests",
        *(interest("open", f"{here} {number}", here) for here in ("wanted", "numbered") for number in (1, 2)),
        interest("s wanted", "1", "x", life=0),
        interest("s wanted", "2", "x", life=0),
        interest("s", "1", "x"),
    )
    old = [message(here, f"m{at}", at=at) for here in ("here", "wanted") for at in (3, 2, 1, 0)]
    await scripts.put("messages", *old, message("kept", "m9", at=9), message("kept", "m8", at=8))
    await scripts.put(
        "letters",
        *({"subscriber": one, "letter_id": f"l{at}", "at": at} for one in ("s", "s wanted") for at in (3, 2, 0, 1)),
    )
    addresses = ("numbered", "kept", "free 1", "free 2", "free 3")
    await scripts.put("addresses", *({"address": one, "number": 2 if one != "free 3" else 3} for one in addresses))

    assert await scripts.ask("expire", 3, 2) == [(4,)]
    assert await scripts.rows("messages", "address, message_id") == [
        ("here", "m2"), ("here", "m3"), ("kept", "m8"), ("kept", "m9"), *(("wanted", f"m{at}") for at in range(4)),
    ]  # fmt: skip
    assert await scripts.rows("letters", "subscriber, letter_id") == [
        ("s", "l2"), ("s", "l3"), *(("s wanted", f"l{at}") for at in range(4)),
    ]  # fmt: skip
    assert await scripts.ask("expire", 3, 9) == [(2,)]
    assert await scripts.run("expire_addresses", 3, 1) == 1
    assert await scripts.run("expire_addresses", 3, 9) == 1
    assert await scripts.rows("addresses", "address") == [("free 3",), ("kept",), ("numbered",)]


async def test_notes_that_say_nothing_more_go(scripts: Scripts) -> None:
    await scripts.put("interests", *(interest(one, one, one) for one in ("a/1", "b/1", "b/2", "b/3", "c/1")))

    assert await scripts.run("expire_notes", "b/3", 1) == 1
    assert await scripts.run("expire_notes", "b/3", 9) == 1
    assert await scripts.rows("interests", "address") == [("a/1",), ("b/3",), ("c/1",)]


async def test_addresses_that_a_sweep_looks_at(scripts: Scripts) -> None:
    await scripts.put("messages", *(message(one, f"{one} {at}", at=at) for at, one in enumerate("cadb")))
    await scripts.put("messages", message("a", "again"))
    await scripts.put(
        "interests",
        *(interest("open", one, one, at=at, kind="member" if one == "z" else "take") for at, one in enumerate("xwyz")),
    )

    assert sorted(await scripts.ask("sweep_newest", 2)) == [("b",), ("d",), ("w",), ("y",)]
    assert await scripts.ask("sweep_addresses", "", 3) == [("a",), ("b",), ("c",)]
    assert await scripts.ask("sweep_addresses", "b", 3) == [("c",), ("d",)]


async def test_owners_that_a_sweep_looks_at(scripts: Scripts) -> None:
    """Those that have ended or are gone, and that still have interests of their own or messages that they took."""
    await scripts.put(
        "instances",
        *(
            {"instance_id": one, "status": "completed", "updated_at": 9 - at}
            for at, one in enumerate(("e1", "e2", "e3", "e4", "e0"))
        ),
        {"instance_id": "last", "updated_at": 9},
    )  # fmt: skip
    for owner in ("e0", "e1", "e4", "open", "reborn", "nobody", "last"):
        await scripts.put("interests", *(interest(owner, one, "x") for one in "ab"))
    await scripts.put("interests", interest("e3", "a", "x", life=0), interest("nobody", "out", "x", life=0))
    for owner, taken in (("e2", "i"), ("e3", None), ("open", "i"), ("last", "i"), ("nothing", "i"), ("e0", "i")):
        await scripts.put("inbox", *({"instance_id": owner, "delivery_id": one, "interest": taken} for one in "ab"))

    async def owners(limit: int, after: str, mail: str) -> tuple[set[str], tuple[str | None, str | None]]:
        *found, (_, *ends) = await scripts.ask("sweep_owners", limit, after, mail)
        return {str(one) for one, *_ in found}, (ends[0], ends[1])

    assert await owners(100, "", "") == (
        {"e0", "e1", "e2", "e4", "reborn", "nobody", "nothing"}, (None, None),
    )  # fmt: skip
    assert await owners(3, "", "") == ({"e0", "e1", "e2"}, ("e1", "e2"))
    assert await owners(3, "e1", "e2") == ({"e1", "e2", "e4", "nothing"}, ("e4", "nothing"))
    assert await owners(5, "e4", "nothing") == ({"e0", "e1", "e2", "e4", "nobody"}, ("nobody", None))


async def test_what_a_sweep_removes(scripts: Scripts) -> None:
    for owner, lives in {
        "open": (1, 2, 0),
        "ended": (1, 2, 0),
        "reborn": (1, 2),
        "gone": (1, 0),
        "other": (1,),
    }.items():
        await scripts.put("interests", *(interest(owner, f"{life}", "x", life=life) for life in lives))
        taken = {"instance_id": owner, "address": "x", "spread": "one"}
        await scripts.put(
            "inbox",
            {**taken, "delivery_id": f"{owner} taken", "interest": "i"},
            {**taken, "delivery_id": f"{owner} copy"},
        )
    await scripts.put("instances", {"instance_id": "other", "status": "completed"})
    await scripts.put("messages", message("x", "gone taken", body=b"again"))

    await scripts.run("sweep_ended", ["open", "ended", "reborn", "gone"])

    assert await scripts.rows("interests", "owner, life") == [
        ("ended", 0), ("gone", 0), ("open", 0), ("open", 1), ("other", 1), ("reborn", 2),
    ]  # fmt: skip
    owners = ("ended", "gone", "open", "other", "reborn")
    copies = [(f"{one} copy",) for one in owners]
    assert await scripts.rows("inbox", "delivery_id") == sorted(
        [*copies, ("open taken",), ("other taken",), ("reborn taken",)]
    )
    assert await scripts.rows("messages", "message_id, body") == [("ended taken", b"1"), ("gone taken", b"again")]
