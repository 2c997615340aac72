"""Which requests the dashboard answers, and the headers of every answer: attacks on its access checks."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Mount

from romancy import Romancy, WorkflowContext, workflow
from romancy.dashboard import Dashboard, anyone, asgi
from romancy.dashboard._auth import OneTimeToken
from romancy.dashboard._guard import read_form
from romancy.errors import UsageError
from tests.dashboard.browsing import Browser

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.requests import Request

pytestmark = pytest.mark.anyio


@workflow
async def greet(ctx: WorkflowContext, name: str) -> str:
    return f"Hello {name}"


@pytest.fixture
async def app() -> AsyncGenerator[Romancy]:
    async with Romancy("memory://", workflows=[greet]) as app:
        await app.run(greet.options(instance_id="first"), "Ann")
        yield app


async def test_the_pages_answer_and_unknown_ones_are_refused(app: Romancy) -> None:
    browser = Browser(asgi(app, auth="local"))

    pages = [await browser.get(path) for path in ("/", "/instances", "/instances/first")]

    assert [200, 200, 200] == [page.status for page in pages]
    assert all("greet" in browser.text(page) for page in pages)
    assert "instances/first" in pages[1].body.decode()
    assert 404 == (await browser.get("/instances/second")).status
    assert 404 == (await browser.get("/nowhere")).status
    assert 405 == (await browser.ask("DELETE", "/instances/first", b"", [])).status


async def test_links_know_where_it_is_mounted(app: Romancy) -> None:
    browser = Browser(Starlette(routes=[Mount("/admin/flows", asgi(app, auth="local"))]))

    page = await browser.get("/admin/flows/instances")

    assert 200 == page.status
    assert 'href="/admin/flows/instances/first"' in page.body.decode()
    assert 'href="/admin/flows/static/dashboard.css?v=' in page.body.decode()
    assert "Path=/admin/flows/" in page.headers["set-cookie"]
    assert "admin/flows" not in (await Browser(asgi(app, auth="local")).get("/instances")).body.decode()


@pytest.mark.parametrize(
    "path", ["/", "/instances", "/instances/first", "/nowhere", "/static/dashboard.css", "/static/nothing"]
)
async def test_every_answer_bears_the_headers(app: Romancy, path: str) -> None:
    headers = (await Browser(asgi(app, auth="local")).get(path)).headers
    policy = headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "style-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "nosniff" == headers["x-content-type-options"]
    assert "DENY" == headers["x-frame-options"]
    assert "same-origin" == headers["referrer-policy"]
    assert ("no-store" == headers["cache-control"]) == (path != "/static/dashboard.css")


async def test_a_refusal_bears_the_headers_and_names_no_database(app: Romancy) -> None:
    browser = Browser(asgi(app, auth="local"), peer=("203.0.113.7", 4711))

    refused = await browser.get("/")

    assert 403 == refused.status
    assert "frame-ancestors 'none'" in refused.headers["content-security-policy"]
    assert "memory" not in browser.text(refused)
    assert "set-cookie" not in refused.headers


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "[::2]"]
)
async def test_another_name_for_this_machine_is_refused(app: Romancy, host: str) -> None:
    browser = Browser(asgi(app, auth="local"))
    browser.client.host = host.encode()

    assert 403 == (await browser.get("/")).status
    assert 403 == (await browser.get("/static/dashboard.css")).status


@pytest.mark.parametrize("host", ["", "a b", "localhost@evil.example", "localhost/evil", "localhost:80:80", "ä", "l,e"])
async def test_a_host_that_is_none_is_refused(app: Romancy, host: str) -> None:
    browser = Browser(asgi(app, auth="local"))
    browser.client.host = host.encode("latin-1")

    assert 400 == (await browser.get("/")).status


async def test_two_hosts_are_refused(app: Romancy) -> None:
    assert 400 == (await Browser(asgi(app, auth="local")).get("/", host="localhost")).status


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8080", "[::1]:8080", "shop.localhost"])
async def test_names_of_this_machine_are_answered(app: Romancy, host: str) -> None:
    browser = Browser(asgi(app, auth="local"))
    browser.client.host = host.encode()

    assert 200 == (await browser.get("/")).status


async def test_hosts_are_allowed_by_name(app: Romancy) -> None:
    browser = Browser(asgi(app, auth=anyone, hosts=["Flows.example.com"]))
    browser.client.host = b"flows.example.com:443"

    assert 200 == (await browser.get("/")).status
    browser.client.host = b"other.example.com"
    assert 403 == (await browser.get("/")).status


@pytest.mark.parametrize(
    "name", ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"]
)
async def test_local_answers_no_proxy(app: Romancy, name: str) -> None:
    assert 403 == (await Browser(asgi(app, auth="local")).get("/", **{name: "127.0.0.1"})).status
    assert 200 == (await Browser(asgi(app, auth=anyone)).get("/", **{name: "127.0.0.1"})).status


async def test_a_form_has_a_time_limit(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    """An admitted visitor sends the beginning of a form, and nothing more."""
    monkeypatch.setattr("romancy.dashboard._application.read_form", partial(read_form, seconds=0.05))
    dashboard, sent = asgi(app, auth="local"), list[Any]()
    pieces = iter([{"type": "http.request", "body": b"a=", "more_body": True}])
    headers = {"host": "localhost", "origin": "http://localhost", "content-type": "application/x-www-form-urlencoded"}
    scope = {
        "type": "http", "method": "POST", "path": "/act/cancel/x", "root_path": "", "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()], "client": ("127.0.0.1", 5),
    }  # fmt: skip

    async def receive() -> Any:
        return next(pieces, None) or await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    await dashboard(scope, receive, send)

    assert 408 == sent[0]["status"]
    assert (b"connection", b"close") in sent[0]["headers"]


@pytest.mark.parametrize("name", ["x-original-url", "x-rewrite-url", "x-http-method-override", "x-forwarded-prefix"])
async def test_headers_that_would_lead_elsewhere_do_nothing(app: Romancy, name: str) -> None:
    page = await Browser(asgi(app, auth=anyone)).get("/instances", **{name: "/static/dashboard.css"})

    assert 200 == page.status
    assert page.body.decode().count("<h1") == 1
    assert "static/dashboard.css/" not in page.body.decode()


def _denies(_request: Request) -> None:
    raise PermissionError("Log in first.")


def _redirects(_request: Request) -> None:
    raise HTTPException(303, headers={"location": "/login"})


async def _says_no(_request: Request) -> bool:
    return False


async def test_a_hook_decides(app: Romancy) -> None:
    denied = await Browser(asgi(app, auth=_denies)).get("/")
    redirected = await Browser(asgi(app, auth=_redirects)).get("/")

    assert (401, True) == (denied.status, "Log in first." in Browser.text(denied))
    assert (303, "/login") == (redirected.status, redirected.headers["location"])
    assert 401 == (await Browser(asgi(app, auth=_says_no)).get("/instances/first")).status
    assert 200 == (await Browser(asgi(app, auth=anyone), peer=("203.0.113.7", 1)).get("/")).status


@pytest.mark.parametrize("made", [asgi, partial(Dashboard, auth=None, read_only=True, hosts=())], ids=["asgi", "class"])
def test_it_is_closed_until_it_is_told_who_may_look(made: Any) -> None:
    for given in ("memory://", Romancy("memory://", workflows=[greet])):
        with pytest.raises(UsageError, match=r"write asgi\(…, auth=admins\).*asgi\(…, auth=\"local\"\)"):
            made(given)


@pytest.mark.parametrize("auth", ["secret", "Local", OneTimeToken, 5])
def test_what_is_no_hook_is_refused(auth: Any) -> None:
    with pytest.raises(UsageError, match="auth= takes a function"):
        asgi("memory://", auth=auth)


async def test_what_is_no_app_is_refused() -> None:
    with pytest.raises(UsageError, match="an app or the URL"):
        asgi(None, auth="local")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="a list of names"):
        asgi("memory://", auth="local", hosts="localhost")


async def test_a_token_opens_one_session(app: Romancy) -> None:
    token = OneTimeToken()
    dashboard = asgi(app, auth=token)
    mine, other = Browser(dashboard), Browser(dashboard)
    link = f"/?token={token.token}"

    assert 401 == (await mine.get("/")).status
    assert 401 == (await mine.get("/?token=wrong")).status
    assert 401 == (await mine.ask("HEAD", link, b"", [])).status  # what looks ahead does not use it up
    entered = await mine.get(link)
    assert 200 == entered.status
    assert "HttpOnly" in entered.headers["set-cookie"]
    assert "SameSite=strict" in entered.headers["set-cookie"]
    assert token.token is None
    assert 200 == (await mine.get("/instances")).status
    assert 401 == (await other.get(link)).status
    assert "has been used" in other.text(await other.get(link))
    assert 401 == (await other.get("/")).status


async def test_a_token_twice_in_one_request_is_none(app: Romancy) -> None:
    token = OneTimeToken()

    refused = await Browser(asgi(app, auth=token)).get(f"/?token={token.token}&token={token.token}")

    assert 401 == refused.status
    assert token.token is not None


async def test_a_session_is_not_guessed_from_an_empty_cookie(app: Romancy) -> None:
    token = OneTimeToken()
    browser = Browser(asgi(app, auth=token))
    await browser.get(f"/?token={token.token}")
    (name,) = browser.cookies

    for forged in ("", "x", browser.cookies[name][:-1]):
        browser.cookies[name] = forged
        assert 401 == (await browser.get("/")).status


@pytest.mark.parametrize(
    "path",
    [
        "/static/../_auth.py",
        "/static/..%2f_auth.py",
        "/static/%2e%2e/_auth.py",
        "/static//etc/passwd",
        "/static/templates/base.html",
        "/static/dashboard.css/..",
        "/static/.",
        "/static/dashboard.css%00.js",
    ],
)
async def test_no_path_leads_to_another_file(app: Romancy, path: str) -> None:
    assert 404 == (await Browser(asgi(app, auth="local")).get(path)).status


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_pages_take_only_reads(app: Romancy, method: str) -> None:
    assert 405 == (await Browser(asgi(app, auth="local")).ask(method, "/instances", b"", [])).status


async def test_a_database_that_is_not_there_is_a_page() -> None:
    browser = Browser(asgi("sqlite:///nowhere/at/all.db", auth="local"))

    page = await browser.get("/")

    assert 503 == page.status
    assert "does not answer" in browser.text(page)
