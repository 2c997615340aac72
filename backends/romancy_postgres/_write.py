"""Writes items inside a transaction or a lone statement, and finds out why one was not accepted.

Shared by `commit` and by sessions. Nothing here begins or ends a transaction, waits, or retries.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import astuple

from romancy.errors import RomancyError
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.marks import ENDED_NEWS
from romancy.storage.outbox import OUTBOX_NEWS
from romancy.storage.records import Delivered, Outcome, Step
from romancy.storage.steps import as_append
from romancy.storage.verdicts import (
    EffectFacts,
    FirstFacts,
    PlaceFacts,
    RowFacts,
    on_append,
    on_delivery,
)
from romancy_postgres._columns import (
    change_columns,
    delivery_columns,
    firsts_of,
    index_rows,
    log_columns,
    mail_columns,
    outbox_columns,
    renewal_columns,
    start_columns,
    step_columns,
)
from romancy_postgres._judged_together import mail_judged_together
from romancy_postgres._routes import write_routes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import asyncpg

    from romancy.storage.records import Append, Delivery
    from romancy_postgres._connection import Link

__all__ = [
    "ChildRefusedError",
    "Written",
    "append_alone",
    "changed",
    "changing",
    "created",
    "deliver",
    "delivered",
    "explain",
    "may_follow",
    "news_of",
    "news_of_firsts",
    "write_changes",
    "write_effects",
    "write_firsts",
    "write_steps",
]

_target: Final = attrgetter("instance_id")
_NEWS = (*TERMINAL_STATUSES, Status.STUCK)
"""Statuses in which no worker continues the instance: callers that wait for its result must be told."""


class Written(Struct):
    """What a statement accepted, and what to announce to others once it is committed: ids of instances, and marks."""

    accepted: set[str]
    stirred: set[str]


class ChildRefusedError(RomancyError):
    """Items whose new instances cannot be created. The transaction that tried must be rolled back."""

    def __init__(self, parents: dict[str, Outcome]) -> None:
        super().__init__("an instance to be started exists already")
        self.parents = parents
        """The outcome of each: EXISTS, or LOCKED if nothing is in the way of the new instance any more."""


async def write_steps(link: Link, steps: Sequence[Step], worker: str | None) -> int:
    """Append rows that change only the log, and return how many were accepted."""
    if len(steps) == 1:
        return await link.run("append_one", worker, *astuple(steps[0]))
    return await link.run("append_many", worker, *step_columns(steps))


async def append_alone(link: Link, item: Step) -> bool:
    """Append a row if its place is free, and look at nothing else. `may_follow` has to be asked before the commit."""
    row = (item.instance_id, item.life, item.seq, item.writer, item.body)
    return await link.run("append_alone", *row) == 1


async def may_follow(link: Link, item: Step | Append, worker: str | None) -> bool:
    """Whether the worker of an append is alive, and the row before is by the writer that the append knows."""
    ((answer,),) = await link.fetch("may_follow", worker, item.instance_id, item.life, item.seq, item.behind)
    return bool(answer)


async def write_changes(
    link: Link, items: Sequence[Append], worker: str | None, also_lock: Iterable[str] = ()
) -> Written:
    """Append rows with their changes and consumed mail, each wholly or not at all."""
    return changed(items, await link.fetch("append_changes", worker, *changing(items, also_lock)))


def changing(items: Sequence[Append], also_lock: Iterable[str] = ()) -> Sequence[object]:
    """The arguments of `append_changes` behind the worker."""
    return *log_columns(items), *change_columns(items), [*map(_target, items), *also_lock]


def changed(items: Sequence[Append], answer: Iterable[Iterable[Any]]) -> Written:
    """What `append_changes` has written of these items."""
    ((chosen, due),) = answer
    accepted = items if chosen is None else [item for item in items if item.instance_id in chosen]
    ended = _ended(accepted)
    return Written(set(map(_target, accepted)), ended if due is None else ended.union(due))


def _ended(accepted: Iterable[Append]) -> set[str]:
    return {
        ENDED_NEWS + item.instance_id for item in accepted if item.change is not None and item.change.status in _NEWS
    }


def news_of(accepted: Sequence[Append]) -> set[str]:
    """What to announce of accepted appends whatever the database answers: those that ended, and the outbox."""
    news = _ended(accepted)
    if any(map(attrgetter("outbox"), accepted)):
        news.add(OUTBOX_NEWS)
    return news


async def write_effects(link: Link, items: Sequence[Append], worker: str | None, *, in_session: bool) -> Written:
    """Append rows with everything they carry, by several statements in a transaction. `_effects` does so by one.

    `ChildRefusedError`: roll back, and leave those items out.
    """
    firsts = [item for item in items if item.create is not None]
    others = [item for item in items if item.create is None] if firsts else items
    written = await _create(link, firsts) if firsts else Written(set(), set())
    if others:
        targets = {delivery.instance_id for item in items for delivery in item.deliveries} - written.accepted
        later = await write_changes(link, others, worker, () if in_session else targets)
        written = Written(written.accepted | later.accepted, written.stirred | later.stirred)
    accepted = [item for item in items if item.instance_id in written.accepted]
    await _write_children(link, accepted, written)
    await _renew(link, accepted)
    outbox = [row for item in accepted for row in item.outbox]
    if outbox:
        await link.run("outbox_add", *outbox_columns(outbox))
        written.stirred.add(OUTBOX_NEWS)
    deliveries = [delivery for item in accepted for delivery in item.deliveries]
    if deliveries:
        answers = await deliver(link, deliveries, "post" if in_session else "deliver")
        written.stirred |= {
            delivery.instance_id
            for delivery, answer in zip(deliveries, answers, strict=True)
            if answer is Delivered.ACCEPTED and not in_session
        }
    if any(item.routes for item in accepted):
        await write_routes(link, accepted)
    return written


async def _create(link: Link, items: Sequence[Append]) -> Written:
    """Create instances, those that replace an ended life after it is removed."""
    cleared = set[str]()
    ready: list[Append] = []
    for item in items:
        former = None if item.create is None else item.create.replaces
        if former is not None:
            statuses = [status.value for status in former.statuses]
            if not await link.fetch("hold_former", item.instance_id, former.life, statuses):
                continue
            await link.run("prune_chosen", [item.instance_id])
            cleared.add(item.instance_id)
        ready.append(item)
    written = await write_firsts(link, ready) if ready else Written(set(), set())
    if lost := cleared - written.accepted:
        raise ChildRefusedError(dict.fromkeys(lost, Outcome.LOCKED))
    return written


async def _write_children(link: Link, accepted: Sequence[Append], written: Written) -> None:
    parents = {start.instance_id: item.instance_id for item in accepted for start in item.starts}
    starts = [start for item in accepted for start in item.starts]
    if not starts:
        return
    born = await write_firsts(link, starts)
    left = [start for start in starts if start.instance_id not in born.accepted]
    if left:
        reasons = await _explain_firsts(link, left)
        refused = {
            parents[key]: Outcome.LOCKED if outcome is Outcome.LOCKED else Outcome.EXISTS
            for key, outcome in reasons.items()
            if outcome is not Outcome.ACCEPTED
        }
        if refused:
            raise ChildRefusedError(refused)
    written.stirred |= born.stirred


async def _renew(link: Link, accepted: Sequence[Append]) -> None:
    renewals = renewal_columns(accepted)
    if not renewals[0]:
        return
    await link.run("renew_runs", *renewals)
    indexes = [
        (item.instance_id, item.change.index)
        for item in accepted
        if item.change is not None and item.change.run_from is not None and item.change.index is not None
    ]
    rows = index_rows(indexes)
    if rows[0]:
        await link.run("index_renewed", *rows)


async def write_firsts(link: Link, items: Sequence[Append]) -> Written:
    """Create the instances whose ids are free and whose owners are alive, with nothing else."""
    return created(items, await link.fetch("start", *start_columns(firsts_of(items))))


def created(items: Sequence[Append], answer: Iterable[Iterable[Any]]) -> Written:
    """What `start` has written of these items."""
    ((chosen,),) = answer
    accepted = items if chosen is None else [item for item in items if item.instance_id in chosen]
    return Written(set(map(_target, accepted)), news_of_firsts(accepted))


def news_of_firsts(accepted: Iterable[Append]) -> set[str]:
    """The new instances that others are told of: they are due for anybody, or they have ended."""
    return {item.instance_id for item in accepted if item.create is not None and item.create.owner is None}


async def deliver(link: Link, deliveries: Sequence[Delivery], name: str) -> list[Delivered]:
    """Put messages into inboxes by the query of that name. One answer each, in order."""
    return [
        answer
        for some in mail_judged_together(deliveries)
        for answer in delivered(await link.fetch(name, *delivery_columns(some)))
    ]


def delivered(rows: Iterable[Iterable[Any]]) -> list[Delivered]:
    """The answers in the rows of `deliver` and `post`."""
    answers: list[Delivered] = []
    for status, accepted in rows:
        answers.append(on_delivery(status, known=not accepted) or Delivered.ACCEPTED)
    return answers


async def explain(link: Link, items: Sequence[Step | Append], worker: str | None) -> dict[str, Outcome]:
    """Why these were not accepted. ACCEPTED: an earlier copy was. LOCKED: nothing is in the way any more."""
    appends = [as_append(item) if isinstance(item, Step) else item for item in items]
    firsts = [item for item in appends if item.create is not None]
    others = [item for item in appends if item.create is None] if firsts else appends
    reasons = await _explain_firsts(link, firsts) if firsts else {}
    return reasons | await _explain_appends(link, others, worker) if others else reasons


async def _explain_appends(link: Link, appends: Sequence[Append], worker: str | None) -> dict[str, Outcome]:
    instances, lives, seqs, *_ = log_columns(appends)
    rows = await link.fetch("explain_appends", worker, instances, lives, seqs, *mail_columns(appends))
    starts = await _first_facts(link, [start for item in appends for start in item.starts])
    return {
        item.instance_id: on_append(item, _place_facts(row), _effect_facts(item, row, starts)) or Outcome.LOCKED
        for item, row in zip(appends, rows, strict=True)
    }


def _place_facts(row: asyncpg.Record) -> PlaceFacts:
    return PlaceFacts(writer=row["writer"], before=row["before"], alive=row["alive"])


def _effect_facts(item: Append, row: asyncpg.Record, starts: dict[str, FirstFacts]) -> EffectFacts:
    there = row["life"] is not None
    return EffectFacts(
        starts=tuple([starts[start.instance_id] for start in item.starts]),
        row=RowFacts(life=row["life"], status=row["status"], signals=row["signals"], owned=row["owned"])
        if there
        else None,
        missing=row["found"] < len(item.consumed),
    )


async def _explain_firsts(link: Link, items: Sequence[Append]) -> dict[str, Outcome]:
    facts = await _first_facts(link, [one for item in items for one in (item, *item.starts)])
    return {
        item.instance_id: on_append(
            item,
            facts[item.instance_id],
            EffectFacts(starts=tuple([facts[start.instance_id] for start in item.starts])),
        )
        or Outcome.LOCKED
        for item in items
    }


async def _first_facts(link: Link, items: Sequence[Append]) -> dict[str, FirstFacts]:
    firsts = firsts_of(items)
    if not firsts:
        return {}
    columns = [[item.instance_id for item, _ in firsts], [item.life for item, _ in firsts]]
    rows = await link.fetch("explain_firsts", *columns, [create.owner for _, create in firsts])
    return {
        item.instance_id: FirstFacts(
            held=None if row["life"] is None else RowFacts(life=row["life"], status=row["status"]),
            first=row["first"],
            alive=row["alive"],
        )
        for (item, _), row in zip(firsts, rows, strict=True)
    }
