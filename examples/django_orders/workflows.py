"""What happens to an order. Django's ORM is used in plain functions alone, so `ship` is one."""

from __future__ import annotations

from examples.django_orders.models import Shipment
from romancy import EventType, WorkflowContext, activity, workflow

paid = EventType("paid", None)


@activity
def ship(order_id: str) -> None:
    Shipment.objects.get_or_create(order_id=order_id)  # it may run twice: the ORM commits before Romancy does


@workflow
async def fulfil(ctx: WorkflowContext, order_id: str, item: str) -> str:
    await ctx.wait_event(paid)
    await ship(order_id)
    return f"{item} of order {order_id} is on its way"
