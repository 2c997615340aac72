"""The setting `ROMANCY`, and the URL of the database that it names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from django.conf import settings
from django.core.checks import Error
from django.db import DEFAULT_DB_ALIAS, connections
from django.utils.module_loading import import_string

from romancy.errors import UsageError
from romancy.ext.django._url import url_of
from romancy.workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.core.checks import CheckMessage

__all__ = ["Chosen", "check_settings", "chosen"]

_KEYS: Final = ("DATABASE", "OPTIONS", "URL", "WORKER", "WORKFLOWS")


@dataclass(frozen=True)
class Chosen:
    """What the setting says, checked."""

    alias: str | None
    """The database among `DATABASES`. None: the URL is given."""
    url: str = field(repr=False)
    workflows: list[Workflow[..., Any]] | None
    """None: all that are declared."""
    worker: bool
    options: dict[str, Any]
    """Other options of `SyncRomancy`."""


def chosen() -> Chosen:
    """Read the setting. Raises UsageError, which names the key."""
    said = _dictionary(getattr(settings, "ROMANCY", {}), "the setting ROMANCY")
    unknown = sorted(set(map(str, said)) - set(_KEYS))
    if unknown:
        raise UsageError(f"the setting ROMANCY has the key {unknown[0]!r}; it knows {', '.join(_KEYS)}")
    if "URL" in said and "DATABASE" in said:
        raise UsageError("the setting ROMANCY has both URL and DATABASE; keep DATABASE if its tables are Django's own")
    alias = None if "URL" in said else _alias(said.get("DATABASE", DEFAULT_DB_ALIAS))
    worker = said.get("WORKER", False)
    if not isinstance(worker, bool):
        raise UsageError(f"ROMANCY['WORKER'] is True or False, not {worker!r}")
    return Chosen(
        alias=alias,
        url=_text(said["URL"], "URL") if alias is None else url_of(connections[alias]),
        workflows=None if "WORKFLOWS" not in said else list(_workflows(said["WORKFLOWS"])),
        worker=worker,
        options=_dictionary(said.get("OPTIONS", {}), "ROMANCY['OPTIONS']"),
    )


def check_settings(**_: object) -> list[CheckMessage]:
    """A check of Django's: `manage.py check` says what is wrong with the setting."""
    try:
        chosen()
    except UsageError as error:
        return [Error(str(error), id="romancy.E001")]
    return []


def _alias(given: object) -> str:
    alias = _text(given, "DATABASE")
    if alias not in connections:
        raise UsageError(f"ROMANCY['DATABASE'] is {alias!r}, and DATABASES has {', '.join(connections)}")
    return alias


def _text(given: object, key: str) -> str:
    if not isinstance(given, str):
        raise UsageError(f"ROMANCY[{key!r}] is a text, not {type(given).__name__}")
    return given


def _dictionary(given: object, what: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise UsageError(f"{what} is a dictionary, not {type(given).__name__}")
    return cast("dict[str, Any]", given)


def _workflows(given: object) -> Iterable[Workflow[..., Any]]:
    if not isinstance(given, list | tuple):
        raise UsageError(f"ROMANCY['WORKFLOWS'] is a list of dotted names, not {type(given).__name__}")
    for one in cast("Iterable[object]", given):
        try:
            found: object = import_string(one) if isinstance(one, str) else one
        except ImportError as error:
            raise UsageError(f"ROMANCY['WORKFLOWS'] has {one!r}: {error}") from None
        if not isinstance(found, Workflow):
            raise UsageError(f"ROMANCY['WORKFLOWS'] has {one!r}, which is no workflow")
        yield found
