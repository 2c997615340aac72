"""When an answer of a store is that of the model, and its tables are those of the model.

What the contract leaves open is left out here, each with the words that leave it open.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from romancy.storage.outbox import Consignment, OutboxCounts
from romancy.storage.records import Census, Pulse, Takeover, Work
from romancy.storage.routing import Dispatched

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.storage.protocol import Store
    from romancy_conformance.contract.walking.model import Model
    from romancy_conformance.contract.walking.step import Step

__all__ = ["columns_of", "tables_of", "tables_of_model", "told"]


def told(step: Step, answer: Any, expected: Any) -> tuple[Any, Any]:
    """Both answers without what may differ."""
    if type(answer) is not type(expected):
        return answer, expected
    if isinstance(answer, Work):
        return _work(answer, expected)
    if isinstance(answer, Takeover):  # which of them move first is open
        return _by(answer, "moved", str), _by(expected, "moved", str)
    if isinstance(answer, Pulse):
        return _by(answer, "peers", _token), _by(expected, "peers", _token)
    if isinstance(answer, Census):
        return _by(answer, "workers", _token), _by(expected, "workers", _token)
    if isinstance(answer, Dispatched):  # `more` may be said once too often
        return (replace(answer, more=True), replace(expected, more=True)) if answer.more else (answer, expected)
    if isinstance(answer, Consignment):
        return _by(answer, "entries", _outbox_id), _by(expected, "entries", _outbox_id)
    if isinstance(answer, OutboxCounts):
        bounded = step.options["most"] is not None  # which of too many are counted is open
        return _counted(answer, bounded=bounded), _counted(expected, bounded=bounded)
    return answer, expected


def _by(answer: Any, name: str, key: Any) -> Any:
    return replace(answer, **{name: sorted(getattr(answer, name), key=key)})


def _token(peer: Any) -> str:
    return str(peer.token)


def _outbox_id(entry: Any) -> str:
    return str(entry.row.outbox_id)


def _counted(counts: OutboxCounts, *, bounded: bool) -> OutboxCounts:
    states = {state: count for state, count in counts.states.items() if count}
    return counts._replace(states=states, oldest=None if bounded else counts.oldest)


def _work(answer: Work, expected: Work) -> tuple[Any, Any]:
    """They come by their ranks. What was recovered, and what fell due together, has no order."""
    orders, ranked = ([one.due for one in work.claimed if one.due] for work in (answer, expected))
    assert orders == ranked, f"not by their ranks: {answer.claimed}"
    if not expected.turns:  # a store may also speak of turns where those in lines are of other workflows
        answer = replace(answer, turns={})
    latest = expected.next_due
    early = latest is None or (answer.next_due is not None and answer.next_due <= latest)
    logs = {one.instance_id: one.log for one in answer.claimed}
    forms: list[Any] = []
    for work in (answer, expected):
        claimed = [replace(one, log=one.log if logs.get(one.instance_id) else ()) for one in work.claimed]
        forms.append(
            replace(
                work,
                claimed=sorted(claimed, key=lambda one: (one.due, one.instance_id)),
                mail=sorted(work.mail, key=lambda box: box.instance_id),
                next_due=latest if work is expected or early else work.next_due,
            )
        )
    return forms[0], forms[1]


# ── tables ──────────────────────────────────────────────────────────────────────────────────────────────────────

Tables = dict[str, list[tuple[Any, ...]]]

_QUERIES = {
    "workers": "select token, beat, dead from romancy_workers",
    "instances": "select instance_id, crashes, crash_seq, refused from romancy_instances",
    "log": "select instance_id, life, seq, writer, at from romancy_log",
    "inbox": "select instance_id, delivery_id, at, address, interest, posted_at from romancy_inbox",
    "seen": "select unit, life, dedupe, at from romancy_seen",
    "interests": "select owner, life, interest_id, address, kind, at from romancy_interests",
    "addresses": "select address, number from romancy_addresses where number > 0",
    "letters": "select subscriber, letter_id, address, at, message_id, spread, posted_at from romancy_letters",
    "index": "select instance_id, path, value, created_at from romancy_index",
}


def columns_of(table: str) -> list[str]:
    """The columns of a table that are compared, in their order."""
    return _QUERIES[table].removeprefix("select ").partition(" from ")[0].split(", ")


async def tables_of(store: Store) -> Tables | None:
    """What a store of ours has in its tables beyond what its public methods show; None for other stores."""
    package = type(store).__module__.partition(".")[0]
    if package not in ("romancy_sqlite", "romancy_postgres", "romancy_mysql"):
        return None
    found: Tables = {}
    async with store.services.sessions.begin() as session:
        for name, sql in _QUERIES.items():
            found[name] = [tuple(map(_plain, row.values())) for row in await session.fetch_all(sql)]
    found["instances"] = [(*row[:3], _words(row[3])) for row in found["instances"]]
    found["workers"] = [(token, beat, bool(dead)) for token, beat, dead in found["workers"]]
    return _sorted(found)


def _plain(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes | bytearray) else value


def _words(value: Any) -> tuple[str, ...]:
    """The code versions that an instance has refused: a list, JSON, or lines."""
    if isinstance(value, str) and value.startswith("["):
        value = json.loads(value)
    return tuple(sorted(set(value.split("\n") if isinstance(value, str) and value else value or ())))


def _posted(taken: Any) -> tuple[Any, Any, Any]:
    return (None, None, None) if taken is None else (taken.message_id, taken.spread, taken.at)


def _sorted(tables: Tables) -> Tables:
    return {name: sorted(rows, key=repr) for name, rows in tables.items()}


def tables_of_model(model: Model, like: Tables) -> Tables:
    """The same of the model. Whether a dead worker without instances still has a row is open."""
    state = model.state
    instances = state.instances.values()
    inboxes = [(name, mail) for name, box in state.inbox.items() for mail in box.values()]
    tokens = {row[0] for row in like["workers"]}
    found: Tables = {
        "workers": [
            (token, one.beat, one.dead) for token, one in state.workers.items() if not one.pruned or token in tokens
        ],
        "instances": [(one.instance_id, one.crashes, one.crash_seq, _words(one.refused)) for one in instances],
        "log": [
            (one.instance_id, one.life, row.seq, row.writer, row.at) for one in instances for row in one.log.values()
        ],
        "inbox": [(name, one.delivery_id, one.at, one.address, one.interest, one.posted_at) for name, one in inboxes],
        "seen": [(*key, at) for key, at in state.seen.items()],
        "interests": [
            (*owner, interest_id, one.address, one.kind, at)
            for (owner, interest_id), (one, at) in state.interests.items()
        ],
        "addresses": [
            (address, last)
            for address, last in state.numbers.items()
            if last >= state.numbered_until or (address, last) in like["addresses"]
        ],
        "letters": [(*key, one.address, one.at, *_posted(taken)) for key, (one, taken) in state.letters.items()],
        "index": [(one.instance_id, *each, one.created_at) for one in instances for each in _indexed(one.index)],
    }
    return _sorted({name: found[name] for name in like})


def _indexed(index: Iterable[tuple[str, str | None]]) -> list[tuple[str, str]]:
    return [(path, value) for path, value in index if value is not None]
