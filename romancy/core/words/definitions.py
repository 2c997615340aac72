"""The definitions of what a run calls: activities and other workflows. The authoring layer provides them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from msgspec import Raw

    from romancy._call_options import ActivityOptions
    from romancy._start_options import StartOptions

__all__ = ["ActivityDefinition", "CalledWorkflow", "CompensationDefinition"]


class CompensationDefinition(Protocol):
    """Undoes an activity."""

    @property
    def name(self) -> str: ...

    @property
    def takes_result(self) -> bool: ...

    @property
    def given(self) -> ActivityOptions: ...


class ActivityDefinition(Protocol):
    """A unit of work as the run sees it."""

    @property
    def name(self) -> str: ...

    @property
    def fn(self) -> Callable[..., Any]: ...

    @property
    def given(self) -> ActivityOptions:
        """The options of the call."""
        ...

    @property
    def undo(self) -> CompensationDefinition | None: ...

    @property
    def as_undo(self) -> CompensationDefinition:
        """The activity itself, in the place of a compensation."""
        ...

    def read_default(self, default: Raw, /) -> object: ...

    def read_result(self, result: Raw, /) -> object: ...

    def is_same_call(self, recorded: Raw, asked: Raw, /) -> bool:
        """Whether both are the same call for today's code, in which later parameters have their defaults."""
        ...


class CalledWorkflow(Protocol):
    """A workflow as the run sees it that calls it as a child."""

    @property
    def name(self) -> str: ...

    @property
    def fn(self) -> Callable[..., Any]: ...

    @property
    def given(self) -> StartOptions:
        """The options of the start."""
        ...

    def read_result(self, result: Raw, /) -> object: ...

    def is_same_call(self, recorded: Raw, asked: Raw, /) -> bool:
        """Whether both are the same call, as for an activity."""
        ...
