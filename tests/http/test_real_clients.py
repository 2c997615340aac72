"""A server process, asked by the clients that others have in every mode, and killed between two of their requests."""

from __future__ import annotations

import hashlib
import hmac
import math
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from standardwebhooks import Webhook as StandardWebhook

from romancy import Romancy
from tests.http.clients import CLIENTS, MODES, message_of
from tests.http.process import GITHUB_SECRET, MAIL_SECRET, STRIPE_SECRET, Server, serving
from tests.http.providers import sign_as_stripe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cloudevents.core.bindings.http import HTTPMessage

pytestmark = [pytest.mark.long, pytest.mark.anyio]

WITHIN = 60
CLIENT = httpx2.Client(timeout=WITHIN)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(f"sqlite:///{tmp_path_factory.mktemp('served')}/served.db") as server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def end_of_client() -> Iterator[None]:
    yield
    CLIENT.close()


def event(type: str, id: str, data: Any, **more: str) -> dict[str, Any]:
    return {
        "specversion": "1.0", "type": type, "id": id, "source": "/shop",
        "time": "2026-11-22T12:00:00Z", "data": data, **more,
    }  # fmt: skip


def post(url: str, message: HTTPMessage) -> httpx2.Response:
    return CLIENT.post(url, content=message.body, headers=message.headers)


def result_of(server: Server, instance_id: str) -> Any:
    for _ in range(WITHIN):  # each waits for a second
        answer = CLIENT.get(f"{server.url}/instances/{instance_id}/result?timeout=1")
        if answer.status_code == 200:
            return answer.json()["result"]
        assert 202 == answer.status_code, answer.text
    return pytest.fail("it has not ended")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("client", CLIENTS)
def test_events_of_real_clients_start_and_wake_a_workflow(server: Server, client: str, mode: str) -> None:
    send = CLIENTS[client]
    lamp = "lamp" if client == "javascript" else "lámpa 木"  # that SDK encodes no headers, and fetch refuses these
    item = f"{lamp} {client}-{mode}"
    placed = event("order.placed", f"{client}-{mode}", {"item": item, "count": 2})
    first, again = send(server.url, mode, [placed]), send(server.url, mode, [placed])
    accepted = first[0].body["events"][0] if mode == "batch" else first[0].body
    instance_id = accepted["instance_id"]
    more = [
        event("order.paid", f"paid-{item}", {"cents": 4200}, romancyinstanceid=instance_id),
        event("order.packed", f"packed-{item}", {"box": "木箱"}, subject=item),
    ]
    answers = send(server.url, mode, more)

    assert {202} == {each.status for each in (*first, *again, *answers)}
    assert first == again
    assert f"2 × {item}: 4200 of /shop, 木箱 of /shop" == result_of(server, instance_id)


async def test_a_server_that_is_killed_between_an_event_and_its_repetition(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/killed.db"
    with serving(url) as server:

        def twice(message: HTTPMessage, *, killed: bool = True) -> list[Any]:
            first = post(server.url, message)
            if killed:
                server.kill()
                server.start()
            return [each.json() for each in (first, post(server.url, message)) if each.status_code == 202]

        started = twice(message_of(event("order.placed", "e-1", {"item": "lamp", "count": 2})))
        instance_id = started[0]["instance_id"]
        paid = twice(message_of(event("order.paid", "p-1", {"cents": 1}, romancyinstanceid=instance_id)))
        packed = twice(message_of(event("order.packed", "p-2", {"box": "crate"}, subject="lamp")), killed=False)
        result = result_of(server, instance_id)

    accepted = {"status": "accepted", "instance_id": instance_id}
    assert [accepted, accepted] == started
    assert [accepted, {**accepted, "duplicate": True}] == paid
    assert [{"status": "accepted"}, {"status": "accepted", "duplicate": True}] == packed
    assert "2 × lamp: 1 of /shop, crate of /shop" == result
    async with Romancy(url, workflows=[], worker=False) as app:
        assert [instance_id] == [each.instance_id async for each in app.iter_instances()]
        received = [type(entry.event).__name__ async for entry in app.entries_of(instance_id)].count("MessageReceived")
    assert 2 == received


def test_a_server_that_is_killed_again_and_again_while_a_client_sends(tmp_path: Path) -> None:
    """The client repeats what it got no answer to. Each event that was accepted is received once, and in order."""
    kills, each = 2, 25
    count = (kills + 1) * each
    sender = Sender(count)
    with serving(f"sqlite:///{tmp_path}/killed.db") as server:
        collecting = {"event": "tick", "count": count, "key": "k"}
        started = CLIENT.post(f"{server.url}/workflows/collect?instance_id=c", json=collecting)
        assert 202 == started.status_code
        thread = threading.Thread(target=sender.run, args=(lambda: server.url,))
        thread.start()
        try:
            for number in range(kills):
                sender.wait_for((number + 1) * each)
                server.kill()
                server.start()
            sender.wait_for(count)
        finally:
            sender.stop()
            thread.join()
        collected = result_of(server, "c")

    assert [f"t-{number}" for number in range(count)] == collected


def test_deliveries_that_the_libraries_of_providers_sign(server: Server) -> None:
    """Each delivery comes twice and is received once; the data is what the provider has sent."""
    body = '{"type": "bill.paid", "id": "evt_1", "name": "één"}'
    now = datetime.now(UTC)
    signed = hmac.new(GITHUB_SECRET.encode(), body.encode(), hashlib.sha256).hexdigest()
    deliveries = {
        "mail": {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(math.floor(now.timestamp())),
            "webhook-signature": StandardWebhook(MAIL_SECRET).sign("msg_1", now, body),
        },
        "stripe": {"stripe-signature": sign_as_stripe(body, STRIPE_SECRET)},
        "github": {  # who publishes no library, and one example: test_signatures.py has it
            "x-hub-signature-256": f"sha256={signed}", "x-github-delivery": "guid-1", "x-github-event": "bill.paid",
        },
    }  # fmt: skip
    ids = ["msg_1", "evt_1", "guid-1"]
    collecting = {"event": "bill.paid", "count": len(ids), "key": None}
    CLIENT.post(f"{server.url}/workflows/collect?instance_id=bills", json=collecting).raise_for_status()
    with CLIENT.stream("GET", f"{server.url}/instances/bills/progress") as progress:
        assert any("MessageAwaited" in line for line in progress.iter_lines())

    for path, headers in deliveries.items():
        url = f"{server.url}/hooks/{path}"
        answers = [CLIENT.post(url, content=body.encode(), headers=headers) for _ in range(2)]
        forged = CLIENT.post(url, content=body.encode() + b" ", headers=headers)
        assert [202, 202, 401] == [each.status_code for each in (*answers, forged)]
        assert [None, True] == [each.json().get("duplicate") for each in answers]

    assert ids == result_of(server, "bills")


class Sender:
    """Sends so many events, one after the other, each until it is accepted."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._accepted = 0
        self._stopped = False
        self._changed = threading.Condition()

    def run(self, url: Callable[[], str]) -> None:
        for number in range(self._count):
            message = message_of(event("tick", f"t-{number}", number, subject="k"))
            while not self._stopped and not self._sent(url(), message):
                pass
            with self._changed:
                self._accepted += 1
                self._changed.notify_all()

    @staticmethod
    def _sent(url: str, message: HTTPMessage) -> bool:
        try:
            answer = post(url, message)
        except httpx2.TransportError:
            return False
        assert 202 == answer.status_code or answer.json()["retryable"]
        return answer.status_code == 202

    def wait_for(self, accepted: int) -> None:
        """Return when so many are accepted."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._accepted >= accepted, WITHIN)

    def stop(self) -> None:
        self._stopped = True
