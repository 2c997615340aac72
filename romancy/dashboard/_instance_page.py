"""The page of one instance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.dashboard._acting import actions_for
from romancy.dashboard._pages import render
from romancy.errors import InstanceNotFoundError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.dashboard._reader import Reader

__all__ = ["instance_page"]


async def instance_page(request: Request, reader: Reader, instance_id: str) -> Response:
    """What is known of the instance. Raises InstanceNotFoundError."""
    instance = await reader.instances.get_instance(instance_id)
    if instance is None:
        raise InstanceNotFoundError("There is no instance with this id.")
    return render(request, "instance.html", instance=instance, actions=actions_for(instance))
