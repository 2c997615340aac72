"""What is known of a request once it is let in: who asks, from where links go, and what may be done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["Visit", "visit_of"]

_KEY: Final = "romancy.dashboard"
_DOTS: Final = frozenset({".", ".."})


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One request that was let in."""

    base: str
    """The path that the dashboard is mounted at, without a slash at its end."""
    who: str
    """For the audit log."""
    csrf: str
    """What a form sends back."""
    cookie: str | None
    """A new value for the cookie that `csrf` belongs to; None: the browser has one."""
    read_only: bool
    has_app: bool
    """Whether there is an app, with the code and the codecs of the workflows."""
    payloads: bool
    """Whether what codecs have sealed is opened."""
    place: str
    """The database, without its password."""

    def keep(self, request: Request) -> None:
        """Let `visit_of` find this."""
        request.scope[_KEY] = self

    def url(self, path: str = "/") -> str:
        """A path of the dashboard, as links name it."""
        return f"{self.base}{path}"

    def instance_url(self, instance_id: str) -> str:
        """The page of an instance. Browsers would resolve the dots of some ids, which go into the query instead."""
        return self._about("/instances", "/instance", instance_id)

    def act_url(self, verb: str, instance_id: str) -> str:
        """The page that asks before it does this to an instance."""
        return self._about(f"/act/{verb}", f"/act/{verb}", instance_id)

    def job_url(self, job_id: str) -> str:
        """The page of a job that acts on many."""
        return self.url(f"/job?id={quote(job_id, safe='')}")

    def _about(self, path: str, asked: str, instance_id: str) -> str:
        quoted = quote(instance_id, safe="")
        if _DOTS.isdisjoint(instance_id.split("/")):
            return self.url(f"{path}/{quoted}")
        return self.url(f"{asked}?id={quoted}")


def visit_of(request: Request) -> Visit:
    """The visit that a request was let in as."""
    visit: Visit = request.scope[_KEY]
    return visit
