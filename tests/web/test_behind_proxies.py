"""Real proxies before the dashboard and HTTP: a stranger gets nothing through them, the owner all that is theirs."""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

import pytest

from romancy import Status, WorkflowCancelledError
from romancy_conformance.servers.arrangements import ARRANGEMENTS, Arrangement
from romancy_conformance.servers.kinds import ServerUnavailableError
from romancy_conformance.servers.plugin import do_without
from romancy_conformance.servers.web_proxies import WebProxy
from tests.web.served import KEY, SECRET, Served, serving
from tests.web.strangers import Answered, Asked, ask, tries

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator

pytestmark = pytest.mark.anyio

REFUSED: Final = {400, 401, 403, 404}
SHOP: Final = "shop.example.com"
OFTEN: Final = {
    "nginx, plain proxy_pass", "nginx, with the Host", "nginx, as its guides have it", "haproxy, by itself",
    "caddy, by itself",
}  # fmt: skip
"""The arrangements of the short tier: the first ones that people try."""


def arranged(chosen: Callable[[Arrangement], bool] = lambda _: True) -> pytest.MarkDecorator:
    """Run the test with these arrangements."""
    each = [
        pytest.param(one, id=str(one), marks=[] if str(one) in OFTEN else pytest.mark.long)
        for one in ARRANGEMENTS
        if chosen(one)
    ]
    return pytest.mark.parametrize("arrangement", each)


@pytest.fixture
async def served() -> AsyncGenerator[Served]:
    async with serving() as served:
        yield served


@pytest.fixture
def proxy(arrangement: Arrangement, served: Served) -> Iterator[WebProxy]:
    with before(served, arrangement) as proxy:
        yield proxy


@contextmanager
def before(served: Served, arrangement: Arrangement) -> Generator[WebProxy]:
    """A proxy before what is served; a counted skip without the program, and a failure in continuous integration."""
    try:
        proxy = WebProxy(arrangement, served.upstream)
        proxy.start()
    except ServerUnavailableError as error:
        do_without(arrangement.program, error)
    with closing(proxy):
        yield proxy


async def through(proxy: WebProxy, asked: Asked) -> Answered:
    return await asyncio.to_thread(lambda: ask(proxy.connect(), asked))


async def directly(served: Served, asked: Asked) -> Answered:
    """Without a proxy, as a program on this machine asks."""
    place = (served.upstream.host, served.upstream.port)
    return await asyncio.to_thread(lambda: ask(socket.create_connection(place, timeout=20), asked))


async def let_in(proxy: WebProxy, served: Served, prefix: str, kind: str) -> list[tuple[Asked, int]]:
    """The tries of a stranger that were not refused. Nothing is 5xx: then the server was not asked at all."""
    found: list[tuple[Asked, int]] = []
    for asked in tries(prefix, kind, str(served.upstream)):
        answered = await through(proxy, asked)
        assert answered.status in {*range(200, 400), *REFUSED, 409}, (asked, answered)
        if answered.status not in REFUSED or "proxied_order" in answered.text:
            found.append((asked, answered.status))
    return found


def page(target: str, host: str, **headers: str) -> Asked:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Asked("GET", target, "1.1", {"host": host, "connection": "close", **named})


async def is_untouched(served: Served) -> bool:
    return await served.app.handle("o-1").status() not in {Status.CANCELLED, Status.CANCELLING}


@arranged()
@pytest.mark.parametrize("prefix", ["/hook/dashboard", "/hook/http", "/ui"])
async def test_a_stranger_gets_nothing(proxy: WebProxy, served: Served, prefix: str) -> None:
    """Neither where `auth=` is a function, nor from `romancy ui`, whose token is printed for one browser."""
    kind = "http" if prefix.endswith("http") else "dashboard"

    assert [] == await let_in(proxy, served, prefix, kind)
    assert await is_untouched(served)
    assert served.token.token is not None


@arranged(lambda one: one.tells or one.http_1_0)
@pytest.mark.parametrize("kind", ["dashboard", "http"])
async def test_local_refuses_a_proxy_that_shows(proxy: WebProxy, served: Served, kind: str) -> None:
    assert [] == await let_in(proxy, served, f"/local/{kind}", kind)
    assert await is_untouched(served)
    assert 200 == (await directly(served, page(f"/local/{kind}/instances", "localhost"))).status


@arranged(lambda one: not one.tells and not one.http_1_0)
@pytest.mark.parametrize("kind", ["dashboard", "http"])
async def test_local_trusts_a_proxy_that_adds_nothing(proxy: WebProxy, served: Served, kind: str) -> None:
    """As its docs say: nothing distinguishes these requests from those of this machine. So nobody gets it unasked."""
    got_in = [asked for asked, _ in await let_in(proxy, served, f"/local/{kind}", kind)]
    found = {asked.headers.get("host") for asked in got_in if asked.target.startswith("/")}

    assert str(served.upstream) in found
    assert (SHOP in found) != proxy.arrangement.passes_host


@arranged()
async def test_the_owner_uses_http_through_it(proxy: WebProxy, served: Served) -> None:
    key = {KEY: SECRET}

    listed = await through(proxy, page("/hook/http/instances", SHOP, **key))
    stream = await through(proxy, page("/hook/http/instances/o-1/progress", SHOP, **key))
    acted = Asked("POST", "/hook/http/cancel/o-1", "1.1", {"host": SHOP, "connection": "close", **key}, "{}")
    cancelled = await through(proxy, acted)

    assert (200, True) == (listed.status, "proxied_order" in listed.text)
    assert (200, True) == (stream.status, "event: " in stream.text)
    assert 200 == cancelled.status, cancelled.text
    with pytest.raises(WorkflowCancelledError):
        await served.app.handle("o-1").result(timeout=30)


@arranged()
async def test_the_owner_uses_the_dashboard_through_it(proxy: WebProxy, served: Served) -> None:
    """A form needs the Host that the browser sent: without it, its page would be one of another site."""
    key = {KEY: SECRET}
    origin = f"{'https' if proxy.arrangement.https else 'http'}://{SHOP}"

    listed = await through(proxy, page("/hook/dashboard/instances", SHOP, **key))
    stream = await through(proxy, page("/hook/dashboard/changes/instances", SHOP, **key))
    form = await through(proxy, page("/hook/dashboard/act/cancel/o-1", SHOP, **key))
    (csrf,) = re.findall(r'name="csrf" value="([0-9a-f]{64})"', form.text)
    sent = {
        "host": SHOP, "connection": "close", **key, "origin": origin, "sec-fetch-site": "same-origin",
        "content-type": "application/x-www-form-urlencoded", "cookie": "; ".join(form.cookies),
    }  # fmt: skip
    acted = await through(proxy, Asked("POST", "/hook/dashboard/act/cancel/o-1", "1.1", sent, f"csrf={csrf}&reason=x"))

    assert (200, True) == (listed.status, "proxied_order" in listed.text)
    assert (200, True) == (stream.status, "retry: " in stream.text)
    if proxy.arrangement.passes_host:
        assert 303 == acted.status, acted.text
    else:
        assert 403 == acted.status
        assert "was not sent by a page of this dashboard" in acted.text


@arranged(lambda one: one.name == "plain proxy_pass")
async def test_the_owner_opens_the_link_of_romancy_ui(proxy: WebProxy, served: Served) -> None:
    assert 401 == (await through(proxy, page("/ui/?token=guessed", str(served.upstream)))).status

    entered = await directly(served, page(f"/ui/?token={served.token.token}", "localhost"))
    session = {"cookie": "; ".join(entered.cookies)}

    assert 200 == entered.status
    assert "proxied_order" in (await directly(served, page("/ui/instances", "localhost", **session))).text


@arranged(lambda one: one.name in {"plain proxy_pass", "as its guides have it"})
async def test_a_server_at_an_address_of_ipv6(arrangement: Arrangement) -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    async with serving("::1") as served:
        with before(served, arrangement) as proxy:
            for prefix in ("/local/dashboard", "/local/http", "/hook/dashboard", "/hook/http", "/ui"):
                assert [] == await let_in(proxy, served, prefix, "http" if prefix.endswith("http") else "dashboard")
            assert 200 == (await directly(served, page("/local/http/instances", str(served.upstream)))).status
