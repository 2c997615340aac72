"""An app that a server process serves: `uvicorn tests.http.served:http`. The environment says where its data is."""

from __future__ import annotations

import os
from dataclasses import dataclass

from romancy import EventType, Romancy, WorkflowContext, workflow
from romancy.http import GitHub, StandardWebhooks, Stripe, asgi
from tests.http.process import GITHUB_SECRET, MAIL_SECRET, STRIPE_SECRET


@dataclass
class Order:
    item: str
    count: int


paid = EventType("order.paid", dict[str, int])
packed = EventType("order.packed", dict[str, str])


@workflow(name="order.placed", event_handler=True)
async def place_order(ctx: WorkflowContext, order: Order) -> str:
    """Wait for an event that names this instance, then for one that names its item as the subject."""
    money = await ctx.wait_event(paid)
    box = await ctx.wait_event(packed, key=order.item)
    return f"{order.count} × {order.item}: {money.data['cents']} of {money.source}, {box.data['box']} of {box.source}"


@workflow
async def collect(ctx: WorkflowContext, event: str, count: int, key: str | None = None) -> list[str]:
    """The ids of so many events, as they come. Those with a key are kept from wait to wait; others are listened to."""
    if key is None:
        await ctx.subscribe(event)
    return [(await ctx.wait_event(event, key=key)).id for _ in range(count)]


app = Romancy(
    os.environ.get("ROMANCY_URL", "memory://served"),
    workflows=[place_order, collect],
    worker="ROMANCY_NO_WORKER" not in os.environ,
)
http = asgi(app, auth="local", events=[paid, packed], body_timeout=2.0, max_wait=1.0)
http.webhook("/hooks/mail", verify=StandardWebhooks(MAIL_SECRET))
http.webhook("/hooks/stripe", verify=Stripe("whsec_former", STRIPE_SECRET))
http.webhook("/hooks/github", verify=GitHub(GITHUB_SECRET))
