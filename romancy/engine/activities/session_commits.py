"""Commits an attempt's end together with the writes in its session: exactly once, or not at all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from romancy.core import OwnerChanged, encode_commit
from romancy.engine.activities.judging import failed_for_good
from romancy.errors import CodecError, OutcomeUnknownError, RomancyError, StorageUnavailableError
from romancy.serialization import describe_exception
from romancy.storage.records import Append, Outcome, Step

if TYPE_CHECKING:
    from romancy.core import Input
    from romancy.engine.activities.port import Port
    from romancy.engine.incarnation import Incarnation
    from romancy.engine.log_writer import LogWriter
    from romancy.storage.protocol import Store
    from romancy.storage.records import History

__all__ = ["Verdict", "commit_session"]

_PAUSE: Final = 0.2

Verdict = tuple[Outcome | None, "Input | None"]


async def commit_session(
    store: Store,
    writer: LogWriter,
    port: Port,
    item: Step | Append,
    event: Input,
    *,
    worker: str,
    incarnation: Incarnation,
) -> Verdict:
    """The outcome of the append; or None, and the input that the run gets instead of `event` (None: try again).

    A session that lost its connection or a deadlock before COMMIT wrote nothing, and does not count as an attempt. If a
    COMMIT went unanswered, a tombstone at the same seq settles its outcome.
    """
    session = port.opened
    assert session is not None  # noqa: S101 - the caller asked
    try:
        return await session.commit(item, worker=worker), None
    except OutcomeUnknownError:
        return await _settle(store, writer, item, event, incarnation), None
    except StorageUnavailableError:
        return None, None
    except CodecError as error:
        writer.refuse(item, error)
        return Outcome.INVALID, None
    except RomancyError as error:
        # A final failure: after what the attempt did to its transaction, Romancy cannot commit it.
        return None, failed_for_good(port.effect, describe_exception(error), now=event.at)
    finally:
        await port.close()


async def _settle(
    store: Store, writer: LogWriter, item: Step | Append, event: Input, incarnation: Incarnation
) -> Outcome | None:
    body = encode_commit([OwnerChanged(at=event.at)])
    nonce = incarnation.nonce()
    tombstone = Step(item.instance_id, item.life, item.seq, nonce, body, item.behind)
    outcome = await writer.outcome_of(tombstone)
    if outcome is not Outcome.TAKEN:
        return None if outcome is Outcome.ACCEPTED else outcome
    history = await _read(store, item)
    there = history.rows[0].writer if history is not None and history.rows else None
    return Outcome.ACCEPTED if there == item.writer else Outcome.TAKEN


async def _read(store: Store, item: Step | Append) -> History | None:
    """The row at the item's seq. Waits until the database answers."""
    while True:
        try:
            return await store.read(item.instance_id, after=item.seq - 1, limit=1)
        except StorageUnavailableError:
            await asyncio.sleep(_PAUSE)
