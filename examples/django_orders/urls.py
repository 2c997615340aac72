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
from romancy.ext.django import opened_app

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


def order(request: HttpRequest, order_id: str) -> HttpResponse:
    if request.method == "PUT":
        with transaction.atomic():
            Order.objects.create(id=order_id, item=request.GET["item"])
            opened_app().start(fulfil.options(instance_id=order_id), order_id, session=connection)
        return JsonResponse({"id": order_id}, status=202)
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


@require_POST
def payment(request: HttpRequest, order_id: str) -> HttpResponse:
    with transaction.atomic():
        opened_app().signal(order_id, paid, id="payment", session=connection)
    return JsonResponse({}, status=202)


urlpatterns = [
    path("orders/<slug:order_id>", order),
    path("orders/<slug:order_id>/payment", payment),
    path("admin/", admin.site.urls),
]
