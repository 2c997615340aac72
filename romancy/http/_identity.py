"""The instance id of a workflow that an event or a webhook starts. Pure."""

from __future__ import annotations

import hashlib

__all__ = ["instance_id_of"]


def instance_id_of(source: str, id: str) -> str:
    """The instance id that belongs to an event: the same for each delivery of it, another one for any other event.

    Start with it in a handler of your own, `wf.options(instance_id=instance_id_of(event.source, event.id))`, and a
    redelivery starts nothing.
    """
    text = f"{len(source)}:{source}{id}".encode("utf-8", "surrogatepass")
    return f"ce-{hashlib.sha256(text).hexdigest()[:40]}"
