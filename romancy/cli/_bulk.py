"""Acts on one instance by its id, or on all that a filter finds.

With a filter, the command shows the number of instances and asks first; `--yes` answers, `--dry-run` only lists.
Instances are read page by page and acted on as they come. Of the instances in a question, a key of eight bytes each is
kept. The command then acts only on these, and only if they still match. Without a question, instances that began after
the command are skipped.
"""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

import click

from romancy.cli._asking import confirm
from romancy.cli._database import Operator, database, operating
from romancy.cli._filter_options import filters_to_act
from romancy.cli._gathering import gathered
from romancy.cli._printing import as_json, json_option, line, say
from romancy.errors import (
    CodecError,
    HistoryCorruptError,
    HistoryVersionError,
    InstanceConflictError,
    InstanceNotFoundError,
    UsageError,
)
from romancy.insight import alive, many
from romancy.instance import Instance, changed_at
from romancy.query import InstanceFilter
from romancy.status import Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Action", "Request", "act_on", "bulk"]

T = TypeVar("T")

_AT_ONCE: Final = 20
_TOGETHER: Final = 500
"""The most instances of one call that acts on many."""
_DONE: Final = {
    "signal": "sent", "cancel": "requested", "retry": "requested", "resume": "requested", "unpause": "requested",
}  # fmt: skip
"""The outcome of actions that a worker has to take up."""
_EACH: Final = 1000


@dataclass(frozen=True)
class Action:
    """The action of a command on an instance."""

    verb: str
    statuses: tuple[Status, ...]
    """The statuses of the instances that it applies to."""
    act: Callable[[Operator, str, Instance | None], Awaitable[object]]
    """Acts on the instance as a filter found it. False: it had ended already. UsageError: the action is impossible."""
    by_itself: tuple[Status, ...] | None = None
    """The statuses that a filter finds without --status; None: all of them."""
    quiet_for: float | None = None
    """Acts only on instances that have not changed for so many seconds."""
    as_found: bool = False
    """Skips instances that have changed since the question."""
    together: Callable[[Operator, Sequence[Instance]], Awaitable[Collection[str]]] | None = None
    """Acts on many that have not changed since the question, and returns the ids of those on which it had an effect."""
    done: str = ""
    """What became of those that a filter finds. If it is given, a total is printed in the place of each."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a command acts on, and how."""

    url: str | None
    app: str | None
    instance_id: str | None = None
    chosen: InstanceFilter
    dry_run: bool
    yes: bool
    json_lines: bool


_gather: Final = gathered(
    "request",
    Request,
    database,
    click.option("--dry-run", is_flag=True, help="Only list what would be acted on."),
    click.option("--yes", is_flag=True, help="Do not ask before acting on all that a filter finds."),
    json_option,
)


def bulk(command: Callable[..., T]) -> Callable[..., T]:
    """The options of a command that acts on one instance or on many, which it gets as `request`."""
    return filters_to_act(_gather(command))


async def act_on(action: Action, request: Request) -> None:
    """Act on the instance, or on all that the filter finds. click.ClickException if the action failed for some."""
    chosen, instance_id, json_lines = request.chosen, request.instance_id, request.json_lines
    if chosen.is_empty == (instance_id is None):
        raise click.UsageError(
            f"name what to {action.verb}: either an ID, or --where, --header, --workflow, --status, --exact-id, "
            "--parent, --top-level, --error or a time"
        )
    wanted = _wanted(action, chosen.statuses)
    async with operating(request.url, request.app) as operator:
        if instance_id is not None:
            asked = await _one(operator, action, instance_id, dry_run=request.dry_run, json_lines=json_lines)
            await _warn(operator, action, requested=asked)
            return
        now = (await operator.store.services.reading.census()).now

        async def found() -> AsyncIterator[Instance]:
            before = None if action.quiet_for is None else now - action.quiet_for * 1_000_000
            async for one in operator.to_act_on(replace(chosen, status=wanted)):
                changed = changed_at(one)
                if one.created_at.timestamp() * 1_000_000 <= now and (before is None or changed < before):
                    yield one

        run = _Run(operator, action, now, wanted if chosen.statuses else None, json_lines=json_lines)
        if request.dry_run:
            await run.preview(found())
            return
        if not request.yes:
            run.asked = await _asked(found())
            if run.asked:
                confirm(f"{action.verb} {many(len(run.asked), 'instance')}?")
        if run.asked is None or run.asked:
            await run.act(found())
            await _warn(operator, action, requested=run.requested)
        run.sum_up()


def _wanted(action: Action, status: tuple[Status, ...]) -> tuple[Status, ...]:
    """The statuses to search for. A status that the action does not apply to finds nothing."""
    wanted = status or action.by_itself or action.statuses
    if vain := sorted(set(wanted) - set(action.statuses)):
        raise click.UsageError(
            f"{action.verb} does nothing to {', '.join(vain)} instances; it is for those that are "
            f"{', '.join(sorted(action.statuses))}"
        )
    return wanted


async def _asked(found: AsyncIterator[Instance]) -> array[int]:
    """The keys of the instances that a question is about, in order."""
    keys = array("q")
    async for one in found:
        keys.append(hash(one.instance_id))
    return array("q", sorted(keys))


def _is_in(keys: array[int], one: Instance) -> bool:
    key = hash(one.instance_id)
    place = bisect_left(keys, key)
    return place < len(keys) and keys[place] == key


async def _one(operator: Operator, action: Action, instance_id: str, *, dry_run: bool, json_lines: bool) -> bool:
    """Act on one instance. Returns whether that has asked anything of it: of an ended one, nothing can be asked."""
    if not dry_run:
        done = await _acted(operator, action, instance_id)
        _said(instance_id, action.verb, done, json_lines=json_lines)
        return done is not False
    found = await operator.get_instance(instance_id)
    if found is None:
        raise InstanceNotFoundError(f"there is no instance {instance_id!r}")
    _preview(found, action.verb, json_lines=json_lines)
    return False


async def _acted(operator: Operator, action: Action, instance_id: str) -> object:
    """Act on the instance. Raises InstanceConflictError if the action is not for its present status."""
    try:
        return await action.act(operator, instance_id, None)
    except UsageError as error:
        found = await operator.get_instance(instance_id)
        if found is None or found.status in action.statuses:
            raise
        raise InstanceConflictError(str(error), conflicts=[instance_id]) from None


async def _warn(operator: Operator, action: Action, *, requested: bool) -> None:
    """Say so if nobody takes up what was requested."""
    if requested and action.verb in _DONE and not alive(await operator.store.services.reading.census()):
        say("no worker has taken it: none is alive; start one with `romancy run MODULE:APP`")


class _Run:
    """One command that acts on all instances that a filter finds."""

    def __init__(
        self, operator: Operator, action: Action, asked_at: int, only: tuple[Status, ...] | None, *, json_lines: bool
    ) -> None:
        self.asked: array[int] | None = None
        """The keys of the instances in the question; None: there was no question."""
        self._operator = operator
        self._action = action
        self._asked_at = asked_at
        self._only = only
        self._json_lines = json_lines
        self.requested = False
        """Whether something was asked of an instance that had not ended."""
        self._met = self._failed = self._late = self._done = 0
        self._at_once = _AT_ONCE if action.together is None else _TOGETHER

    async def preview(self, found: AsyncIterator[Instance]) -> None:
        """Only list the instances that the command would act on."""
        async for one in found:
            self._met += 1
            _preview(one, self._action.verb, json_lines=self._json_lines)
        say(f"{self._met} to {self._action.verb}")

    async def act(self, found: AsyncIterator[Instance]) -> None:
        """Act on the instances as they come, some concurrently."""
        some: list[Instance] = []
        try:
            async for one in found:
                if self.asked is not None and not _is_in(self.asked, one):
                    self._late += 1
                    continue
                some.append(one)
                if len(some) == self._at_once:
                    await self._act_on(some)
                    some.clear()
            await self._act_on(some)
        except asyncio.CancelledError:
            self._stopped()
            raise

    def sum_up(self) -> None:
        """Print a summary, and end the command with an error if the action failed for some."""
        self._say_total()
        if not self._met:
            say(f"0 to {self._action.verb}")
        if self.asked is not None and self._met < len(self.asked):
            gone = len(self.asked) - self._met
            say(f"{gone} of {len(self.asked)} changed after the question, no longer fit and were left alone")
        if self._late:
            was = "was" if self._late == 1 else "were"
            say(f"{self._late} came to fit after the question and {was} left alone")
        if self._failed:
            raise click.ClickException(f"{self._failed} of {self._met} could not be acted on; the reasons are above")

    async def _act_on(self, some: list[Instance]) -> None:
        done = await self._together([one for one in some if changed_at(one) <= self._asked_at])
        answers = await self._each(some, done)
        outages: list[BaseException] = []
        for one, answer in zip(some, answers, strict=True):
            if isinstance(answer, BaseException) and not _is_of_one(answer):
                outages.append(answer)
                continue
            self._met += 1
            if isinstance(answer, BaseException):
                self._failed += 1
                say(f"{one.instance_id}: {answer}")
            else:
                self.requested |= answer is not False
                self._done += 1
                if self._json_lines or not self._action.done:
                    _said(one.instance_id, self._action.verb, answer, json_lines=self._json_lines)
            if self._met % _EACH == 0:
                say(f"{self._met}{'' if self.asked is None else f' of {len(self.asked)}'} so far")
        if outages:
            self._stopped()
            raise outages[0]

    def _say_total(self) -> None:
        if self._action.done and self._done and not self._json_lines:
            line(f"{many(self._done, 'instance')} {self._action.done}")

    async def _together(self, some: Sequence[Instance]) -> Collection[str]:
        """Act on many at once, if the action can do that. Those that are left go one by one."""
        if self._action.together is None or not some:
            return ()
        try:
            return await self._action.together(self._operator, some)
        except Exception:
            self._stopped()
            raise

    async def _each(self, some: Sequence[Instance], done: Collection[str]) -> list[object]:
        """Act on those that are not done. The answers are of all, in their order."""
        left = iter(
            await asyncio.gather(
                *(self._act(one) for one in some if one.instance_id not in done), return_exceptions=True
            )
        )
        return [True if one.instance_id in done else next(left) for one in some]

    def _stopped(self) -> None:
        self._say_total()
        if self._met:
            say(f"{self._action.verb} stopped after {many(self._met, 'instance')}; run the command again to continue")

    async def _act(self, one: Instance) -> object:
        if self._action.as_found and changed_at(one) > self._asked_at:
            raise UsageError("it has changed since it was found, and was left alone")
        if self._only is not None:
            now = await self._operator.get_instance(one.instance_id)
            if now is not None and now.status not in self._only:
                raise UsageError(f"it is {now.status} now, and was left alone")
        return await self._action.act(self._operator, one.instance_id, one)


def _is_of_one(error: BaseException) -> bool:
    """Whether the error concerns this instance alone, unlike a database that is away."""
    return isinstance(error, UsageError | CodecError | HistoryVersionError | HistoryCorruptError)


def _said(instance_id: str, verb: str, answer: object, *, json_lines: bool) -> None:
    outcome = _DONE.get(verb, "done") if answer is not False else "it had ended already"
    _print(instance_id, f"{verb}: {outcome}", json_lines=json_lines)


def _preview(one: Instance, verb: str, *, json_lines: bool) -> None:
    if json_lines:
        as_json({"instance_id": one.instance_id, "workflow": one.workflow_name, "outcome": f"would {verb}"})
    else:
        line(f"{one.instance_id}  {one.workflow_name}  would {verb}")


def _print(instance_id: str, what: str, *, json_lines: bool) -> None:
    if json_lines:
        as_json({"instance_id": instance_id, "outcome": what})
    else:
        line(f"{instance_id}  {what}")
