"""This version opens databases of former versions and finishes their running instances."""

from __future__ import annotations

import asyncio
import json
from importlib import resources
from typing import Any

import pytest

from romancy import Romancy, Status, UsageError, Workflow, WorkflowCancelledError
from romancy.errors import WorkflowFailedError
from romancy.registry import Registry
from romancy.serialization import Codecs
from romancy.storage.backends import create_store
from romancy_conformance.invariants import sweep_url
from tests.databases import FILES, HERE, KINDS, digest
from tests.databases import programs as p
from tests.databases.rows import load
from tests.databases.writing import secret_of
from tests.knowing import knowing, package_of

KNOWN: list[Workflow[..., Any]] = [each for each in vars(p).values() if isinstance(each, Workflow)]
VERSIONS = ("first",)
LINE = ["cut", "sew", "write", "hold", "send"]
ANEW = "before the first release make the files anew (tests/databases/README.md); later, write another migration"
SAGA = ["a fund", "between", "a fund", "ship"]

pytestmark = [pytest.mark.anyio, pytest.mark.long]


def test_every_version_is_kept_for_every_database() -> None:
    assert {f"{version}.{kind}.jsonl" for version in VERSIONS for kind in KINDS} == {file.name for file in FILES}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def kept(backend: str, version: str, empty_url: str, monkeypatch: pytest.MonkeyPatch) -> list[p.Call]:
    """The rows of the version in a database of its schema; the activities that had run."""
    with (HERE / f"{version}.{backend}.jsonl").open(encoding="utf-8") as file:
        head = json.loads(next(file))
        rows = list(file)
    with monkeypatch.context() as early:
        have_only(early, backend, head["migrations"])
        store = create_store(empty_url)
        await store.open()
        await store.close()
    upkeep = create_store(empty_url).services.upkeep
    assert bool((await upkeep.plan()).steps) == came_later(backend, head["migrations"]), "the schema is not its own"
    await asyncio.to_thread(load, empty_url, rows)
    p.calls.clear()
    return [p.Call(*call) for call in head["calls"]]


def have_only(early: pytest.MonkeyPatch, backend: str, digests: dict[str, str]) -> None:
    """Limit the adapter to the migrations of the former version. None of their statements has changed since."""
    folder = resources.files(package_of(backend)) / "migrations"
    for name, was in digests.items():
        assert digest((folder / name).read_text(encoding="utf-8")) == was, f"{backend}: {name} was changed; {ANEW}"
    newest = max(int(name[:4]) for name in digests)
    knowing(early, backend, lambda known: [one for one in known if one.version <= newest])


def came_later(backend: str, digests: dict[str, str]) -> bool:
    """Whether there are migrations that the former version did not have."""
    folder = resources.files(package_of(backend)) / "migrations"
    variants = {one: f".{one}.sql" for one in ("mysql", "mariadb", "tidb")}
    foreign = tuple(suffix for one, suffix in variants.items() if one != backend)
    names = {file.name for file in folder.iterdir() if file.name.endswith(".sql")}
    return any(not name.endswith(foreign) for name in names - digests.keys())


# --- what happens to them -----------------------------------------------------------------------------------------

BY_THEMSELVES: dict[str, object] = {
    "line": LINE,
    "fork": ["one", "two", "three"],
    "mail": ["hold", *["word for mail"] * 3],
    "mail known": ["hold", "one", "two"],
    "retrying": "try",
    "beating": [7, 11],
    "limits due": "too late after the limit",
    "limits far": "limited",
    "race": ["word for race", "race"],
    "patched": [True, True],
    "held again": ["a fund", "ship"],
    "nap due": [True, True],
    "hear due": ["too late"],
    "hear mailed": ["word for hear mailed"],
    "parent mailed": ["word for child mailed"],
    "parent of a line": 5,
    "counter mailed": [3, "none"],
    "delayed due": [True, True],
    "completed": [True, True],
    "pending line": LINE,
    "pending nap": [True, True],
    "pending 0": [True, True],
    "pending 1": [True, True],
    "pending 2": [True, True],
    "pending hear": ["too late"],
    "coded at work": [secret_of("coded at work"), "go", secret_of("coded at work")],
    "coded mailed": [secret_of("coded mailed"), "word for coded mailed", secret_of("coded mailed")],
}
BY_A_WORD: dict[str, tuple[str, object]] = {
    "hear": ("hear", ["one", "a word"]),
    "hear far": ("hear far", ["a word"]),
    "parent": ("child", ["a word"]),
    "parent beside": ("child beside", ["beside", "a word"]),
    "counter": ("counter", [3, "none"]),
    "coded at rest": ("coded at rest", [secret_of("coded at rest"), "a word", secret_of("coded at rest")]),
}
"""To which instance the signal is sent, and the result."""
AFTER_MORE: dict[str, object] = {
    "parent again": ["before", "a fund", "ship"],
    "child again": ["a fund", "ship"],
    "begun by a word": ["hold", "one"],
    "pending by name": LINE,
}
CANCELLED = ("cancelled", "terminated", "cleaning", "cancel asked", "parent cancel asked", "child cancelled")
FAR = {"nap far": Status.WAITING, "delayed far": Status.PENDING}


@pytest.mark.backends(*KINDS)
@pytest.mark.parametrize("version", VERSIONS)
async def test_what_a_former_version_began_is_finished(
    kept: list[p.Call], version: str, backend: str, storage_url: str
) -> None:
    async with asyncio.timeout(200), Romancy(storage_url, workflows=KNOWN, codecs=p.CODECS, lease=5.0) as app:
        for to, _ in BY_A_WORD.values():
            await app.signal(to, p.Word, "a word")
        await finished(app, BY_THEMSELVES | {name: result for name, (_, result) in BY_A_WORD.items()})
        for name in CANCELLED:
            with pytest.raises(WorkflowCancelledError):
                await app.handle(name).result()
        with pytest.raises(WorkflowFailedError, match="ship is broken"):
            await app.handle("saga compensating").result()
        await what_had_failed(app, kept)
        await what_was_stuck(app)
        await what_was_sent_by_id(app)
        await what_is_far(app)
        found = [each.instance_id async for each in app.iter_instances({"customer": "Ada"})]
        assert found == ["line"]
        open_ones = [each async for each in app.iter_instances(status=[*Status]) if each.status in OPEN]
        assert open_ones == []
    nothing_was_repeated(kept)
    known = Registry.collect(KNOWN).workflows
    assert await sweep_url(storage_url, known, codecs=Codecs.of(p.CODECS)) == []


OPEN = {Status.PENDING, Status.RUNNING, Status.WAITING, Status.CANCELLING, Status.COMPENSATING, Status.STUCK}


async def finished(app: Romancy, expected: dict[str, object]) -> None:
    """Check that all of them have ended with this result."""
    results = await asyncio.gather(*(app.handle(name).result(timeout=120) for name in expected))
    assert dict(zip(expected, results, strict=True)) == expected


async def what_had_failed(app: Romancy, kept: list[p.Call]) -> None:
    """Check the retry: what was undone is done again under a new key, what stands is remembered."""
    for name in ("saga failed", "plain failed"):
        await app.retry(name)
    with pytest.raises(UsageError, match="unsure="):
        await app.retry("saga unsure")
    await app.retry("saga unsure", unsure="done")
    await finished(app, {"saga failed": SAGA, "plain failed": ["go", "pack", "ship"]})
    await finished(app, {"saga unsure": ["a fund", "between", "a fund that breaks", "ship"]})
    assert ran("saga failed") == ["a fund", "a fund", "ship"]
    assert ran("plain failed") == ["ship"]
    assert ran("saga unsure") == ["a fund", "ship"]
    for name in ("saga failed", "plain failed", "saga unsure"):
        before = {call.key: call.what for call in kept if call.instance_id == name}
        again = {call.what for call in p.calls if call.instance_id == name and call.key in before}
        assert again == {"ship"}


async def what_was_stuck(app: Romancy) -> None:
    found = await app.get_instance("changed")
    assert found is not None
    if found.status is Status.STUCK:  # other code of today may have continued it by itself
        await app.resume("changed")
    await finished(app, {"changed": "first go"})
    assert ran("changed") == []


async def what_was_sent_by_id(app: Romancy) -> None:
    await app.signal("hear once", p.Word, "one", id="1")
    await app.signal("hear once", p.Word, "two", id="2")
    await finished(app, AFTER_MORE | {"hear once": ["one", "two"]})
    assert ran("parent again") == []
    assert ran("child again") == ["ship"]


async def what_is_far(app: Romancy) -> None:
    """Check that it still waits, and that a cancellation ends it."""
    for name, status in FAR.items():
        found = await app.get_instance(name)
        assert found is not None
        assert found.status is status
        await app.cancel(name)
    for name in FAR:
        with pytest.raises(WorkflowCancelledError):
            await app.handle(name).result(timeout=60)


def ran(instance_id: str) -> list[str]:
    """Return what ran of it in this process."""
    return [call.what for call in p.calls if call.instance_id == instance_id]


def nothing_was_repeated(kept: list[p.Call]) -> None:
    """Check that what was in progress continues under its key; all else has its place in the log."""
    under_way = {(call.instance_id, call.what) for call in kept if call.what in AGAIN}
    ran_before = {(call.instance_id, call.key) for call in kept if (call.instance_id, call.what) not in under_way}
    assert [call for call in p.calls if (call.instance_id, call.key) in ran_before] == []
    keys = {call.key for call in kept}
    for name in ("line", "fork", "retrying", "beating", "saga compensating", "held again", "coded at work"):
        (first, *_) = [call for call in p.calls if call.instance_id == name]
        assert first.key in keys
    (retried,) = [call for call in p.calls if call.instance_id == "retrying"]
    assert retried.attempt > 1


HUNG = {"hold", "two", "three", "beside", "refund a fund that hangs", "work", "clean up", "limited", "race", "patched"}
AGAIN = HUNG | {"try", "beat", "ship", secret_of("coded at work")}
"""What hung or had failed when the worker died."""
