"""Verdicts: the answers to everything that a store can find, and the model of the walk, which answers without them."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.records import Append, Change, Create, Delivered, Delivery, Former, LogRow, Outcome, Worker, as_end
from romancy.storage.routing import Place, Posting, Spread
from romancy.storage.verdicts import (
    EffectFacts,
    FirstFacts,
    PlaceFacts,
    RowFacts,
    on_append,
    on_delivery,
    on_effects,
    on_first,
    on_place,
    on_posting,
)
from romancy_conformance.contract import walking
from romancy_conformance.contract.walking.model import Model
from romancy_conformance.contract.walking.state import Beating, Instance, Mail, Taken

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LIFE, SEQ = 7, 3
OWN, OTHER, KNOWN, END = "own", "other", "known", as_end("known")
BOOLS = (False, True)

# ── what a store can find ───────────────────────────────────────────────────────────────────────────────────────

PLACES = [
    PlaceFacts(writer=writer, before=before, alive=alive)
    for writer, before, alive in product((None, OWN, OTHER), (None, KNOWN, END, OTHER), BOOLS)
]
AFTER = (None, KNOWN, END)
CHANGES = (
    None,
    *(
        Change(status=status, seen=1, reopens=reopens)
        for status, reopens in product((Status.RUNNING, Status.STUCK, *sorted(TERMINAL_STATUSES)), BOOLS)
    ),
    *(Change(status=status, seen=1, unowned=True) for status in (Status.PAUSED, Status.CANCELLED)),
)
ROWS = (
    None,
    *(
        RowFacts(life=life, status=status, signals=signals, owned=owned)
        for life, (status, owned), signals in product(
            (LIFE, LIFE + 1), ((Status.WAITING, False), (Status.RUNNING, True), (Status.FAILED, False)), (1, 2)
        )
    ),
)
CONSUMED = {"nothing": False, "a message": False, "a message that is not there": True}
"""What an append consumes, and whether some of it is missing."""


def child(number: int, owner: str | None = None, former: Former | None = None) -> Append:
    create = Create(workflow_name="w", code="c", input=b"null", owner=owner, replaces=former)
    return Append(instance_id=f"child{number}", life=LIFE, seq=1, writer=OWN, body=b"[]", create=create)


HELD = RowFacts(life=LIFE + 1, status=Status.RUNNING)
HOLDERS = (None, HELD, RowFacts(life=LIFE + 1, status=Status.FAILED), RowFacts(life=LIFE + 2, status=Status.FAILED))
FORMERS = (
    None,
    *(
        Former(life, frozenset(statuses))
        for life, statuses in product((LIFE + 1, LIFE + 3), (TERMINAL_STATUSES, list(Status), [Status.COMPLETED]))
    ),
)
FIRSTS = [
    (child(0, owner, former), FirstFacts(held=held, first=first, alive=alive))
    for owner, former, held, first, alive in product((None, "o"), FORMERS, HOLDERS, (None, OWN, OTHER), BOOLS)
]
STARTS = [
    (child(0), FirstFacts(held=HELD if taken else None, first=first, alive=alive))
    for taken, first, alive in product(BOOLS, (None, OWN, OTHER), BOOLS)
]
UNHINDERED = (child(1), FirstFacts(held=None, first=None, alive=True))
CHILDREN = [(), *((one,) for one in STARTS), *((UNHINDERED, one) for one in STARTS)]


def append(
    after: str | None = None, change: Change | None = None, starts: Sequence[Append] = (), consumed: str = "nothing"
) -> Append:
    """The append whose writer is OWN. A change to an end does not matter to its writer here."""
    taken = () if consumed == "nothing" else ("m",)
    return Append(
        instance_id="i", life=LIFE, seq=SEQ, writer=OWN, body=b"[]", after=after, change=change,
        starts=tuple(starts), consumed=taken,
    )  # fmt: skip


def effects() -> Iterator[tuple[Append, EffectFacts]]:
    """Every kind of effects, with everything that they can find."""
    for change, row, children, (consumed, missing) in product(CHANGES, ROWS, CHILDREN, CONSUMED.items()):
        starts = tuple(start for start, _ in children)
        found = EffectFacts(starts=tuple(facts for _, facts in children), row=row, missing=missing)
        yield append(change=change, starts=starts, consumed=consumed), found


# ── precedence ──────────────────────────────────────────────────────────────────────────────────────────────────

BARRED = (child(0), FirstFacts(held=HELD, first=OTHER, alive=True))


def troubled(troubles: set[str]) -> tuple[Append, PlaceFacts, EffectFacts]:
    """An append that has these troubles, and no others."""
    ended = "instance ended" in troubles
    place = PlaceFacts(
        writer=OTHER if "taken" in troubles else None,
        before=OTHER if "lost" in troubles else KNOWN,
        alive="dead" not in troubles,
    )
    row = RowFacts(
        life=LIFE + 1 if "other life" in troubles else LIFE,
        status=Status.FAILED if ended else Status.RUNNING,
        signals=2 if "unseen" in troubles else 1,
        owned="owned" in troubles,
    )
    children = [BARRED] if "child taken" in troubles else []
    change = Change(
        status=Status.COMPLETED if "unseen" in troubles else Status.RUNNING, seen=1, unowned="owned" in troubles
    )
    after = END if "behind an end" in troubles else KNOWN
    item = append(after, change, [start for start, _ in children], "a message")
    found = EffectFacts(starts=tuple(facts for _, facts in children), row=row, missing="missing" in troubles)
    return item, place, found


ORDER = {
    "taken": Outcome.TAKEN,
    "dead": Outcome.DEAD,
    "behind an end": Outcome.ENDED,
    "lost": Outcome.LOST,
    "child taken": Outcome.EXISTS,
    "other life": Outcome.GONE,
    "instance ended": Outcome.ENDED,
    "unseen": Outcome.UNSEEN,
    "owned": Outcome.OWNED,
    "missing": Outcome.GONE,
}
"""Every trouble of an append and its outcome, the earlier before the later."""


def test_of_all_troubles_the_first_is_told() -> None:
    for chosen in product(BOOLS, repeat=len(ORDER)):
        troubles = [name for name, has in zip(ORDER, chosen, strict=True) if has]
        expected = ORDER[troubles[0]] if troubles else None
        assert on_append(*troubled(set(troubles))) is expected, troubles


def test_a_row_of_a_former_life_is_gone_and_not_ended_or_unseen() -> None:
    for troubles in ({"other life"}, {"other life", "instance ended"}, {"other life", "unseen"}):
        item, _, found = troubled(troubles)
        assert on_effects(item, found) is Outcome.GONE
        assert on_effects(item, replace(found, row=None)) is Outcome.GONE


# ── every combination ───────────────────────────────────────────────────────────────────────────────────────────


def test_each_place_has_one_answer() -> None:
    answers = {None, Outcome.ACCEPTED, Outcome.TAKEN, Outcome.DEAD, Outcome.LOST, Outcome.ENDED}
    assert {on_place(append(after), facts) for after, facts in product(AFTER, PLACES)} == answers


def test_each_combination_of_effects_has_one_answer() -> None:
    answers = {None, Outcome.EXISTS, Outcome.GONE, Outcome.ENDED, Outcome.UNSEEN, Outcome.OWNED}
    assert {on_effects(item, facts) for item, facts in effects()} == answers


def test_each_first_append_has_one_answer() -> None:
    answers = {None, Outcome.ACCEPTED, Outcome.EXISTS, Outcome.DEAD}
    assert {on_first(item, facts) for item, facts in FIRSTS} == answers


def test_an_id_is_free_or_held_by_the_ended_life_that_gives_way() -> None:
    for item, facts in FIRSTS:
        assert item.create is not None
        former, held = item.create.replaces, facts.held
        free = held is None if former is None else held == RowFacts(life=former.life, status=Status.FAILED)
        statuses = frozenset(TERMINAL_STATUSES) if former is None else former.statuses
        granted = facts.first is None and free and Status.FAILED in statuses
        assert (on_first(item, facts) in (None, Outcome.DEAD)) == granted, (item, facts)


def test_the_effects_of_a_first_append_are_asked_after_its_id() -> None:
    for (item, facts), (_, found) in product(FIRSTS, [(0, EffectFacts()), (1, EffectFacts(starts=(BARRED[1],)))]):
        laden = replace(item, starts=(BARRED[0],) * len(found.starts))
        expected = on_first(item, facts) or (Outcome.EXISTS if found.starts else None)
        assert on_append(laden, facts, found) is expected


def test_the_change_of_a_first_append_is_not_held_against_a_row() -> None:
    for row in ROWS:
        ends = replace(child(0), change=Change(status=Status.FAILED, seen=0))
        assert on_effects(ends, EffectFacts(row=row)) is None


def test_the_place_decides_before_all_effects() -> None:
    found = list(effects())[::97]
    for after, place, (item, facts) in product(AFTER, PLACES, found):
        behind = replace(item, after=after)
        expected = on_place(behind, place) or on_effects(behind, facts)
        assert on_append(behind, place, facts) is expected


def test_an_own_copy_is_accepted_again_whatever_else_was_found() -> None:
    found = [facts for facts in PLACES if facts.writer == OWN]
    for after, place, (item, facts) in product(AFTER, found, list(effects())[::97]):
        assert on_append(replace(item, after=after), place, facts) is Outcome.ACCEPTED
    for item, held in FIRSTS:
        assert (on_first(item, held) is Outcome.ACCEPTED) == (held.first == OWN)


def test_nothing_but_the_fence_is_asked_of_a_lone_row() -> None:
    for row in ROWS:
        assert on_effects(append(), EffectFacts(row=row)) is None


def test_nobody_looks_at_the_row_of_an_append_without_a_change() -> None:
    for item, facts in effects():
        if item.change is None:
            assert on_effects(item, facts) is on_effects(item, replace(facts, row=None))


def test_nobody_looks_at_the_worker_of_a_start_without_an_owner() -> None:
    for item, facts in FIRSTS:
        if item.create is not None and item.create.owner is None:
            assert on_first(item, facts) is on_first(item, replace(facts, alive=not facts.alive))


def test_an_id_is_taken_also_if_only_its_log_was_seen() -> None:
    """A store may read instances first and logs after them."""
    for item, facts in FIRSTS:
        if facts.first == OTHER:
            assert on_first(item, facts) is Outcome.EXISTS


def test_only_a_worker_that_was_found_dead_is_called_dead() -> None:
    for after, place in product(AFTER, PLACES):
        assert on_place(append(after), place) is not Outcome.DEAD or not place.alive
    for item, facts in FIRSTS:
        assert on_first(item, facts) is not Outcome.DEAD or not facts.alive


def test_an_end_is_followed_by_what_reopens_it_alone() -> None:
    for change, before in product(CHANGES, (None, KNOWN, END)):
        answer = on_place(append(END, change), PlaceFacts(writer=None, before=before, alive=True))
        if change is None or not change.reopens:
            assert answer is Outcome.ENDED
        else:
            assert answer is (None if before == END else Outcome.LOST)


def test_facts_of_another_number_of_starts_are_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        on_effects(append(starts=[child(0)]), EffectFacts())


# ── the model of the walk ───────────────────────────────────────────────────────────────────────────────────────


def instance(name: str, life: int, status: str = Status.RUNNING, signals: int = 0, **rows: str | None) -> Instance:
    """An instance of the model whose log has a row for each `row<seq>=writer`."""
    log = {int(key[3:]): LogRow(int(key[3:]), writer, b"[]", 0) for key, writer in rows.items() if writer is not None}
    return Instance(
        instance_id=name, life=life, workflow_name="w", status=Status(status), code="c", created_at=0, updated_at=0,
        input=b"null", owner=None, wake_at=None, error=None, parent=None, signals=signals, log=log,
    )  # fmt: skip


def model_of(alive: dict[str, bool], *held: Instance) -> Model:
    model = Model()
    for token, lives in alive.items():
        model.state.workers[token] = Beating(Worker(token=token, worker_id=token, lease=1), 0, 0, dead=not lives)
    model.state.instances = {one.instance_id: one for one in held}
    return model


def held_by(item: Append, facts: FirstFacts) -> list[Instance]:
    """The instance that an append found. A first row of its own life is in the log of an instance of that life."""
    held = facts.held
    if held is None:
        return []
    return [instance(item.instance_id, LIFE if facts.first else held.life, held.status, row1=facts.first)]


def is_possible(facts: FirstFacts) -> bool:
    """Whether the facts are of one moment: where nobody has the id, there is no log."""
    return facts.held is not None or facts.first is None


def test_the_model_judges_first_appends_alike() -> None:
    for item, facts in FIRSTS:
        if is_possible(facts):
            model = model_of({"o": facts.alive}, *held_by(item, facts))
            assert model.commit([item]) == [on_first(item, facts) or Outcome.ACCEPTED], (item, facts)


def test_the_model_judges_appends_alike() -> None:
    """All effects at a free place, and some at every place. A log is one of an instance that is there."""
    every = list(product(AFTER, PLACES))
    free = [(None, PlaceFacts(writer=None, before=before, alive=True)) for before in (None, KNOWN)]
    compared = 0
    for number, (item, found) in enumerate(effects()):
        if not all(map(is_possible, found.starts)) or len({facts.alive for facts in found.starts}) > 1:
            continue  # all children here have one owner
        logged = found.row is not None and found.row.life == LIFE
        for after, place in free if number % 31 else every:
            if logged or (place.writer is None and place.before is None):
                behind = replace(item, after=after)
                expected = on_append(behind, place, found) or Outcome.ACCEPTED
                assert _told(behind, place, found) is expected, (behind, place, found)
                compared += 1
    assert compared > 5000


def _told(item: Append, place: PlaceFacts, found: EffectFacts) -> Outcome:
    """What the model answers where this was found."""
    owner = all(facts.alive for facts in found.starts)
    held = [one for start, facts in zip(item.starts, found.starts, strict=True) for one in held_by(start, facts)]
    if (row := found.row) is not None:
        rows: dict[str, str | None] = {}
        if row.life == LIFE:
            rows = {f"row{SEQ}": place.writer, f"row{SEQ - 1}": place.before}
        mine = instance("i", row.life, row.status, row.signals, **rows)
        mine.owner = "somebody" if row.owned else None
        held.append(mine)
    model = model_of({"w": place.alive, "o": owner}, *held)
    if item.consumed and not found.missing:
        model.state.inbox["i"] = {"m": Mail("m", b"", 0, 0, 1)}
    (outcome,) = model.commit([item], worker="w")
    return outcome


# ── messages ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_model_judges_deliveries_alike() -> None:
    answers = set[Delivered | None]()
    for status, there, remembered in product((None, *Status), BOOLS, BOOLS):
        model = model_of({}, *([] if status is None else [instance("i", LIFE, status)]))
        model.state.inbox["i"] = {"m": Mail("m", b"", 0, 0, 1)} if there else {}
        model.state.seen = {("i", LIFE, "key"): 0} if remembered else {("i", LIFE + 1, "key"): 0, ("i", 0, "key"): 0}
        verdict = on_delivery(status, known=there or remembered)
        told = model.deliver([Delivery(instance_id="i", delivery_id="m", body=b"", dedupe="key")])
        assert told == [verdict or Delivered.ACCEPTED], (status, there, remembered)
        answers.add(verdict)
    assert answers == {None, Delivered.UNKNOWN, Delivered.CLOSED, Delivered.DUPLICATE}


def test_a_message_is_unknown_or_closed_before_it_is_a_duplicate() -> None:
    for known in BOOLS:
        assert on_delivery(None, known=known) is Delivered.UNKNOWN
        assert {on_delivery(status, known=known) for status in TERMINAL_STATUSES} == {Delivered.CLOSED}


def test_the_model_judges_postings_alike() -> None:
    one = Posting(message_id="m", places=(Place("a", Spread.ONE), Place("b", Spread.EVERY)), body=b"", dedupe="key")
    for kept, remembered in product((None, "a", "b"), BOOLS):
        model = model_of({})
        if kept is not None:
            model.state.messages[kept, "m"] = Taken("m", kept, Spread.ONE, b"", 0, None)
        model.state.seen = {("b", 0, "key"): 0} if remembered else {("a", 0, "key"): 0, ("b", 1, "key"): 0}
        verdict = on_posting(known=kept is not None or remembered)
        assert model.router.post([one]) == [verdict or Delivered.ACCEPTED]


def test_the_model_calls_no_verdict() -> None:
    """It is the check of what calls them."""
    (folder,) = walking.__path__
    texts = {path.name: path.read_text() for path in Path(folder).glob("*.py")}
    assert "model.py" in texts
    assert [name for name, text in texts.items() if "storage.verdicts" in text or "storage.pairing" in text] == []
