"""The options of activities and of their calls: their names and types, what they may be, and the value that travels.

Each option is declared here: a keyword for users, and a field of `ActivityOptions`. The definition that a call is made
with has the value, and the effect has the definition, so nothing on the way from the decorator to the attempt names an
option. Code reads an option where it acts.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypedDict, cast

from msgspec import Raw, Struct
from msgspec.structs import force_setattr, replace

from romancy.errors import RegistrationError, UsageError
from romancy.limit import Limit
from romancy.retry import Duration, RetryPolicy, policy, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ActivityKeywords", "ActivityOptions", "CallKeywords", "DeclaredKeywords", "UndoKeywords", "UndoneKeywords"]


class UndoKeywords(TypedDict, total=False):
    """The options of `@compensation`."""

    name: str | None
    """The name in the log. Without it, the name of the function."""
    retry: RetryPolicy | None
    """How failed attempts are repeated. Without it, the policy of the app."""


class UndoneKeywords(UndoKeywords, total=False):
    """The options of each `@activity`."""

    timeout: Duration | None
    """The longest time of one attempt."""
    heartbeat_timeout: Duration | None
    """The longest time between two heartbeats of an attempt."""
    executor: Literal["thread", "process"]
    """Where a plain function runs: on a thread, as without this option, or in a process of its own."""
    transactional: bool
    """False: the activity has no session."""
    raises: Sequence[type[Exception]]
    """The exceptions that the workflow catches by their own classes."""
    at_most_once: bool
    """True: an attempt that may have begun is never begun again."""


class ActivityKeywords(UndoneKeywords, total=False):
    """The options of an `@activity` that is declared without `compensation=`."""

    limits: Sequence[Limit]
    """How many calls run at once, or begin in a period, over all workers."""
    commit: Literal["eager", "lazy"]
    """When the result is committed: at once, as without this option, or with the next commit of the workflow."""


class DeclaredKeywords(ActivityKeywords, total=False):
    """All options of an activity beside its compensation."""

    pass_context: bool
    compensate: Literal["completed", "attempted"]


class CallKeywords(TypedDict, total=False):
    """The options of a call. None changes nothing."""

    id: str | None
    """The id of the call in the log."""
    retry: RetryPolicy | None
    """How failed attempts of this call are repeated."""
    timeout: Duration | None
    """The longest time of one attempt at this call."""


class StepKeywords(TypedDict, total=False):
    """The options of a step."""

    retry: RetryPolicy | None
    """How failed attempts are repeated. Without it, the policy of the app."""
    timeout: Duration | None
    """The longest time of one attempt."""
    heartbeat_timeout: Duration | None
    """The longest time between two heartbeats of an attempt."""
    raises: Sequence[type[Exception]]
    """The exceptions that the body catches by their own classes."""
    about: object
    """What the step is shown with, as JSON of at most 16 kB. No replay compares it."""


class ActivityOptions(Struct, frozen=True, kw_only=True, gc=False):
    """What an activity was declared with, or what one call of it was given, as it was checked."""

    retry: RetryPolicy | None = None
    timeout: float | None = None
    heartbeat_timeout: float | None = None
    executor: Literal["thread", "process"] = "thread"
    transactional: bool = True
    raises: tuple[type[Exception], ...] = ()
    pass_context: bool = False
    compensate: Literal["completed", "attempted"] = "completed"
    commit: Literal["eager", "lazy"] = "eager"
    at_most_once: bool = False
    limits: tuple[Limit, ...] = ()
    id: str | None = None
    """The caller's id of the call."""
    default: Raw | None = None
    """What the call returns if it fails for good, as it is stored. None: it raises."""
    is_plain: bool = True
    """Whether an attempt only has to await its function. Follows from the options that are not `_AROUND`."""

    def __post_init__(self) -> None:
        if (plain := _within(self) == _PLAIN) is not self.is_plain:
            force_setattr(self, "is_plain", plain)

    @property
    def lazy(self) -> bool:
        return self.commit == "lazy"

    @classmethod
    def declared(cls, options: DeclaredKeywords, name: str, where: str) -> Self:
        """The value for a declaration. `where` is its place, for errors. Raises RegistrationError and UsageError."""
        checked = cast("dict[str, Any]", dict(options))
        for option, choices in _CHOICES.items():
            given = checked.get(option, choices[0])
            if not any(isinstance(given, type(each)) and given == each for each in choices):
                raise RegistrationError(f"{where}: {option}= is {' or '.join(map(repr, choices))}, not {given!r}")
        checked["raises"] = _classes(checked.get("raises", ()), where, RegistrationError)
        if checked.get("at_most_once") and checked.get("commit") == "lazy":
            raise RegistrationError(
                f"{where}: with commit='lazy' a crash runs the activity again, and at_most_once=True never does; "
                "leave one of them out"
            )
        checked["retry"] = policy(checked.get("retry"))
        for option in ("timeout", "heartbeat_timeout"):
            what = f"the {option} of activity {name}"
            checked[option] = _limit(checked.get(option), what, RegistrationError)
        return cls(**checked)

    @classmethod
    def of_compensation(cls, options: UndoKeywords) -> Self:
        """The value for a compensation. Raises UsageError."""
        checked = cast("dict[str, Any]", dict(options))
        policy(checked.get("retry"))
        return cls(**checked)

    @classmethod
    def of_step(
        cls,
        name: str,
        retry: RetryPolicy | None,
        timeout: Duration | None,
        heartbeat_timeout: Duration | None,
        raises: Sequence[type[Exception]],
    ) -> Self:
        """The value for a step. Raises UsageError."""
        return cls(
            raises=_classes(raises, f"ctx.step({name!r})", UsageError),
            retry=policy(retry),
            timeout=_limit(timeout, f"the timeout of step {name!r}", UsageError),
            heartbeat_timeout=_limit(heartbeat_timeout, f"the heartbeat_timeout of step {name!r}", UsageError),
        )

    def called(self, options: CallKeywords, name: str) -> Self:
        """The value for a call of this activity. Raises UsageError."""
        changes: dict[str, Any] = {}
        for option, given in options.items():
            if given is None:
                continue
            if option == "timeout":
                changes["timeout"] = _limit(cast("Duration", given), f"the timeout of {name}", UsageError)
            else:
                changes[option] = policy(given) if option == "retry" else given
        return replace(self, **changes)

    @property
    def as_undo(self) -> ActivityOptions:
        """Those that an undo has which is carried out by this activity."""
        return ActivityOptions(retry=self.retry, timeout=self.timeout, transactional=self.transactional)


_CHOICES: Final[dict[str, tuple[Any, ...]]] = {
    "commit": ("eager", "lazy"),
    "executor": ("thread", "process"),
    "compensate": ("completed", "attempted"),
    "at_most_once": (True, False),
}
_AROUND: Final = {
    "retry", "transactional", "raises", "pass_context", "compensate", "commit", "at_most_once", "limits", "id",
    "default", "is_plain",
}  # fmt: skip
"""Options that change nothing while the function of an attempt runs. Without them here, it is called slowly."""
_within: Final = attrgetter(*(name for name in ActivityOptions.__struct_fields__ if name not in _AROUND))
_PLAIN: Final[object] = tuple(
    default
    for name, default in zip(ActivityOptions.__struct_fields__, ActivityOptions.__struct_defaults__, strict=True)
    if name not in _AROUND
)


def _limit(longest: Duration | None, what: str, error: type[UsageError]) -> float | None:
    """The limit in seconds. Raises UsageError for what is no length of time, and `error` for 0: nothing would run."""
    limit = None if longest is None else seconds(longest, what)
    if limit == 0:
        raise error(f"{what} must be longer than 0 s; leave it out for no limit")
    return limit


def _classes(given: object, where: str, error: type[UsageError]) -> tuple[type[Exception], ...]:
    """The classes of `raises=`. Raises `error` for anything else."""
    if not isinstance(given, (list, tuple)) or not all(map(_is_error, cast("list[object]", given))):
        raise error(f"{where}: raises= takes a list of exception classes, not {given!r}")
    return tuple(cast("list[type[Exception]]", given))


def _is_error(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Exception)
