"""The web application. Its process is a worker too: it takes up open orders as soon as it begins."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

from romancy.ext.django import opened_app

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "examples.django_orders.settings")
application = get_wsgi_application()
opened_app()
