"""A step and the append that writes the same row are the same to everybody but the store's statements."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from romancy.errors import InternalError, PayloadTooLargeError
from romancy.storage.limits import MAX_BODY_BYTES, check_batch, check_step
from romancy.storage.records import Append, Step, as_end
from romancy.storage.steps import as_append, as_appends, behind
from romancy.storage.verdicts import EffectFacts, PlaceFacts, on_append, on_place
from romancy_conformance.contract.building import start

WRITERS = st.sampled_from([None, "w", "other", as_end("w")])


def step(body: bytes = b"[]", after: str | None = "w", instance_id: str = "i") -> Step:
    return Step(instance_id, 1, 2, "mine", body, behind(after))


def append(after: str | None = "w", instance_id: str = "i") -> Append:
    return Append(instance_id=instance_id, life=1, seq=2, writer="mine", body=b"[]", after=after)


@given(WRITERS)
def test_a_step_requires_the_same_row_before_as_an_append(after: str | None) -> None:
    assert step(after=after).behind == append(after).behind == as_append(step(after=after)).behind


@given(
    WRITERS, st.builds(PlaceFacts, writer=st.sampled_from([None, "mine", "other"]), before=WRITERS, alive=st.booleans())
)
def test_both_are_judged_alike(after: str | None, place: PlaceFacts) -> None:
    assert on_place(step(after=after), place) is on_append(append(after), place, EffectFacts())
    assert on_place(step(after=after), place) is on_append(as_append(step(after=after)), place, EffectFacts())


def test_a_batch_without_steps_has_the_same_items_in_the_same_order() -> None:
    begun = start(instance_id="s", life=1, workflow_name="f", code="c", writer="w", body=b"[]", input=b"null")

    assert as_appends([step(), begun, append(instance_id="b")]) == [append(), begun, append(instance_id="b")]


def test_a_step_is_refused_alone_and_in_a_batch_for_the_same_reasons() -> None:
    huge, lost = step(b"x" * (MAX_BODY_BYTES + 1)), Step("i", 1, 2, "mine", b"[]", as_end("w"))

    for wrong, worker, error in (
        (huge, "t", PayloadTooLargeError),
        (step(), None, InternalError),
        (lost, "t", InternalError),
    ):
        with pytest.raises(error) as alone:
            check_step(wrong, worker)
        with pytest.raises(error) as among_others:
            check_batch([wrong, step(instance_id="j")], worker)
        assert str(alone.value) == str(among_others.value)


def test_a_batch_names_the_instance_that_it_has_twice() -> None:
    with pytest.raises(InternalError, match="'i' appears twice"):
        check_batch([step(instance_id="a"), step(), append(instance_id="b"), append()], "t")
