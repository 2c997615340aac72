"""Access: the hook runs before the body is read, a failing hook refuses, without a hook there is no app at all."""

# Only private state shows the list of routes.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from starlette.exceptions import HTTPException

from romancy import Romancy, WorkflowContext, workflow
from romancy.errors import UsageError
from romancy.http import Ingress, VerificationError, anyone, asgi, bearer, local
from tests.http.client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from starlette.requests import Request

pytestmark = pytest.mark.anyio

FIRST, SECOND = "f" * 32, "s" * 32
ROUTES = [
    ("POST", "/"), ("GET", "/health/ready"), ("GET", "/openapi.json"), ("POST", "/workflows/tick"),
    ("POST", "/cancel/x"), ("POST", "/pause/x"), ("POST", "/unpause/x"),
    ("POST", "/instances/x/signals/y"), ("POST", "/instances/x/requests/y"),
    ("POST", "/instances/x/fork"), ("POST", "/instances/x/rewind"),
    ("GET", "/instances/x/result"),
    ("GET", "/instances/x/progress"), ("GET", "/instances/x/logs"), ("GET", "/instances/x/streams/y"),
    ("GET", "/instances/x"), ("GET", "/instances"), ("GET", "/count"),
    ("GET", "/schedules"), ("GET", "/schedules/x"), ("POST", "/schedules/x/pause"), ("POST", "/schedules/x/resume"),
    ("POST", "/schedules/x/trigger"), ("POST", "/schedules/x/backfill"),
    ("POST", "/workflows/tick/debounce"), ("POST", "/workflows/tick/batch"), ("GET", "/windows"), ("GET", "/windows/x"),
    ("POST", "/windows/x/flush"), ("POST", "/windows/x/drop"),
    ("GET", "/limits"), ("GET", "/limits/x"), ("POST", "/limits/x/change"), ("POST", "/limits/x/pause"),
    ("POST", "/limits/x/resume"), ("POST", "/limits/x/reset"), ("POST", "/free/x"),
    ("GET", "/questions"), ("POST", "/questions/x/answer"), ("POST", "/questions/x/refuse"),
    ("GET", "/pauses"), ("POST", "/workflows/x/pause"), ("POST", "/workflows/x/unpause"),
    ("POST", "/activities/x/pause"), ("POST", "/activities/x/unpause"), ("POST", "/workers/x/drain"),
    ("GET", "/failures"), ("POST", "/failures/x/silence"), ("POST", "/failures/x/unsilence"),
    ("GET", "/rates"),
]  # fmt: skip


@workflow
async def tick(ctx: WorkflowContext) -> None: ...


@pytest.fixture
async def app() -> AsyncGenerator[Romancy]:
    async with Romancy("memory://", workflows=[tick]) as app:
        yield app


def unread() -> Iterator[bytes]:
    yield pytest.fail("the body was read")


def routes_of(http: Ingress) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for route in http._router.routes:
        methods: set[str] = getattr(route, "methods", set())
        found |= {(method, str(getattr(route, "path", ""))) for method in methods - {"HEAD"}}
    return found


async def test_every_route_but_liveness_asks_first(app: Romancy) -> None:
    http = asgi(app, auth=bearer(FIRST))
    client = Client(http)

    answers = [await client.ask(method, path, unread() if method == "POST" else b"", []) for method, path in ROUTES]

    assert [401] * len(ROUTES) == [answer.status for answer in answers]
    assert {"Unauthorized"} == {answer.json["error_type"] for answer in answers}
    assert "Bearer" == answers[0].headers["www-authenticate"]
    assert 200 == (await client.get("/health/live")).status
    assert len(ROUTES) + 1 == len(routes_of(http))  # a new route has to come into this test


async def test_only_a_known_bearer_token_is_admitted(app: Romancy) -> None:
    client = Client(asgi(app, auth=bearer(FIRST, SECOND)), peer=("192.0.2.1", 5))

    async def status(given: str) -> int:
        return (await client.get("/health/ready", authorization=given)).status

    assert [200, 200, 200] == [
        await status(given) for given in (f"Bearer {FIRST}", f"bearer {SECOND}", f"Bearer  {FIRST} ")
    ]
    wrong = [
        "", "Bearer", "Bearer ", f"Basic {FIRST}", FIRST, f"Bearer {FIRST[:-1]}", f"Bearer {FIRST}x", "Bearer é",
        f"Bearer {FIRST} {SECOND}",
    ]  # fmt: skip
    assert [401] * len(wrong) == [await status(given) for given in wrong]
    assert 401 == (await client.get(f"/health/ready?token={FIRST}")).status


@pytest.mark.parametrize("tokens", [(), ("",), ("short",), (FIRST, "")])
def test_tokens_that_protect_nothing(tokens: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="tokens of at least"):
        bearer(*tokens)


@pytest.mark.parametrize(
    "wrong", [None, [FIRST, SECOND], (FIRST,), FIRST.encode(), 5], ids=lambda given: type(given).__name__
)
def test_what_is_no_token_is_refused_and_not_shown(wrong: Any) -> None:
    for given in [(wrong,), (SECOND, wrong)]:
        with pytest.raises(UsageError, match=r"bearer\(first, second\)") as caught:
            bearer(*given)
        assert "fff" not in str(caught.value)


class Hook:
    """A hook as a class: it takes the request for an argument of its construction."""

    def __init__(self, request: Request) -> None: ...


@pytest.mark.parametrize(
    "wrong", [FIRST, Hook, bearer, 5, False, [bearer(FIRST)]], ids=lambda given: type(given).__name__
)
async def test_what_is_no_hook_is_refused_and_not_shown(app: Romancy, wrong: Any) -> None:
    with pytest.raises(UsageError, match=r"auth=bearer\(token\)") as caught:
        asgi(app, auth=wrong)

    assert FIRST not in str(caught.value)


async def test_it_is_closed_until_it_is_told_who_may_send(app: Romancy) -> None:
    with pytest.raises(UsageError, match=r"write asgi\(app, auth=bearer\(token\)\).*asgi\(app, auth=\"local\"\)"):
        asgi(app)


async def test_local_is_a_name_of_its_hook(app: Romancy) -> None:
    assert asgi(app, auth="local").auth is asgi(app, auth=local).auth is local


async def test_an_auth_hook_decides_who_is_admitted(app: Romancy) -> None:
    async def forbids(request: Request) -> None:
        raise HTTPException(403, headers={"x-why": "not you"})

    async def lets_in(request: Request) -> str:
        return request.headers["host"]

    def fails(request: Request) -> None:
        raise ZeroDivisionError("secret")

    def denies(request: Request) -> bool:
        return request.method == "PATCH"

    def refuses(request: Request) -> None:
        raise PermissionError

    answers = [
        await Client(asgi(app, auth=hook)).get("/health/ready") for hook in (forbids, lets_in, fails, denies, refuses)
    ]

    assert [403, 200, 500, 401, 401] == [answer.status for answer in answers]
    assert "not you" == answers[0].headers["x-why"]
    assert "secret" not in answers[2].body.decode()


@pytest.mark.parametrize(
    ("peer", "host", "origin", "status"),
    [
        ("127.0.0.1", "localhost:8000", None, 200), ("::1", "[::1]:8000", None, 200),
        ("127.0.0.9", "127.0.0.1", None, 200),
        ("127.0.0.1", "shop.localhost:80", "http://shop.localhost:80", 200), (None, "localhost", None, 200),
        ("127.0.0.1", "localhost:8000", "http://localhost:3000", 403), ("127.0.0.1", "localhost", "http://[::1", 403),
        ("192.0.2.1", "localhost", None, 403), ("0.0.0.0", "localhost", None, 403), ("x", "localhost", None, 403),  # noqa: S104
        ("127.0.0.1", "evil.example", None, 403), ("127.0.0.1", "", None, 403), ("127.0.0.1", "[::1", None, 403),
        ("127.0.0.1", "localhost.evil.example", None, 403), ("127.0.0.1", "0.0.0.0", None, 403),  # noqa: S104
        ("127.0.0.1", "localhost", "http://evil.example", 403), ("127.0.0.1", "localhost", "null", 403),
    ],
)  # fmt: skip
async def test_local_answers_only_this_machine_is_answered(
    app: Romancy, peer: str | None, host: str, origin: str | None, status: int
) -> None:
    client = Client(asgi(app, auth="local"), peer=None if peer is None else (peer, 5))
    client.host = host.encode()

    assert status == (await client.get("/health/ready", **({"origin": origin} if origin else {}))).status


@pytest.mark.parametrize(
    "name",
    [
        "forwarded",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-real-ip",
        "X-Real-IP",
        "x-client-ip",
    ],
)
async def test_local_answers_no_proxy_is_answered(app: Romancy, name: str) -> None:
    passed = [(name.encode(), b"127.0.0.1")]

    assert 403 == (await Client(asgi(app, auth="local")).ask("GET", "/health/ready", b"", passed)).status
    assert 200 == (await Client(asgi(app, auth=anyone)).ask("GET", "/health/ready", b"", passed)).status


@pytest.mark.parametrize(
    ("site", "status"), [("same-origin", 202), ("none", 202), ("same-site", 403), ("cross-site", 403)]
)
async def test_local_answers_no_page_of_another_port_is_answered(app: Romancy, site: str, status: int) -> None:
    client = Client(asgi(app, auth="local"))

    assert status == (await client.post("/workflows/tick", sec_fetch_site=site)).status
    ready = await client.get("/health/ready", sec_fetch_site=site)
    assert (200 if status == 202 else 403) == ready.status
    assert 403 == (await client.post("/workflows/tick", b"{}", origin="http://localhost:3000")).status
    two = [(b"host", b"localhost:8000"), (b"host", b"localhost:8000")]
    assert 403 == (await client.ask("GET", "/health/ready", b"", two)).status


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/instances/x", "/nowhere", "/workflows/tick"])
async def test_every_answer_is_inert_in_a_browser(app: Romancy, path: str) -> None:
    headers = (await Client(asgi(app, auth="local")).get(path)).headers

    assert ("nosniff", "same-origin") == (headers["x-content-type-options"], headers["cross-origin-resource-policy"])


async def test_a_webhook_is_admitted_by_its_verifier_alone(app: Romancy) -> None:
    http = asgi(app, auth=bearer(FIRST))

    def verify(body: bytes, headers: object) -> str:
        if body != b"{}":
            raise VerificationError("no")
        return "id"

    http.webhook("/hooks/mine", verify=verify, event="mine")
    client = Client(http, peer=("192.0.2.1", 5))

    assert [202, 401] == [(await client.post("/hooks/mine", body)).status for body in (b"{}", b"")]


async def test_anyone_admits_every_peer_and_host(app: Romancy) -> None:
    client = Client(asgi(app, auth=anyone), peer=("192.0.2.1", 5))
    client.host = b"shop.example"

    assert 200 == (await client.get("/health/ready")).status
