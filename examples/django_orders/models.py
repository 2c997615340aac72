"""The shop's own tables."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    id: models.CharField[str, str] = models.CharField(primary_key=True, max_length=40)
    item: models.CharField[str, str] = models.CharField(max_length=200)

    def __str__(self) -> str:
        return f"{self.id}: {self.item}"


class Shipment(models.Model):
    order_id: models.CharField[str, str] = models.CharField(primary_key=True, max_length=40)

    def __str__(self) -> str:
        return self.order_id
