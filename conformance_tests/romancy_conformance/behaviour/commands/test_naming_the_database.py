"""All commands take the database in the same ways: first, by --url, by ROMANCY_URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.status import Status
from romancy_conformance.behaviour.commands.buying import prepared, purchase, standing

if TYPE_CHECKING:
    from romancy_conformance.behaviour.commands.buying import Command


@pytest.fixture
def failed(url: str, romancy: Command, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of an instance that has failed; ROMANCY_URL is not set."""
    prepared(url, purchase.options(instance_id="p-1").bind("lamp"), until=standing("p-1", Status.FAILED))
    monkeypatch.delenv("ROMANCY_URL")
    return "p-1"


@pytest.mark.parametrize(
    "command", ["list", "find", "count", "workers", "undelivered", "doctor", "show ID", "why ID", "history ID"]
)
def test_the_url_may_stand_first(url: str, romancy: Command, failed: str, command: str) -> None:
    name, *more = command.replace("ID", failed).split()

    first, by_option = romancy(name, url, *more), romancy(name, *more, "--url", url)

    assert first.code == by_option.code
    assert first.code in (0, 1), first.err
    if name not in ("doctor", "workers"):  # these tell times
        assert first.out == by_option.out


def test_it_may_stand_first_for_what_acts(url: str, romancy: Command, failed: str) -> None:
    assert romancy("cancel", url, failed).out == "p-1  cancel: it had ended already\n"
    assert romancy("purge", url, "--status", "failed", "--yes").code == 0
    assert romancy("show", url, failed).code == 3


@pytest.mark.usefixtures("failed")
def test_an_id_is_no_database(url: str, romancy: Command) -> None:
    for name in ("https://shop/orders/7", "memory:7", "shop:app"):
        assert "there is no instance" in romancy("show", name, "--url", url).err
        assert "which database?" in romancy("show", name).err


@pytest.mark.usefixtures("failed")
def test_the_dashboard_takes_the_option_too(url: str, romancy: Command) -> None:
    assert "which database?" in romancy("ui").err
    assert "name one database" in romancy("ui", url, "--url", url).err
