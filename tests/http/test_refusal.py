"""Answers to errors of the library."""

from __future__ import annotations

import pytest

from romancy import OutcomeUnknownError, StorageUnavailableError
from romancy.http._refusal import refusal_of


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (OutcomeUnknownError("no answer", instance_ids=["o-1"]), "send it again (o-1)"),
        (OutcomeUnknownError("no answer", instance_ids=["o-1"], message_id="m-1"), "send it again (o-1, m-1)"),
        (OutcomeUnknownError("no answer"), "send it again"),
        (StorageUnavailableError("gone"), "away or slow"),
    ],
)
def test_a_call_without_an_answer_is_a_503_with_the_ids(error: StorageUnavailableError, named: str) -> None:
    refused = refusal_of(error)

    assert refused is not None
    assert 503 == refused.status
    assert named in str(refused)
