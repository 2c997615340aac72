"""Events before they are sent: values that are no attributes of a CloudEvent are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from romancy._outgoing import event_message
from romancy.errors import UsageError

if TYPE_CHECKING:
    from romancy.core import Message


def with_extensions(extensions: dict[str, Any]) -> Message:
    return event_message(
        "told", None, key=None, source=None, id=None, subject=None, headers=None, extensions=extensions
    )


@pytest.mark.parametrize("name", ["Tenant-Id", "tenantId", "tenant_id", "é", "a b", "٣", "x" * 65, "a\n"])
def test_the_name_of_an_extension_is_one_of_cloudevents(name: str) -> None:
    with pytest.raises(UsageError, match="lower-case letters and digits") as caught:
        with_extensions({name: "hush"})

    assert "hush" not in str(caught.value)


def test_extensions_that_an_event_may_have() -> None:
    extensions = {"tenantid": "x", "n1": 3, "flag": True, "x" * 64: ""}

    assert extensions == msgspec.json.decode(with_extensions(extensions).beside)
