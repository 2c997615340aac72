"""The views."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.db import connection, transaction
from django.http import HttpResponseNotAllowed, JsonResponse
from django.urls import path
from django.views.decorators.http import require_POST

from examples.django_orders.models import Order, Shipment
from examples.django_orders.workflows import fulfil, paid
from romancy.errors import InstanceConflictError, UsageError
from romancy.ext.django import opened_app

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


def order(request: HttpRequest, order_id: str) -> HttpResponse:
    if request.method == "PUT":
        return place(order_id, request.GET.get("item", ""))
    if request.method == "GET":
        found = opened_app().get_instance(order_id)
        return JsonResponse(
            {
                "ordered": Order.objects.filter(id=order_id).exists(),
                "status": None if found is None else found.status,
                "shipped": Shipment.objects.filter(order_id=order_id).exists(),
            }
        )
    return HttpResponseNotAllowed(["GET", "PUT"])


def place(order_id: str, item: str) -> HttpResponse:
    if not item:
        return JsonResponse({"error": "an order has an item"}, status=422)
    try:
        with transaction.atomic():
            # First the workflow: it is there once, and refuses another item. Then the row, which may be there.
            opened_app().start(fulfil.options(instance_id=order_id), order_id, item, session=connection)
            Order.objects.get_or_create(id=order_id, defaults={"item": item})
    except UsageError as error:
        return refused(error)
    return JsonResponse({"id": order_id}, status=202)


@require_POST
def payment(request: HttpRequest, order_id: str) -> HttpResponse:
    try:
        with transaction.atomic():
            opened_app().signal(order_id, paid, id="payment", session=connection)
    except UsageError as error:
        return refused(error)
    return JsonResponse({}, status=202)


def refused(error: UsageError) -> HttpResponse:
    """Another item under this id, or a payment without an order: nothing was written."""
    return JsonResponse({"error": str(error)}, status=409 if isinstance(error, InstanceConflictError) else 400)


urlpatterns = [
    path("orders/<slug:order_id>", order),
    path("orders/<slug:order_id>/payment", payment),
    path("admin/", admin.site.urls),
]
