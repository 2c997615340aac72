"""Inputs beside a codec that hides them: only what a workflow declares for searches is in the clear."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Codecs, HmacCodec, Romancy, WorkflowContext, ZlibCodec, workflow
from romancy.query import contains, gte, missing, ne
from romancy.rebuilding import rebuild
from romancy.storage.backends import create_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from romancy.serialization import PayloadContext
    from romancy.storage.protocol import Store

    Open = Callable[..., Awaitable[Romancy]]

pytestmark = [pytest.mark.anyio, pytest.mark.backends("sqlite", "postgres", "mysql", "mariadb", "tidb", "vitess")]


class Masking:
    """Stands for an encryption."""

    id = "masking"

    def encode(self, data: bytes, _context: PayloadContext, /) -> bytes:
        return base64.b85encode(data)[::-1]

    def decode(self, data: bytes, _context: PayloadContext, /) -> bytes:
        return base64.b85decode(data[::-1])


class Plainly(Masking):
    """The same, and anybody may read it."""

    id = "plainly"
    hides = False


@dataclass
class Patient:
    name: str
    clinic: str
    visits: list[str] = field(default_factory=list[str])


@workflow
async def hidden_text(ctx: WorkflowContext, secret: str) -> None:
    """A single parameter: its value was no member of anything before inputs were stored by name."""


@workflow(index=["clinic"])
async def hidden_patient(ctx: WorkflowContext, patient: Patient, note: str = "classified note") -> None:
    """A bare parameter with one declared path."""


@workflow(index=["number"])
async def hidden_loop(ctx: WorkflowContext, number: int, secret: str) -> None:
    if number < 2:
        hidden_loop.recur(number + 1, "classified in the next run")


SECRETS = ("classified", "ann", "flu", "cold", "tenant", "_h")


async def in_the_clear(url: str) -> list[str]:
    """Return everything that the rows of the database have for searches."""
    store = create_store(url)
    await store.open()
    try:
        return [text async for text in _projections(store)]
    finally:
        await store.close()


async def _projections(store: Store) -> AsyncIterator[str]:
    for one in await store.services.rebuilding.stored(after="", limit=100):
        yield f"{one.projection!r} {one.entries!r}"


async def started(app: Romancy) -> None:
    headers = {"tenant": "classified"}
    await app.run(hidden_text.options(instance_id="text", headers=headers), "classified")
    await app.run(
        hidden_patient.options(instance_id="patient", headers=headers), Patient("ann", "north", ["flu", "cold"])
    )
    await app.run(hidden_loop.options(instance_id="loop", headers=headers), 1, "classified")


HIDING: list[Any] = [[Masking()], [ZlibCodec(10), Masking()], Codecs(Masking(), read_only=[ZlibCodec()])]


@pytest.mark.parametrize("codecs", HIDING, ids=["alone", "behind a compression", "with an old one"])
async def test_only_declared_paths_are_in_the_clear(open_app: Open, storage_url: str, codecs: Any) -> None:
    app = await open_app(codecs=codecs)
    await started(app)

    clear = " ".join(await in_the_clear(storage_url)).lower()
    assert [] == [secret for secret in SECRETS if secret in clear]
    assert "north" in clear
    row = await app.get_instance("patient")
    assert row is not None
    assert "ann" == row.input["patient"]["name"]


async def test_searches_find_declared_paths_and_nothing_else(open_app: Open) -> None:
    app = await open_app(codecs=[Masking()])
    await started(app)

    async def found(where: dict[str, Any]) -> list[str]:
        return sorted([one.instance_id for one in (await app.find_instances(where)).instances])

    assert ["patient"] == await found({"clinic": "north"}) == await found({"patient.clinic": contains("ort")})
    assert ["loop"] == await found({"number": gte(2)})
    for where in (
        {"name": "ann"}, {"patient.name": "ann"}, {"patient.visits.0": "flu"}, {"secret": "classified"},
        {"note": contains("s")}, {"secret": contains("")}, {"clinic": "south"},
    ):  # fmt: skip
        assert [] == await found(where), where
    assert [] == (await app.list_instances(headers={"tenant": "classified"})).instances
    assert ["loop", "text"] == await found({"secret": ne("classified")})
    assert "patient" not in await found({"patient": missing()})


PLAIN: list[Any] = [[], [ZlibCodec(10)], [HmacCodec(b"x" * 32)], [Plainly()]]


@pytest.mark.parametrize("codecs", PLAIN, ids=["none", "zlib", "hmac", "one that says so"])
async def test_every_path_is_searched_where_nothing_is_hidden(open_app: Open, codecs: Any) -> None:
    app = await open_app(codecs=codecs)
    await started(app)

    assert ["patient"] == [one.instance_id for one in (await app.find_instances({"visits.1": "cold"})).instances]
    assert ["text"] == [one.instance_id for one in (await app.find_instances({"secret": "classified"})).instances]


async def test_what_is_rebuilt_shows_no_more(open_app: Open, storage_url: str) -> None:
    app = await open_app(codecs=[Masking()])
    await started(app)
    before = await in_the_clear(storage_url)

    again = await rebuild(app._access.opened(), app.workflows, app.codecs)  # pyright: ignore[reportPrivateUsage]

    assert (0, 0) == (again.rows, again.index)
    assert before == await in_the_clear(storage_url)
