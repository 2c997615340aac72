"""The twelve members of a store, and its services: their numbers, and what becomes of a missing service."""

from __future__ import annotations

from typing import Any

import pytest

import romancy.app
from romancy import Romancy, WorkflowContext, activity, workflow
from romancy.errors import StorageConfigurationError
from romancy.storage.amending import Amending
from romancy.storage.backends import create_store
from romancy.storage.figures import Figures
from romancy.storage.journal import Journal
from romancy.storage.lookups import Lookups
from romancy.storage.outbox import Outbox
from romancy.storage.protocol import Store
from romancy.storage.reading import Reading
from romancy.storage.rebuilding import Rebuilding
from romancy.storage.router import Router
from romancy.storage.services import MissingServiceError, Service, Services
from romancy.storage.sessions import Sessions
from romancy.storage.standby import Standby
from romancy.storage.upkeep import Upkeep
from romancy_conformance.changing import changed

SERVICES = {
    Service.SESSIONS: Sessions, Service.ROUTER: Router, Service.OUTBOX: Outbox, Service.READING: Reading,
    Service.LOOKUPS: Lookups, Service.AMENDING: Amending,
    Service.FIGURES: Figures, Service.UPKEEP: Upkeep, Service.REBUILDING: Rebuilding, Service.STANDBY: Standby,
    Service.JOURNAL: Journal,
}  # fmt: skip


def members(protocol: type) -> set[str]:
    return {name for base in protocol.__mro__ for name in vars(base) if not name.startswith("_")}


def test_a_store_has_twelve_members() -> None:
    assert 12 == len(members(Store))


@pytest.mark.parametrize("service", Service)
def test_a_room_has_about_as_many_members_as_a_store_at_most(service: Service) -> None:
    assert 1 <= len(members(SERVICES[service])) <= len(members(Store)) + 1


@pytest.mark.parametrize("service", Service)
def test_a_missing_room_says_what_does_not_work(service: Service) -> None:
    with pytest.raises(MissingServiceError, match=rf"offers no service '{service.value}' .*, so ") as refused:
        getattr(Services(), service.value)

    assert service is refused.value.service
    assert isinstance(refused.value, StorageConfigurationError)
    assert frozenset() == Services().offered


def test_what_is_offered_is_what_was_given() -> None:
    services = create_store("sqlite:///services.db").services

    assert frozenset(Service) - {Service.STANDBY} == services.offered
    assert {Service.READING} == Services(reading=services.reading).offered
    assert {Service.READING} == Services(reading=services.reading).wrapped(outbox=lambda box: box).offered


def test_services_are_wrapped_one_by_one() -> None:
    services, other = create_store("sqlite:///services.db").services, create_store("sqlite:///other.db").services

    wrapped = services.wrapped(reading=lambda _: other.reading)

    assert other.reading is wrapped.reading
    assert {"reading"} == {
        service.value for service in services.offered if getattr(wrapped, service) is not getattr(services, service)
    }


@activity
async def services_double(number: int) -> int:
    return 2 * number


@workflow
async def services_twice(ctx: WorkflowContext, number: int) -> int:
    number = await services_double(number)
    await ctx.sleep(0.01)
    return await services_double(number)


@pytest.mark.anyio
async def test_workflows_run_on_a_store_without_services(monkeypatch: pytest.MonkeyPatch, storage_url: str) -> None:
    def create(url: str, **options: Any) -> Store:
        store: Store = changed(create_store(url, **options), services=Services())
        return store

    monkeypatch.setattr(romancy.app, "create_store", create)
    async with Romancy(storage_url, workflows=[services_twice]) as app:
        assert 20 == await app.run(services_twice, 5)
        with pytest.raises(MissingServiceError, match="'reading'"):
            await app.list_instances()
