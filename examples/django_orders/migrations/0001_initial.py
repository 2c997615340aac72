"""The tables of the shop."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies: ClassVar = []
    operations: ClassVar = [
        migrations.CreateModel(
            name="Order",
            fields=[
                ("id", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("item", models.CharField(max_length=200)),
            ],
        ),
        migrations.CreateModel(
            name="Shipment",
            fields=[
                ("order_id", models.CharField(max_length=40, primary_key=True, serialize=False)),
            ],
        ),
    ]
