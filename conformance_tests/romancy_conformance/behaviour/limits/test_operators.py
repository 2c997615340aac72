"""What operators see of limits, and what they choose."""

from __future__ import annotations

import pytest

from romancy import InstanceNotFoundError, RegistrationError, Romancy
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.limits.serving import (
    cancel,
    complete,
    enters,
    nobody_enters,
    nobody_inside,
    serve,
    served,
)

pytestmark = pytest.mark.anyio

__all__ = ["nobody_inside", "serve"]


async def test_a_list_says_who_is_inside_and_who_waits(app: Romancy) -> None:
    handles = await served(app, "c1", "a", "b", "c")
    await enters("a", "b")

    (lane,) = await app.limits("per customer")

    assert (lane.limit, lane.key, lane.taken, lane.waiting) == ("per customer", "c1", 2, 1)
    assert sorted(lane.holders) == ["a", "b"]
    assert (lane.concurrency, lane.rate, lane.chosen, lane.paused) == (2, None, False, False)
    why = " ".join(await handles["c"].explain())
    assert "waits for a place under the limit 'per customer' with the key 'c1'" in why
    assert "0 before it in line, held by" in why
    for one in handles.values():
        await cancel(app, one)
    assert await app.limits("per customer") == []


async def test_what_an_operator_chooses_holds_until_it_is_reset(app: Romancy) -> None:
    handles = await served(app, "c1", "a", "b", "c", "d", "e")
    await enters("a", "b")

    await app.change_limit("per customer", concurrency=3)
    await enters("c")
    await app.change_limit("per customer", concurrency=1)
    (lane,) = await app.limits("per customer")
    assert (lane.concurrency, lane.chosen) == (1, True)
    for one in ("a", "b"):
        await complete(app, handles[one])
    assert nobody_enters()
    await app.reset_limit("per customer")

    await enters("d")


async def test_a_paused_limit_gives_no_place_until_it_is_resumed(app: Romancy) -> None:
    await app.pause_limit("per customer")
    handles = await served(app, "c1", "a")
    (lane,) = await app.limits("per customer")
    assert (lane.paused, lane.taken, lane.waiting, lane.concurrency) == (True, 0, 1, 2)

    await app.resume_limit("per customer")

    await enters("a")
    await complete(app, handles["a"])


async def test_a_limit_of_an_operator_is_listed_even_if_nobody_is_there(app: Romancy) -> None:
    await app.pause_limit("per")
    await app.change_limit("per customer", rate=(3, 60))
    await served(app, "c1", "a")

    assert [(one.limit, one.key, one.paused, one.rate) for one in await app.limits()] == [
        ("per customer", "c1", False, (3, 60.0)), ("per", "", True, None),
    ]  # fmt: skip
    assert [one.limit for one in await app.limits("per")] == ["per"]
    await app.resume_limit("per")
    assert await app.limits("per") == []


async def test_places_are_given_back_by_hand(app: Romancy) -> None:
    handles = await served(app, "c1", "a", "b", "c")
    await enters("a", "b")

    assert await app.free_places("a") == ["per customer"]

    await enters("c")
    await complete(app, handles["a"])
    with pytest.raises(InstanceNotFoundError):
        await app.free_places("nobody")


async def test_a_paused_limit_stays_paused_with_other_numbers(app: Romancy) -> None:
    await app.pause_limit("per customer")
    handles = await served(app, "c1", "a")
    await app.change_limit("per customer", concurrency=5)
    (lane,) = await app.limits("per customer")
    assert (lane.paused, lane.concurrency, lane.taken) == (True, 5, 0)

    await app.resume_limit("per customer")

    await enters("a")
    await complete(app, handles["a"])


async def test_a_name_that_no_limit_can_have_is_refused(app: Romancy) -> None:
    for call in (app.limits, app.pause_limit, app.resume_limit, app.reset_limit):
        with pytest.raises(RegistrationError, match="at most 100 bytes"):
            await call("n" * 101)


async def test_a_giving_back_that_was_interrupted_is_finished_by_another(app: Romancy, storage_url: str) -> None:
    handles = await served(app, "c1", "a", "b", "c")
    await enters("a", "b")
    store = create_store(storage_url)
    await store.open()
    ((owner, place),) = await store.services.lookups.places_of(["a"])
    await store.services.router.unregister(owner, [place.interest_id])  # a call that ends here: nobody marks it
    await store.close()
    assert [(lane.taken, lane.waiting) for lane in await app.limits("per customer")] == [(1, 1)]

    assert await app.free_places("a") == []

    await enters("c")
    await complete(app, handles["a"])
