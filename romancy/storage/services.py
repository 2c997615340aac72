"""The services of a store: what it offers beside the twelve members that every store has.

A service is an object with a protocol of its own. A store names its services once, and may lack any of them. A caller
that can do without a service asks `offered`; any other caller takes the service, and gets an error that names it if it
is missing.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypedDict, Unpack, dataclass_transform

from romancy.errors import StorageConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.storage.amending import Amending
    from romancy.storage.figures import Figures
    from romancy.storage.journal import Journal
    from romancy.storage.lookups import Lookups
    from romancy.storage.outbox import Outbox
    from romancy.storage.reading import Reading
    from romancy.storage.rebuilding import Rebuilding
    from romancy.storage.router import Router
    from romancy.storage.sessions import Sessions
    from romancy.storage.standby import Standby
    from romancy.storage.upkeep import Upkeep

__all__ = ["MissingServiceError", "Service", "Services"]


class Service(StrEnum):
    """The names of the services."""

    SESSIONS = "sessions"
    ROUTER = "router"
    OUTBOX = "outbox"
    READING = "reading"
    LOOKUPS = "lookups"
    FIGURES = "figures"
    UPKEEP = "upkeep"
    REBUILDING = "rebuilding"
    STANDBY = "standby"
    JOURNAL = "journal"
    AMENDING = "amending"


class MissingServiceError(StorageConfigurationError):
    """A service was asked for that this store does not offer."""

    def __init__(self, service: Service, message: str) -> None:
        super().__init__(message)
        self.service = service


class _Missing:
    """Stands on the class for a service. One that a store has is an attribute of the object, and goes before it."""

    def __init__(self, without: str) -> None:
        self._without = without

    def __set_name__(self, owner: type, name: str) -> None:
        self._service = Service(name)

    def __get__(self, services: object, owner: type) -> NoReturn:
        raise MissingServiceError(
            self._service,
            f"the adapter of this database offers no service {self._service.value!r} (romancy/storage/services.py), so "
            f"{self._without}; use an adapter that has it",
        )


def _service(*, without: str, default: None) -> Any:  # noqa: ARG001 - says that a service may be left out
    return _Missing(without)


@dataclass_transform(kw_only_default=True, field_specifiers=(_service,))
class _Offering:
    """Takes the services that the subclass declares, by their names."""

    def __init__(self, **services: Any) -> None:
        given = {name: room for name, room in services.items() if room is not None}
        vars(self).update(given)
        self.offered: Final = frozenset(map(Service, given))


class Wrappers(TypedDict, total=False):
    """What `Services.wrapped` takes. A standby is not wrapped: it is asked for what it is."""

    sessions: Callable[[Sessions], Sessions]
    router: Callable[[Router], Router]
    outbox: Callable[[Outbox], Outbox]
    reading: Callable[[Reading], Reading]
    lookups: Callable[[Lookups], Lookups]
    figures: Callable[[Figures], Figures]
    upkeep: Callable[[Upkeep], Upkeep]
    rebuilding: Callable[[Rebuilding], Rebuilding]
    journal: Callable[[Journal], Journal]
    amending: Callable[[Amending], Amending]


class Services(_Offering):
    """The services of one store, each given by its name. `offered` says which it has."""

    sessions: Sessions = _service(default=None, without="transactions of activities, and `session=`, do not work")
    """Transactions for user code, and transactions of callers."""
    router: Router = _service(default=None, without="channels, events, and messages to addresses do not work")
    """The routing of messages that are not addressed to one instance."""
    outbox: Outbox = _service(default=None, without="messages for the outside cannot be sent")
    """The relay's side of the outbox."""
    reading: Reading = _service(
        default=None, without="instances cannot be searched or counted, and the workers cannot be listed"
    )
    """Searches, and the list of workers."""
    lookups: Lookups = _service(
        default=None, without="rows are read one by one, and what lies in inboxes cannot be read"
    )
    """Single statements that answer for many ids, or look at a part of a table."""
    figures: Figures = _service(default=None, without="there are no bounded counts for displays")
    """Bounded counts for displays."""
    upkeep: Upkeep = _service(
        default=None, without="nothing can be removed, and `romancy doctor` cannot look at the database"
    )
    """What an operator does: remove old instances, look at settings, plan migrations."""
    rebuilding: Rebuilding = _service(default=None, without="`romancy rebuild` does not work")
    """Making again what a database holds beside its logs."""
    standby: Standby = _service(default=None, without="`read_url=` does not work")
    """Whether this server is a copy of another one."""
    journal: Journal = _service(default=None, without="streams and `keep_logs=` do not work")
    """Streams and log lines of instances, kept beside their logs of events."""
    amending: Amending = _service(default=None, without='each failed attempt is a row, also with `record="last"`')
    """Rows that take the place of the last one of a log."""

    def wrapped(self, **wrappers: Unpack[Wrappers]) -> Services:
        """The same services, some of them replaced. A service that this store lacks stays missing."""
        given: dict[str, Any] = {service.value: getattr(self, service) for service in self.offered}
        by: dict[str, Any] = {**wrappers}
        return Services(**given | {name: wrap(given[name]) for name, wrap in by.items() if name in given})
