"""What the scripts of upkeep and of reading read and change, where each condition meets a row that lacks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy.storage.columns import GIVEN
from romancy.storage.query import build_query
from romancy.storage.sqlkit.searches import Known, indexed_values
from romancy_postgres._columns import stored_path
from romancy_postgres._connection import PLANNING
from romancy_postgres._find import compose
from tests.backends.postgres.scripts import Scripts

if TYPE_CHECKING:
    import asyncpg

    from romancy_postgres._store import PostgresStore

pytestmark = [pytest.mark.anyio, pytest.mark.backends("postgres")]

OVER = {"status": "completed"}


@pytest.fixture(params=["by index", "without indexes"])
async def scripts(store: PostgresStore, connection: asyncpg.Connection, request: pytest.FixtureRequest) -> Scripts:
    """Empty tables."""
    return Scripts(store, connection, by_index=request.param == "by index")


async def put_instances(scripts: Scripts, **instances: dict[str, Any]) -> None:
    await scripts.put("instances", *({"instance_id": name, **columns} for name, columns in instances.items()))


async def put_interests(scripts: Scripts, *owners: str) -> None:
    """Of each owner, one as an instance and one as a subscriber."""
    rows = ({"owner": one, "life": life, "interest_id": "i", "address": "x"} for one in owners for life in (1, 0))
    await scripts.put("interests", *rows)


async def ids(scripts: Scripts, name: str, *values: object) -> list[str]:
    return [row[0] for row in await scripts.ask(name, *values)]


async def test_what_is_asked_of_the_server(scripts: Scripts) -> None:
    names, wanted = list(PLANNING), list(PLANNING.values())
    ((*_, extensions, kept),) = await scripts.ask("server", [*names, "fsync"], [*wanted, "neither"])
    assert "plpgsql" in dict(extensions)
    assert "fsync" not in kept
    ((_, standby, size, _),) = await scripts.ask("standing")
    assert standby is False
    assert size > 0
    assert len(await scripts.ask("server_settings")) == 7


async def test_what_is_pruned_by_name(scripts: Scripts) -> None:
    """What has ended with one of these statuses until then, with the interests of its own."""
    await put_instances(
        scripts, a=OVER, b=OVER, late=OVER | {"updated_at": 6}, open={}, failed={"status": "failed"}, other=OVER,
    )  # fmt: skip
    await put_interests(scripts, "a", "b", "late", "open", "failed", "other")
    named = ["a", "b", "late", "open", "failed"]

    assert len(await ids(scripts, "prune_named", ["completed", "waiting"], named, 1, 5)) == 1
    assert sorted(await ids(scripts, "prune_named", ["completed", "waiting"], named, 9, 5)) == ["a", "b"]
    assert [one for one, life in await scripts.rows("interests", "owner, life") if life] == [
        "failed", "late", "open", "other",
    ]  # fmt: skip
    assert len(await scripts.rows("interests", "owner")) == 10


async def test_what_is_pruned_by_age(scripts: Scripts) -> None:
    await put_instances(
        scripts, c=OVER | {"updated_at": 3}, b=OVER | {"updated_at": 2}, a=OVER, late=OVER | {"updated_at": 4},
        failed={"status": "failed"}, open={},
    )  # fmt: skip
    await put_interests(scripts, "a", "b", "c", "late", "failed", "open")

    assert sorted(await ids(scripts, "prune_old", ["completed"], 4, 2)) == ["a", "b"]
    assert [one for one, life in await scripts.rows("interests", "owner, life") if life] == [
        "c",
        "failed",
        "late",
        "open",
    ]
    assert sorted(await ids(scripts, "prune_old", ["completed"], 4, 9)) == ["a", "b", "c"]
    assert len(await scripts.rows("interests", "owner")) == 9


async def test_a_life_that_is_replaced(scripts: Scripts) -> None:
    await put_instances(scripts, a=OVER, b=OVER | {"life": 2}, open={}, other=OVER)
    await put_interests(scripts, "a", "b", "open", "other")

    assert await ids(scripts, "hold_former", "b", 1, ["completed"]) == []
    assert await ids(scripts, "hold_former", "a", 1, ["failed"]) == []
    assert await ids(scripts, "hold_former", "open", 1, ["completed", "waiting"]) == []
    assert await ids(scripts, "hold_former", "a", 1, ["completed"]) == ["a"]
    assert [one for one, life in await scripts.rows("interests", "owner, life") if life] == ["b", "open", "other"]
    assert len(await scripts.rows("interests", "owner")) == 7


async def test_what_goes_with_an_instance(scripts: Scripts) -> None:
    """All under its id. What it took is at its address again, unless it was posted there since."""
    for name in ("a", "b"):
        await put_instances(scripts, **{name: OVER})
        await scripts.put("log", {"instance_id": name, "seq": 1})
        await scripts.put("index", {"instance_id": name, "value": "v"})
        await scripts.put("seen", *({"unit": name, "life": life, "dedupe": "k"} for life in (0, 1)))
        taken = {"instance_id": name, "interest": "i", "address": "x", "spread": "one"}
        await scripts.put("inbox", *(taken | {"delivery_id": f"{name} {one}"} for one in ("new", "again")))
        await scripts.put("inbox", {"instance_id": name, "delivery_id": "copy", "address": "x"})
    await scripts.put("messages", {"message_id": "a again", "address": "x", "body": b"again"})

    await scripts.run("prune_chosen", ["a"])

    assert await scripts.rows("messages", "message_id, body") == [("a again", b"again"), ("a new", b"1")]
    assert await scripts.rows("seen", "unit, life") == [("a", 0), ("b", 0), ("b", 1)]
    for table in ("instances", "log", "index", "inbox"):
        assert {one for (one,) in await scripts.rows(table, "instance_id")} == {"b"}, table


async def test_runs_that_are_over(scripts: Scripts) -> None:
    run = {"run_from": 3, "life": 2}
    await put_instances(scripts, a=run, b=run, c=run | {"kept_from": 3}, d=run | {"kept_from": 4})
    rows = ({"instance_id": name, "life": life, "seq": seq} for name in "abcd" for life in (1, 2) for seq in (1, 2, 3))
    await scripts.put("log", *rows)

    assert await scripts.run("prune_runs", 1, 0, 0) == 1
    assert await scripts.run("prune_runs", 9, 0, 0) == 1

    left = await scripts.rows("log", "instance_id, life, seq")
    assert [one for one in left if one[0] in "ab" and one[1] == 2] == [("a", 2, 3), ("b", 2, 3)]
    assert len(left) == 2 + 2 * 3 + 2 * 6
    assert await scripts.rows("instances", "instance_id, kept_from") == [("a", 3), ("b", 3), ("c", 3), ("d", 4)]


async def test_what_runs_that_are_over_wrote_to_streams(scripts: Scripts) -> None:
    """Numbers from 2 on are log lines of other code. The newest row stays, and so does what is not old enough."""
    run = {"run_from": 3, "life": 2}
    await put_instances(scripts, a=run, b=run, c=run | {"kept_from": 3})
    lives = [(name, life) for name in "abc" for life in (1, 2)]
    await scripts.put("log", *({"instance_id": name, "life": life, "seq": 3, "at": 20} for name, life in lives))
    times = {2: 5, 3: 5, 4: 9, 5: 10, 6: 5}
    for name, life in lives:
        told = [number for number in times if name != "b" or number <= 3]
        rows = [{"instance_id": name, "life": life, "number": number, "at": times[number]} for number in told]
        await scripts.put("journal", *rows)

    await scripts.run("prune_runs", 9, 2, 10)

    found = await scripts.rows("journal", "instance_id, life, number")
    assert [number for name, life, number in found if (name, life) == ("a", 2)] == [2, 5, 6]
    assert [number for name, life, number in found if (name, life) == ("b", 2)] == [2, 3]
    assert len(found) == 3 + 2 + 5 + 2 + 5 + 5


async def test_workers_and_keys_that_are_over(scripts: Scripts) -> None:
    """Dead workers for an hour that own nothing, and keys of before a time, so many at once."""
    dead = {"dead": True}
    new = dead | {"beat_at": 2**60}
    await scripts.put(
        "workers", {"token": "gone", **dead}, {"token": "owner", **dead}, {"token": "new", **new}, {"token": "alive"},
    )  # fmt: skip
    await put_instances(scripts, a={"owner": "owner"}, b={"owner": "owner"})
    await scripts.put("seen", *({"unit": f"u{at}", "dedupe": "k", "at": at} for at in (1, 2, 3, 9)))

    await scripts.run("prune_workers")
    assert await scripts.rows("workers", "token") == [("alive",), ("new",), ("owner",)]
    assert await scripts.run("prune_seen", 3, 1) == 1
    assert await scripts.run("prune_seen", 3, 9) == 1
    assert await scripts.rows("seen", "unit") == [("u3",), ("u9",)]


async def test_what_has_a_log(scripts: Scripts) -> None:
    """Page by page; of an id without a row, the life that was written last."""
    await put_instances(scripts, d={}, b={})
    lives = (
        ("d", 1, 1, 9),
        ("d", 5, 2, 9),
        ("a", 1, 1, 5),
        ("a", 3, 1, 6),
        ("a", 2, 1, 5),
        ("a", 2, 2, 6),
        ("c", 1, 1, 1),
    )
    await scripts.put("log", *({"instance_id": one, "life": life, "seq": n, "at": at} for one, life, n, at in lives))
    await scripts.put("log", {"instance_id": "b", "seq": 2}, {"instance_id": "b", "seq": 1})

    async def page(after: str, limit: int) -> list[tuple[Any, ...]]:
        return [(row[0], row[1], row[-1]) for row in await scripts.ask("lives_with_rows", after, limit)]

    assert await page("", 9) == [("a", None, 2), ("b", "b", None), ("c", None, 1), ("d", "d", None)]
    assert await page("a", 2) == [("b", "b", None), ("c", None, 1)]
    assert [row[0] for row in await scripts.ask("log_of_life", "a", 2, 0, 9)] == [1, 2]
    assert [row[0] for row in await scripts.ask("log_of_life", "b", 1, 0, 9)] == [1, 2]
    assert [row[0] for row in await scripts.ask("log_of_life", "b", 1, 0, 1)] == [1]


async def test_a_row_that_is_restored_counts_the_mail_that_was_counted(scripts: Scripts) -> None:
    await scripts.put("log", {"instance_id": "a", "seq": 1})
    mail = (("1", 3), ("2", 2**63 - 1))
    await scripts.put("inbox", *({"instance_id": "a", "delivery_id": one, "number": number} for one, number in mail))
    given_columns = ["f" if kind == "text" else 7 for kind in GIVEN.values()]
    lost = ("a", 1, "waiting", 1, 1, None, None, 1, 1, b"1", False, 0, 0, *given_columns)

    assert await ids(scripts, "restore_instances", *([one] for one in lost)) == ["a"]
    assert await scripts.rows("instances", "signals, seen") == [(3, 0)]


async def test_paths_of_a_new_run(scripts: Scripts) -> None:
    """They become known, and take the place of the old ones; a run that declares none keeps them."""
    await put_instances(scripts, a={"index_paths": "p"}, b={"index_paths": "p"}, c={"index_paths": "p"})
    await scripts.put("index", *({"instance_id": one, "value": "v"} for one in "abc"))
    await scripts.put(
        "index_sets",
        {"workflow_name": "flow", "paths": "p"},
        {"workflow_name": "other", "paths": "q", "members": ["q"]},
    )

    renewed = [["a", "b"], [2, 2], [b"2", None], [None, None], ["q", None], ["q", None]]
    assert await scripts.run("renew_runs", *renewed) == 2

    assert await scripts.rows("index", "instance_id") == [("b",), ("c",)]
    assert await scripts.rows("instances", "instance_id, run_from, input, index_paths") == [
        ("a", 2, b"2", "q"), ("b", 2, b"1", "p"), ("c", 1, b"1", "p"),
    ]  # fmt: skip
    assert await scripts.rows("index_sets", "workflow_name, paths") == [("flow", "p"), ("flow", "q"), ("other", "q")]
    assert sorted(await ids(scripts, "other_sets", "p", None)) == ["flow", "other"]
    assert await ids(scripts, "other_sets", "p", ["other"]) == ["other"]


async def test_why_appends_were_refused(scripts: Scripts) -> None:
    """In the order in which they were asked about."""
    await scripts.put("workers", {"token": "alive"}, {"token": "dead", "dead": True})
    await put_instances(scripts, a={"signals": 1}, b={"life": 2, "signals": 2})
    rows = [(name, life, seq) for name in "abc" for life in (2, 1) for seq in (2, 1)]
    await scripts.put(
        "log", *({"instance_id": one, "life": life, "seq": n, "writer": f"{one}{life}{n}"} for one, life, n in rows)
    )
    await scripts.put("inbox", *({"instance_id": one, "delivery_id": mail} for one in "ab" for mail in ("x", "y")))

    found = await scripts.ask(
        "explain_appends", "alive", ["b", "c", "a"], [2, 1, 1], [2, 3, 3], ["a", "a", "b"], ["x", "y", "y"],
    )  # fmt: skip
    assert [row[1:] for row in found] == [
        ("b22", "b21", True, 2, "waiting", 2, False, 1), (None, "c12", True, None, None, None, False, 0),
        (None, "a12", True, 1, "waiting", 1, False, 2),
    ]  # fmt: skip
    found = await scripts.ask("explain_firsts", ["b", "c", "a", "d"], [2, 1, 1, 1], ["alive", "dead", "gone", "alive"])
    assert [row[1:] for row in found] == [
        (2, "waiting", "b21", True), (None, None, "c11", False), (1, "waiting", "a11", False), (None, None, None, True),
    ]  # fmt: skip
    assert await scripts.ask("last_commits", ["a", "b"], [1, 2], [2, 1]) == [
        ("a", 2, "a12", b"1", 1), ("b", 1, "b21", b"1", 1),
    ]  # fmt: skip


async def test_names_of_workflows(scripts: Scripts) -> None:
    names = ("Zed", "abc", "zoo", "ABC", "abc", "x")
    await put_instances(scripts, **{f"{number}": {"workflow_name": one} for number, one in enumerate(names)})

    assert await ids(scripts, "workflow_names", "") == ["ABC", "Zed", "abc", "x", "zoo"]
    assert await ids(scripts, "workflow_names", "b") == ["ABC", "abc"]
    assert await ids(scripts, "workflow_names", "z") == ["Zed", "zoo"]


async def test_pages_of_logs(scripts: Scripts) -> None:
    """Up to so many rows, and so many bytes behind the first row."""
    await put_instances(scripts, a={"life": 2})
    rows = [(life, n) for life in (2, 1, 3) for n in (4, 3, 2, 1)]
    await scripts.put("log", *({"instance_id": "a", "life": life, "seq": n, "body": b"12"} for life, n in rows))

    async def page(after: int, limit: int, size: int) -> tuple[list[int] | None, bool | None]:
        ((*_, seqs, writers, bodies, ats, more),) = await scripts.ask("read", "a", after, limit, size)
        assert {len(one or ()) for one in (seqs, writers, bodies, ats)} == {len(seqs or ())}
        return seqs, more

    assert await page(0, 9, 99) == ([1, 2, 3, 4], False)
    assert await page(0, 2, 99) == ([1, 2], True)
    assert await page(1, 2, 99) == ([2, 3], True)
    assert await page(0, 4, 8) == ([1, 2, 3, 4], False)
    assert await page(0, 9, 7) == ([1, 2, 3], True)
    assert await page(0, 9, 1) == ([1], True)
    assert await page(0, 9, 2) == ([1], True)


async def test_pages_of_instances(scripts: Scripts) -> None:
    """Newest first, and those of one moment by their ids."""
    times = (("b", 5), ("a", 5), ("d", 3), ("e", 1), ("c", 4))
    await put_instances(scripts, **{one: {"created_at": at} for one, at in times})

    assert await scripts.ask("place_behind", 6, "", 2) == [(4, "c")]
    assert await scripts.ask("place_behind", 5, "b", 1) == [(4, "c")]
    found = await scripts.ask("tally_slice", 5, "b", 3, 2, 2)
    assert sorted(row[2:] for row in found) == [(2, 1, 3, "d"), (4, 2, 3, "d")]


async def test_the_oldest_of_each_status(scripts: Scripts) -> None:
    await put_instances(scripts, **{f"{at}": {"status": "running", "created_at": at} for at in (3, 2, 4)})

    found = {row[0]: row[1:] for row in await scripts.ask("tally", 2)}

    assert found.pop("running") == (2, 2)
    assert set(found.values()) == {(0, None)}


SEARCHES: dict[str, tuple[dict[str, Any], Known]] = {
    "all": ({}, Known(None, [])),
    "by ids": ({"ids": [f"{number}" for number in range(5)]}, Known(None, [])),
    "by status": ({"status": ["completed", "failed"]}, Known(None, [])),
    "by a value": ({"filters": {"p": "v"}}, Known(None, [("flow", "")])),
    "by end": ({"status": ["completed"], "ended_since": 0}, Known(None, [])),
}


@pytest.mark.parametrize("what", SEARCHES)
async def test_a_search_reads_one_more_than_a_page(
    store: PostgresStore, scripts: Scripts, connection: asyncpg.Connection, what: str
) -> None:
    """By which it knows that there are more, however many pages it is made of."""
    fields, known = SEARCHES[what]
    query = build_query(**fields, limit=2)
    for number in range(12):
        path = "p" if number % 2 else ""
        row = {"status": "failed" if number % 3 else "completed", "projection": '{"p": "s:v"}', "index_paths": path}
        await put_instances(scripts, **{f"{number}": row})
        if path and (indexed := indexed_values(query)) is not None:
            entry = {"instance_id": f"{number}", "path": stored_path(indexed[0]), "value": indexed[1][0]}
            await scripts.put("index", entry)

    text, values = compose(store.database.queries, query, known, by_end=what == "by end")

    assert len(await connection.fetch(text, *values)) == 3


async def test_the_newest_instances_since_a_time(scripts: Scripts) -> None:
    """As many of each status, and of all, as are asked for, by the time of their start."""
    statuses = (
        "pending",
        "running",
        "waiting",
        "completed",
        "failed",
        "cancelling",
        "cancelled",
        "compensating",
        "stuck",
    )
    for status in statuses:
        times = (10, 19, 20, 30, 9)
        await put_instances(scripts, **{f"{status}{at}": {"status": status, "created_at": at} for at in times})

    found = [tuple(row) for row in await scripts.ask("trend", 10, 10, 3)]

    assert sorted(found) == sorted((one, span, 1) for one in statuses for span in (0, 10, 20))
    found = [tuple(row) for row in await scripts.ask("trend", 10, 10, 9)]
    assert sorted(found) == sorted((one, span, 2 if span == 0 else 1) for one in statuses for span in (0, 10, 20))
    every = await scripts.ask("newest", 99, 10, 10)
    assert [sum(row[3] for row in every if row[2] == span) for span in (-1, 0, 10, 20)] == [9, 18, 9, 9]
    newest = await scripts.ask("newest", 9, 10, 10)
    assert [(row[2], row[3]) for row in newest] == [(20, 1)] * 9


async def test_pages_of_mail(scripts: Scripts) -> None:
    rows = [(one, mail) for one in "cba" for mail in "zyx"]
    await scripts.put("inbox", *({"instance_id": one, "delivery_id": mail, "body": b"12"} for one, mail in rows))

    async def page(one: str, mail: str, last: str, limit: int, size: int) -> list[str]:
        return ["".join(row[:2]) for row in await scripts.ask("lying", one, mail, last, limit, size)]

    assert await page("a", "y", "b", 9, 99) == ["az", "bx", "by", "bz"]
    assert await page("a", "", "c", 3, 99) == ["ax", "ay", "az"]
    assert await page("a", "", "c", 9, 4) == ["ax", "ay"]
    assert await page("a", "", "c", 9, 5) == ["ax", "ay", "az"]
