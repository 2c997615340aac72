"""The vocabulary of the log: this version and later ones can read back what is written."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import Raw

from romancy.core import (
    ActivityCompleted,
    ActivityScheduled,
    WorkflowStarted,
    decode_commit,
    encode_commit,
)
from romancy.core.fold.kinds import COMMANDS, INPUTS
from romancy.core.words.events import Command, Input
from romancy.errors import HistoryCorruptError, HistoryVersionError


def test_a_commit_is_a_json_array_of_tagged_events() -> None:
    events = [
        ActivityCompleted(at=5, id="charge:1", result=Raw(b'{"paid":true}')),
        ActivityScheduled(id="ship:1", name="ship", args=Raw(b'"home"')),
    ]
    body = encode_commit(list(events))
    assert body == (
        b'[{"type":"ActivityCompleted","at":5,"id":"charge:1","result":{"paid":true}},'
        b'{"type":"ActivityScheduled","id":"ship:1","name":"ship","args":"home"}]'
    )
    assert decode_commit(body) == events


def test_a_field_added_later_is_not_in_the_way() -> None:
    body = b'[{"type":"TimerFired","at":5,"id":"timer:1","mood":"fine"}]'
    assert encode_commit(decode_commit(body)) == b'[{"type":"TimerFired","at":5,"id":"timer:1"}]'


@pytest.mark.parametrize(
    "body",
    [b'[{"type":"TimerFired","at":5,"id":"\xff"}]', b'[{"type":"Tim\xff","at":5}]', b'[{"type":"not a name","at":5}]'],
)
def test_bytes_that_no_version_wrote(body: bytes) -> None:
    with pytest.raises(HistoryCorruptError, match=r"cannot be read|not a JSON array"):
        decode_commit(body)


def test_an_unknown_event_means_that_the_log_is_newer() -> None:
    with pytest.raises(HistoryVersionError, match="ActivityTeleported"):
        decode_commit(b'[{"type":"TimerFired","at":5,"id":"t"},{"type":"ActivityTeleported","at":1}]')


@pytest.mark.parametrize("body", [b"", b"{}", b"[", b"[1]", b'[{"type":"TimerFired"}]', b"\xff", b"[[]]"])
def test_what_is_no_commit_is_refused_as_corrupt(body: bytes) -> None:
    with pytest.raises(HistoryCorruptError):
        decode_commit(body)


def test_every_kind_of_event_is_either_an_input_with_a_time_or_a_command_without() -> None:
    assert all("at" in kind.__struct_fields__ for kind in INPUTS)
    assert all("at" not in kind.__struct_fields__ for kind in COMMANDS)
    assert {kind.__name__ for kind in Input.__subclasses__()} == {kind.__name__ for kind in INPUTS}
    assert {kind.__name__ for kind in Command.__subclasses__()} == {kind.__name__ for kind in COMMANDS}


def test_events_cannot_be_changed() -> None:
    event = WorkflowStarted(at=1, workflow="order", input=Raw(b"1"), nonce="n")
    with pytest.raises(AttributeError):
        event.at = 2  # type: ignore[misc]
    assert msgspec.structs.replace(event, at=2).at == 2
