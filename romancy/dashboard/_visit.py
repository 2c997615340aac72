"""The facts about an admitted request: the visitor, the prefix of links, and the allowed actions."""

from __future__ import annotations

from collections.abc import Collection
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
    """One admitted request."""

    base: str
    """The path that the dashboard is mounted at, without a slash at its end."""
    who: str
    """The visitor's name, for the audit log."""
    csrf: str
    """The token that a form sends back."""
    cookie: str | None
    """A new value for the cookie that `csrf` belongs to; None: the browser has one."""
    read_only: bool
    """Whether nothing can be done: by nobody, or not by this visitor."""
    actions: bool | Collection[str] = True
    """What this visitor may do, as `Visitor` has it."""
    has_app: bool
    """Whether there is an app, with the code and the codecs of the workflows."""
    payloads: bool
    """Whether sealed payloads are opened."""
    place: str
    """The database, without its password."""

    def keep(self, request: Request) -> None:
        """Let `visit_of` find this."""
        request.scope[_KEY] = self

    @property
    def may_all(self) -> bool:
        """Whether this visitor may do everything that the dashboard can do."""
        return self.actions is True and not self.read_only

    def may(self, action: str) -> bool:
        """Whether this visitor may do this."""
        return not self.read_only and (self.actions if isinstance(self.actions, bool) else action in self.actions)

    def url(self, path: str = "/") -> str:
        """A path of the dashboard, as links name it."""
        return f"{self.base}{path}"

    def instance_url(self, instance_id: str) -> str:
        """The page of an instance. Browsers would resolve the dots of some ids, which go into the query instead."""
        return self._about("/instances", "/instance", instance_id)

    def act_url(self, verb: str, instance_id: str) -> str:
        """The confirmation page of an action on an instance."""
        return self._about(f"/act/{verb}", f"/act/{verb}", instance_id)

    def go_back_url(self, instance_id: str, step: str) -> str:
        """The page that goes back to before a step of an instance."""
        url = self._about("/go-back", "/go-back", instance_id)
        return f"{url}{'&' if '?' in url else '?'}before={quote(step, safe='')}"

    def schedule_url(self, schedule_id: str) -> str:
        """The page of a schedule."""
        return self._about("/schedules", "/schedule", schedule_id)

    def schedule_act_url(self, verb: str, schedule_id: str) -> str:
        """The confirmation page of an action on a schedule."""
        return self._about(f"/schedule/{verb}", f"/schedule/{verb}", schedule_id)

    def question_url(self, token: str) -> str:
        """The page with the form of a question."""
        return self.url(f"/question/{quote(token, safe='')}")

    def limit_url(self, name: str) -> str:
        """The page of a limit."""
        return self._about("/limits", "/limit", name)

    def lane_url(self, address: str) -> str:
        """The page of a lane."""
        return self.url(f"/lane?at={quote(address, safe='')}")

    def limit_act_url(self, verb: str, name: str) -> str:
        """The confirmation page of an action on a limit."""
        return self._about(f"/limit/{verb}", f"/limit/{verb}", name)

    def by_name_url(self, verb: str, kind: str, name: str = "") -> str:
        """The page that asks whether what has this name is paused, or unpaused; without a name, it asks for one."""
        return self.url(f"/by-name/{verb}/{kind}" + (f"?name={quote(name, safe='')}" if name else ""))

    def free_url(self, instance_id: str) -> str:
        """The page that asks whether the places of an instance are given back."""
        return self._about("/free", "/free", instance_id)

    def job_url(self, job_id: str) -> str:
        """The page of a job that acts on many."""
        return self.url(f"/job?id={quote(job_id, safe='')}")

    def _about(self, path: str, asked: str, id: str) -> str:
        quoted = quote(id, safe="")
        if _DOTS.isdisjoint(id.split("/")):
            return self.url(f"{path}/{quoted}")
        return self.url(f"{asked}?id={quoted}")


def visit_of(request: Request) -> Visit:
    """The visit of an admitted request."""
    visit: Visit = request.scope[_KEY]
    return visit
