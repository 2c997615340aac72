"""What the scripts of claims, mail and workers read and change, where each condition meets a row that lacks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.backends.postgres.scripts import Scripts

if TYPE_CHECKING:
    import asyncpg

    from romancy_postgres._store import PostgresStore

pytestmark = [pytest.mark.anyio, pytest.mark.backends("postgres")]

LAST = 2**63 - 1


@pytest.fixture(params=["by index", "without indexes"])
async def scripts(store: PostgresStore, connection: asyncpg.Connection, request: pytest.FixtureRequest) -> Scripts:
    """A worker that is alive, and one that is dead."""
    found = Scripts(store, connection, by_index=request.param == "by index")
    await found.put("workers", {"token": "alive"}, {"token": "dead", "dead": True})
    return found


async def put_instances(scripts: Scripts, **instances: dict[str, Any]) -> None:
    await scripts.put("instances", *({"instance_id": name, **columns} for name, columns in instances.items()))


async def due(scripts: Scripts) -> list[str]:
    return [name for name, wakes in await scripts.rows("instances", "instance_id, wake_at is not null") if wakes]


async def test_what_a_sweep_wakes(scripts: Scripts) -> None:
    """Unseen mail and nobody who looks, work without an owner, and what another version of the code may follow."""
    mail, refused = {"signals": 1}, {"status": "stuck", "refused": ["c1"]}
    await put_instances(
        scripts,
        mail=mail, seen={}, owned=mail | {"owner": "alive"}, later=mail | {"wake_at": LAST},
        over=mail | {"status": "completed"}, parked=mail | refused,
        stranded={"status": "running"}, runs={"status": "running", "owner": "alive"},
        wakes={"status": "running", "wake_at": LAST}, undone={"status": "compensating"}, stops={"status": "cancelling"},
        stuck=refused | {"refused": ["c0"]}, again=refused | {"workflow_name": "other"},
        stuck_owned=refused | {"refused": [], "owner": "alive"}, stuck_later=refused | {"refused": [], "wake_at": LAST},
        unknown=refused | {"refused": [], "workflow_name": "nobody's"},
    )  # fmt: skip
    known = [["flow", "flow", "other", "other"], ["c1", "c1", "c2", "c3"]]
    before = await due(scripts)

    for worker in ("dead", "nobody"):
        assert await scripts.ask("sweep_asleep", worker, *known) == []
    woken = {one for (one,) in await scripts.ask("sweep_asleep", "alive", *known)}

    assert woken == {"mail", "stranded", "undone", "stops", "stuck", "again"}
    assert set(await due(scripts)) == woken | set(before)


async def claim(scripts: Scripts, limit: int = 10, *, recover: bool = False, **more: Any) -> list[tuple[Any, ...]]:
    """What a worker claims that knows two workflows: whether it has mail, and what it gets."""
    defaults: dict[str, Any] = {"worker": "alive", "leave": [], "grace": 0}
    given = defaults | more
    return await scripts.ask(
        "claim", given["worker"], ["flow", "other"], ["c1", "c2"], limit, given["leave"], given["grace"], recover
    )


def names(rows: list[tuple[Any, ...]]) -> list[str]:
    return [row[5] for row in rows if row[5] is not None]


async def test_what_is_claimed_first(scripts: Scripts) -> None:
    """The longest due, and of those the first by name. What a worker owns comes before it, if it asks."""
    await put_instances(
        scripts,
        f={"wake_at": 5}, d={"wake_at": 4, "workflow_name": "other"}, e={"wake_at": 4}, a={"wake_at": 9},
        b={"wake_at": 3}, c={"wake_at": 3, "workflow_name": "other"},
        owned={"owner": "alive"}, theirs={"owner": "dead"},
    )  # fmt: skip

    assert names(await claim(scripts, 3)) == ["b", "c", "d"]
    assert names(await claim(scripts, 2, recover=True)) == ["b", "c", "d", "owned", "e", "f"]
    assert names(await claim(scripts, worker="dead", recover=True)) == []
    assert names(await claim(scripts, 1)) == ["a"]


async def test_what_a_worker_leaves_to_others(scripts: Scripts) -> None:
    """Code that it should leave, for a while, and what could not be followed; it hears when that is over."""
    await put_instances(scripts, left={"wake_at": 1, "code": "c9"}, refused={"wake_at": 1, "refused": ["c1"]})

    rows = await claim(scripts, leave=["c9"], grace=10**15 * 4)
    assert (names(rows), rows[0][3]) == ([], 10**15 * 4 + 1)
    assert names(await claim(scripts, leave=["c9"], grace=1)) == ["left"]


async def test_when_a_worker_asks_again(scripts: Scripts) -> None:
    """When the next instance is due, however many are."""
    first = 10**15 * 4
    await put_instances(scripts, **{f"i{number}": {"wake_at": first - number} for number in range(10)})

    assert (await claim(scripts))[0][3] == first - 9


async def boxes(scripts: Scripts, fresh: list[str], unknown: list[str], **more: Any) -> dict[str, tuple[Any, ...]]:
    """Mailboxes: whether it was just claimed, its size, the head of its log with the writer, and the log."""
    defaults: dict[str, Any] = {"commits": 10, "bytes": 5, "kept": {}}
    given = defaults | more
    values = [given["commits"], given["bytes"], list(given["kept"]), list(given["kept"].values())]
    rows = await scripts.ask("mailboxes", "alive", fresh, unknown, *values)
    assert len(rows) == len({row[0] for row in rows})
    return {row[0]: row[3:] for row in rows}


async def test_mailboxes_that_are_read(scripts: Scripts) -> None:
    """Those with news, those that were just claimed, and those whose mail is not known; all are the worker's own."""
    mine = {"owner": "alive"}
    await put_instances(
        scripts,
        news=mine | {"signals": 1}, quiet=mine, claimed=mine, asked=mine, theirs={"owner": "dead", "signals": 1},
        wrong={"owner": "dead"},
    )  # fmt: skip

    found = await boxes(scripts, ["claimed", "wrong"], ["asked", "wrong"])

    assert {name: row[0] for name, row in found.items()} == {"news": False, "claimed": True, "asked": False}


async def test_the_size_of_mailboxes(scripts: Scripts) -> None:
    """Of what the worker does not keep. A counter that has fallen below what it keeps begins anew."""
    mine = {"owner": "alive", "signals": 3, "life": 2}
    await put_instances(scripts, kept=mine, fallen=mine, other=mine)
    await scripts.put(
        "inbox",
        *(
            {"instance_id": name, "delivery_id": f"{number}", "number": number, "body": b"1" * number}
            for name in ("kept", "fallen", "other")
            for number in (1, 2, 3)
        ),
    )

    found = await boxes(scripts, [], [], kept={"kept": 2, "fallen": 4})

    assert {name: row[1] for name, row in found.items()} == {"kept": 4, "fallen": 9, "other": 9}
    found = await boxes(scripts, [], [], kept={"kept": 3, "other": 0})
    assert {name: row[1] for name, row in found.items()} == {"kept": 0, "fallen": 9, "other": 9}


async def test_the_logs_of_what_was_claimed(scripts: Scripts) -> None:
    """The present run of the present life, if it is short. A row may be newer than what the instance knows."""
    mine = {"owner": "alive", "life": 2, "last_seq": 2}
    await put_instances(
        scripts, whole=mine, run=mine | {"run_from": 2}, long=mine | {"last_seq": 9}, known=mine | {"signals": 1},
    )  # fmt: skip
    await scripts.put(
        "log",
        *(
            {"instance_id": name, "life": life, "seq": seq, "writer": f"{life} {seq}", "body": body}
            for name in ("whole", "run", "long", "known", "foreign")
            for life in (2, 1, 3)
            for seq, body in ((3, b"three"), (2, b"second"), (1, b"one"), (4, b"x"))
            if seq < 4 or life != 2 or name == "foreign"
        ),
    )

    found = await boxes(scripts, ["whole", "run", "long"], [], commits=3)

    assert {name: row[2:] for name, row in found.items()} == {
        "whole": (3, "2 3", [b"one", b"three"]),
        "run": (3, "2 3", [b"three"]),
        "long": (9, None, None),
        "known": (None, None, None),
    }
    assert (await boxes(scripts, ["whole"], [], commits=2))["whole"][2:] == (3, "2 3", None)
    assert (await boxes(scripts, ["run"], [], commits=1))["run"][2:] == (3, "2 3", None)


async def test_mail_that_is_read(scripts: Scripts) -> None:
    await scripts.put(
        "inbox",
        *(
            {"instance_id": name, "delivery_id": one, "number": number}
            for name in ("b", "a", "c")
            for one, number in (("z", 1), ("y", 2), ("x", 3))
        ),
    )

    found = [row[:2] for row in await scripts.ask("mail", ["b", "a"], [1, 0])]

    assert found == [("a", "x"), ("a", "y"), ("a", "z"), ("b", "x"), ("b", "y")]


async def beat(scripts: Scripts, token: str, *, registered: bool) -> list[tuple[Any, ...]]:
    return await scripts.ask("beat", token, "w", 1, [], "b", "n", 1, 1, *(False, registered))


async def test_heartbeats(scripts: Scripts) -> None:
    """A row that a worker had does not come again, whoever else has one."""
    assert await beat(scripts, "gone", registered=True) == []
    assert await beat(scripts, "dead", registered=True) == []
    assert await beat(scripts, "alive", registered=True) == [(2,)]
    assert await beat(scripts, "new", registered=False) == [(1,)]
    assert await scripts.rows("workers", "token, beat") == [("alive", 2), ("dead", 1), ("new", 1)]


async def test_peers(scripts: Scripts) -> None:
    """The others, if they are alive or own something."""
    await scripts.put("workers", {"token": "other"}, {"token": "owner", "dead": True})
    await put_instances(scripts, a={"owner": "owner"}, b={"owner": "owner"}, c={"owner": "alive"})

    async def peers(token: str) -> tuple[bool, set[str | None]]:
        rows = await scripts.ask("peers", token)
        return rows[0][1], {row[2] for row in rows}

    assert await peers("alive") == (True, {"other", "owner"})
    assert await peers("dead") == (False, {"alive", "other", "owner"})


DECLARED = [
    ("alive", "other", 1, 1), ("alive", "other", 2, 0), ("alive", "dead", 2, 1), ("dead", "other", 1, 0),
    ("nobody", "other", 1, 0), ("alive", "nobody", 1, 0),
]  # fmt: skip
"""Who declares whom dead, at which beat, and whether it is done."""


@pytest.mark.parametrize(("asking", "suspect", "number", "done"), DECLARED)
async def test_who_may_be_declared_dead(scripts: Scripts, asking: str, suspect: str, number: int, done: int) -> None:
    await scripts.put("workers", {"token": "other"}, {"token": "third"})

    assert await scripts.run("declare_dead", asking, suspect, number) == done

    dead = {token for token, dead in await scripts.rows("workers", "token, dead") if dead}
    assert dead == {"dead", *([suspect] if done else [])}


async def free(scripts: Scripts, worker: str, limit: int, *ids: str) -> list[str]:
    return [one for (one,) in await scripts.ask("free", "dead", worker, limit, "writer", b"[]", not ids, list(ids))]


async def test_what_a_dead_worker_leaves(scripts: Scripts) -> None:
    """Its instances come free in order, by a worker that is alive, if the log takes the entry."""
    theirs = {"owner": "dead"}
    await put_instances(
        scripts,
        aa={"owner": "alive"},
        d=theirs,
        b=theirs,
        a=theirs,
        mine={"owner": "alive"},
        c=theirs | {"last_seq": 5},
    )
    await scripts.put("log", *({"instance_id": "b", "seq": seq, "life": life} for life in (1, 2) for seq in (life, 3)))

    assert await free(scripts, "dead", 9) == await free(scripts, "nobody", 9) == []
    assert [row[0] for row in await scripts.ask("free_apart", "dead", 2)] == ["a", "b"]
    assert await free(scripts, "alive", 9, "d", "mine") == ["d"]
    assert sorted(await free(scripts, "alive", 2)) == ["a", "b"]
    assert await scripts.rows("log", "instance_id, seq, writer") == [
        ("a", 2, "writer"), ("b", 1, "w"), ("b", 2, "w"), ("b", 3, "w"), ("b", 3, "w"), ("b", 4, "writer"),
        ("d", 2, "writer"),
    ]  # fmt: skip
    assert await free(scripts, "alive", 9) == ["c"]
    assert await scripts.ask("still_owned", "dead") == []


async def test_what_waits_in_a_line_is_left_to_the_turns(scripts: Scripts) -> None:
    """Of one workflow in the order of the lines, and not what is not due, is refused, or is left to others."""
    await put_instances(
        scripts,
        plain={"wake_at": 1}, second={"wake_at": 5, "fair_line": "a"}, first={"wake_at": 4, "fair_line": "a"},
        third={"wake_at": 3, "fair_line": "b"}, beyond={"wake_at": 3, "fair_line": "c"},
        high={"wake_at": 3, "fair_line": "a", "priority": 1}, later={"wake_at": 10**16, "fair_line": "a"},
        refused={"wake_at": 1, "fair_line": "a", "refused": ["c1"]},
        left={"wake_at": 1, "fair_line": "a", "code": "c9"},
        unknown={"wake_at": 1, "fair_line": "a", "workflow_name": "third"},
    )  # fmt: skip
    known = ["flow", "other"], ["c1", "c2"], ["c9"], 10**15 * 4

    assert names(await claim(scripts)) == []
    assert (await claim(scripts))[0][4] is True
    assert await scripts.ask("turn_priorities") == [(0,), (1,)]
    found = await scripts.ask("turn_of_keys", *known, 0, "a", "c", 10)
    assert [row[1:] for row in found] == [("a", "first", 4), ("a", "second", 5), ("b", "third", 3)]
    assert len(await scripts.ask("turn_of_keys", *known, 0, "a", "c", 2)) == 2
    assert [row[1:] for row in await scripts.ask("turn_of_none", *known, 0, 10)] == [("", "plain", 1)]


async def test_what_was_chosen_is_taken_if_it_is_due_still(scripts: Scripts) -> None:
    await put_instances(
        scripts, a={"wake_at": 1, "fair_line": "a"}, b={"wake_at": None}, c={"wake_at": 10**16}, d={"wake_at": 1}
    )

    assert await scripts.ask("claim_chosen", "dead", ["a", "b", "c"]) == []
    assert [row[0] for row in await scripts.ask("claim_chosen", "alive", ["a", "b", "c"])] == ["a"]
    assert await scripts.ask("turn_priorities") == [(0,)]
    assert await scripts.ask("turn_of_keys", ["flow"], ["c1"], [], 0, 0, "", "z", 10) == []
