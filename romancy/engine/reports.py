"""What a driver is to the parts around it, which do not know it, and what it reports about its instances.

The worker answers the reports: it owns what brings an instance back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Iterable, Mapping

    from romancy.core import Activation, Input, StartChild
    from romancy.engine.activities.port import Port
    from romancy.engine.clock import DatabaseClock
    from romancy.engine.dispatcher import Dispatcher
    from romancy.engine.ended_attempts import Ports
    from romancy.engine.incarnation import Incarnation
    from romancy.engine.instance import Live
    from romancy.engine.observer import Observer
    from romancy.engine.pending_append import PendingAppend
    from romancy.engine.unwritten import Unwritten
    from romancy.registry import Registry
    from romancy.storage.journal import NewLine
    from romancy.storage.records import Outcome
    from romancy.stream_rows import StreamRow

__all__ = ["Drives", "Reports", "Revives"]


class Drives(Protocol):
    """The driver, for whatever answers the effects that it carries out: attempts, joining, retries of children."""

    registry: Registry
    incarnation: Incarnation
    clock: DatabaseClock
    dispatcher: Dispatcher
    ports: Ports
    reports: Reports
    observer: Observer | None
    announces: Observer | None

    def settle(self, prepared: PendingAppend, outcome: Outcome) -> None:
        """Act on the outcome of an append."""
        ...

    @property
    def live(self) -> Mapping[str, Live]:
        """The loaded instances."""
        ...

    def advance(self, lives: Iterable[Live], /) -> None:
        """Feed the waiting inputs of these instances and submit the appends that follow from them."""
        ...

    def feed(self, live: Live, event: Input) -> None:
        """Give the run an input, now or when its slot is free."""
        ...

    def ended(self, live: Live, event: Input, port: Port | None) -> None:
        """Feed the end of an attempt, which is the last of the instance's inputs."""
        ...

    async def ended_alone(self, live: Live, event: Input, port: Port | None, task: Task[Any]) -> None:
        """Feed the end of the only running attempt."""
        ...

    def go_on(self, live: Live) -> None:
        """Feed the inputs that waited for the instance's slot, if the slot is free."""
        ...

    def release(self, live: Live) -> None:
        """Release an instance that has nothing to do."""
        ...


class Revives(Protocol):
    """Retries the failed children of retried runs."""

    def begin(self, driver: Drives, live: Live, child: StartChild, /) -> None:
        """Retry the child, or tell its parent why that is impossible."""
        ...

    def look_again(self, driver: Drives, live: Live, /) -> None:
        """Look once more at children that ended on behalf of another run than this one."""
        ...


class Reports(Protocol):
    """The outcomes that a driver cannot settle by itself. `Worker` is the one that receives them."""

    def finished(self, live: Live, activation: Activation) -> None:
        """The instance has ended, rests or is stuck, and its log says so. This worker no longer owns it."""
        ...

    def answered(self, live: Live) -> None:
        """The log has the answer to a request of a sender."""
        ...

    def streamed(self, line: NewLine, row: StreamRow, before: int, number: int) -> None:
        """This row of a stream is in the journal, as the line with this number. `before`: that of the line before."""
        ...

    def dropped(self, live: Live) -> None:
        """The run is closed. Another worker may own the instance now, or has ended it."""
        ...

    def lacks_mail(self, live: Live) -> None:
        """A message of its inbox was not taken in, and may be of use now. A claim has to bring its mail again."""
        ...

    def lost(self, prepared: PendingAppend, outcome: Outcome) -> None:
        """The database refused the append. The run's memory may be wrong."""
        ...

    def broken(self, live: Live, error: Exception, unwritten: Unwritten | None = None) -> None:
        """The instance raised an error that no code expects. It cannot continue here.

        What has happened is recorded before it is let go, unless an append is in flight. `unwritten`: what was fed.
        """
        ...

    def goes_back(self, unwritten: Unwritten) -> None:
        """The run has missed what its log has: a run that has followed the log takes its place. The slot is taken."""
        ...

    def in_session(self, prepared: PendingAppend, port: Port) -> None:
        """The session of an ended attempt must commit the append, and `Driver.settle` be called with the outcome."""
        ...
