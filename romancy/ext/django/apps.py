"""The Django app: its name, its checks, and the import of other apps' workflows."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks
from django.core.signals import request_started
from django.utils.module_loading import autodiscover_modules

from romancy.ext.django._process import open_before_the_request
from romancy.ext.django._settings import check_settings

__all__ = ["RomancyConfig"]


class RomancyConfig(AppConfig):
    """Romancy among the installed apps."""

    name = "romancy.ext.django"
    label = "romancy"
    verbose_name = "Romancy"

    def ready(self) -> None:
        """Import the module `workflows` of each installed app. Opens nothing: processes may fork after this."""
        autodiscover_modules("workflows")
        checks.register(check_settings)
        request_started.connect(open_before_the_request, dispatch_uid="romancy")
