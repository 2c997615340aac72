"""An instance as users see it in lists and searches: a snapshot of its row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Self

from romancy.serialization import loads, refuse_sealed
from romancy.status import Status

if TYPE_CHECKING:
    from romancy.storage.records import InstanceRow

__all__ = ["Instance", "InstancePage", "changed_at"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance, as it stood when it was read."""

    instance_id: str
    workflow_name: str
    status: Status
    created_at: datetime
    updated_at: datetime
    error: str | None
    parent_id: str | None
    wakes_at: datetime | None
    raw_input: bytes
    """The input as it is stored: the JSON of the only parameter, or an object of several."""

    @property
    def input(self) -> Any:
        """The input as plain JSON values. Raises CodecError when a codec wrote it that this app does not have."""
        what = f"input of instance {self.instance_id}"
        refuse_sealed(self.raw_input, "input", f"the {what}")
        return loads(self.raw_input, Any, what)

    @classmethod
    def of(cls, row: InstanceRow) -> Self:
        """The snapshot of a row."""
        return cls(
            instance_id=row.instance_id,
            workflow_name=row.workflow_name,
            status=row.status,
            created_at=_moment(row.created_at),
            updated_at=_moment(row.updated_at),
            error=row.error,
            parent_id=row.parent,
            wakes_at=None if row.wake_at is None else _moment(row.wake_at),
            raw_input=row.input,
        )


@dataclass(frozen=True, slots=True)
class InstancePage:
    """A page of instances, newest first."""

    instances: list[Instance]
    next_page_token: str | None

    @property
    def has_more(self) -> bool:
        """Whether there is another page."""
        return self.next_page_token is not None


def changed_at(instance: Instance) -> int:
    """When it last changed as the database has it, in µs."""
    return (instance.updated_at - _EPOCH) // timedelta(microseconds=1)


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
