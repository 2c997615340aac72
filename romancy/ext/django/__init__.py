"""Django: one app for each process, made from the settings. Its starts and signals join `atomic()`.

Add `"romancy.ext.django"` to `INSTALLED_APPS`. `docs/guide/django.md` says what the setting `ROMANCY` takes.
"""

from __future__ import annotations

try:
    from romancy.ext.django._process import close_app, opened_app
except ImportError as error:
    raise ImportError(f"{error}; install the extra: pip install 'romancy[django]'", name=error.name) from error

__all__ = ["close_app", "opened_app"]
