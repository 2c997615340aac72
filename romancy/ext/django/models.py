"""A model for the admin and its permissions. It has no table, and no migration makes one."""

from __future__ import annotations

from django.db import models

__all__ = ["Instance"]


class Instance(models.Model):
    """An instance of a workflow. Django's ORM finds none: ask `opened_app()`."""

    instance_id: models.CharField[str, str] = models.CharField(primary_key=True, max_length=255)

    class Meta:
        managed = False
        default_permissions = ("view",)
        verbose_name = "workflow instance"

    def __str__(self) -> str:
        return self.instance_id
