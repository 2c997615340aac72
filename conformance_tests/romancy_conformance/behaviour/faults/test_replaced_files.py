"""The database's file is deleted or replaced under a running app: it says so, and acknowledges nothing more."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from romancy import DatabaseReplacedError, Romancy
from romancy_conformance.behaviour.cast import returns
from romancy_conformance.process_control import replaces_open_files

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = [pytest.mark.anyio, pytest.mark.backends("sqlite"), replaces_open_files]


def file_of(url: str) -> Path:
    return Path(url.partition("?")[0].removeprefix("sqlite:///"))


def lose(file: Path, how: str) -> None:
    if how == "deleted":
        for one in list(file.parent.glob(file.name + "*")):
            one.unlink()
    else:
        copy = file.with_name("copy")
        copy.write_bytes(file.read_bytes())
        copy.replace(file)


async def refused(app: Romancy) -> DatabaseReplacedError:
    """Return the error that follows as soon as it is detected."""
    async with asyncio.timeout(100):
        while True:
            try:
                await app.start(returns, 1)
            except DatabaseReplacedError as error:
                return error
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("worker", [True, False], ids=["worker", "no worker"])
@pytest.mark.parametrize("how", ["deleted", "replaced"])
async def test_an_app_that_has_lost_its_file_accepts_nothing_more(
    open_app: Open, storage_url: str, how: str, *, worker: bool
) -> None:
    app = await open_app(worker=worker, lease=3)
    handle = await app.start(returns.options(instance_id="before"), 1)
    lose(file_of(storage_url), how)

    error = await refused(app)

    assert how in str(error)
    for call in (app.start(returns, 1), app.signal("before", "x"), app.get_instance("before"), handle.status()):
        with pytest.raises(DatabaseReplacedError):
            await call


async def test_a_second_app_goes_on_with_the_file_in_its_place(open_app: Open, storage_url: str) -> None:
    first = await open_app(lease=3)
    assert 1 == await first.run(returns, 1)
    lose(file_of(storage_url), "deleted")
    await refused(first)

    second = await open_app()

    assert 1 == await second.run(returns, 1)
