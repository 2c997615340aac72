"""Starting what only other apps have the code of: by its name, with plain JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    InstanceConflictError,
    Romancy,
    SerializationError,
    UsageError,
    WorkflowContext,
    activity,
    activity_context,
    workflow,
)
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.coded import SECRET, Masking

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

apps: list[Romancy] = []


@dataclass
class Sale:
    item: str
    number: int = 1


@workflow
async def named_sale(ctx: WorkflowContext, sale: Sale) -> Sale:
    return Sale(sale.item, sale.number + 1)


@workflow
async def named_sum(ctx: WorkflowContext, first: int, *, second: int) -> int:
    return first + second


@workflow
async def named_nothing(ctx: WorkflowContext) -> str:
    return "nothing given"


@activity
async def named_passes_on(name: str) -> str:
    session = await activity_context().session()
    handle = await apps[0].start(name, sale={"item": "lamp"}, session=session)
    return handle.instance_id


calls_named_passes_on = calling(named_passes_on)


@pytest.mark.usefixtures("app")
async def test_a_client_without_the_code_starts_by_name(open_app: Open) -> None:
    client = await open_app(worker=False, workflows=[])

    handle = await client.start("named_sale", sale={"item": "lamp"})
    assert {"item": "lamp", "number": 2} == await handle.result()
    assert 7 == await client.run("named_sum", first=3, second=4)
    assert "nothing given" == await client.run("named_nothing")
    with pytest.raises(InstanceConflictError):
        await client.start(client.workflow("named_sum").options(instance_id=handle.instance_id), first=3, second=4)


async def test_an_id_is_the_same_by_name_and_by_code(app: Romancy, open_app: Open) -> None:
    client = await open_app(worker=False, workflows=[])
    by_name = client.workflow("named_sum").options(instance_id="s-1")

    assert 5 == await (await client.start(by_name, first=2, second=3)).result()
    assert 5 == await (await app.start(named_sum.options(instance_id="s-1"), 2, second=3)).result()
    assert 5 == await (await client.start(by_name, second=3, first=2)).result()
    with pytest.raises(InstanceConflictError, match="another input"):
        await client.start(by_name, first=2, second=4)
    with pytest.raises(InstanceConflictError, match="refuse"):
        await client.start(by_name, first=2, second=3, if_exists="refuse")


async def test_an_app_that_has_the_code_uses_it(app: Romancy) -> None:
    assert app.workflow("named_sale") is named_sale
    assert Sale("lamp", 2) == await app.run("named_sale", Sale("lamp"))
    with pytest.raises(UsageError, match="needs the argument"):
        await app.start("named_sum", 3)
    other = Romancy(app.url, worker=False, workflows=[])
    assert "nothing given" == await app.run(other.workflow("named_nothing"))


async def test_in_a_session_and_behind_a_codec(open_app: Open, storage_url: str) -> None:
    worker = await open_app(codecs=[Masking()])
    apps[:] = [await open_app(worker=False, workflows=[], codecs=[Masking()])]

    started = await worker.run(calls_named_passes_on, "named_sale")
    assert {"item": "lamp", "number": 2} == await apps[0].handle(started).result()
    assert {"item": SECRET, "number": 2} == await apps[0].run("named_sale", sale={"item": SECRET})


async def test_what_cannot_be_written_is_refused(open_app: Open) -> None:
    client = await open_app(worker=False, workflows=[])
    unwritable: Any = object()

    with pytest.raises(SerializationError, match="input of workflow named_sale"):
        await client.start("named_sale", sale=unwritable)
    for args, kwargs in (((1, 2), {}), ((1,), {"second": 2}), (({"first": 1},), {})):
        with pytest.raises(UsageError, match="known here by its name alone"):
            await client.start("named_sum", *args, **kwargs)
    for bad in ("", " named", "a" * 256):
        with pytest.raises(UsageError, match="name of"):
            await client.start(bad)
    assert [] == (await client.list_instances()).instances
