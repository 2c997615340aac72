"""The app of this project for commands that take `MODULE:APP`, as in `romancy check romancy.ext.django.worker:app`.

They are run by `manage.py romancy …`, or with `DJANGO_SETTINGS_MODULE` set.
"""

from __future__ import annotations

import django
from django.apps import apps

from romancy.ext.django._process import made
from romancy.ext.django._settings import chosen

__all__ = ["app"]

if not apps.ready:
    django.setup()

app = made(chosen())
