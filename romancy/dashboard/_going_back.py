"""Going back to before a step: a page that shows first what a fork or a rewind keeps, does again and cuts off."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import msgspec
from msgspec import Raw
from starlette.responses import RedirectResponse

from romancy.dashboard._acting import audit, field_of, permit
from romancy.dashboard._pages import render
from romancy.dashboard._refused import RefusedError, bad_request, forbidden, not_found
from romancy.dashboard._visit import visit_of
from romancy.errors import InstanceNotFoundError, RomancyError, StorageError
from romancy.instance import Instance
from romancy.serialization import WRITTEN_BEFORE, is_sealed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.app import Romancy
    from romancy.dashboard._guard import Form
    from romancy.dashboard._reader import Reader
    from romancy.dashboard._visit import Visit
    from romancy.going_back import ForkChildren, ForkPlan, ForkStep, RewindUndo
    from romancy.storage.records import InstanceRow

__all__ = ["go_back_page"]

_STEPS: Final = 50
"""How many steps of each part a page lists."""
_LARGEST: Final = 4_000
"""The longest input that stands in the form, to be changed."""
_ONCE: Final = re.compile(r"[0-9a-f]{28}")


class _Way(NamedTuple):
    """How somebody goes back."""

    verb: str
    done: str
    label: str
    words: str
    kept: str
    again: str
    cut: tuple[str, str]
    """The title of what is cut off, and what becomes of it."""


_FORGOTTEN: Final = (
    "Begun behind the point. The instance forgets them. What is marked was done and not undone: the instance may do it "
    "again."
)
_UNDONE_FIRST: Final = (
    "Undone in this order, before the instance goes on. If one of them fails for good, the instance is paused then."
)
_WAYS: Final = {
    "fork": _Way(
        "fork", "forked", "Fork: another instance goes on from there, and this one stays as it is",
        "Begins another instance that has the outcomes of what is kept, and goes on from there. This one stays as it "
        "is, and what it did stands.",
        "Ended before the point. The fork has their outcomes, and does not do them again.",
        "Open at the point. The fork does them again, under new keys.",
        ("Left out", "Begun behind the point. The fork knows nothing of them. What they did here stands."),
    ),
    "rewind": _Way(
        "rewind", "rewound", "Rewind: this instance itself goes back, and goes on from there",
        "Takes this instance back to the point, from which it goes on under its id. What is cut off is undone only if "
        "you choose that. A worker that holds it first lets what is at work end, for up to ten seconds.",
        "Ended before the point. The instance has their outcomes, and does not do them again.",
        "Open at the point. The instance does them again, under the same keys.",
        ("Cut off", _FORGOTTEN),
    ),
}  # fmt: skip


class _Asked(NamedTuple):
    """The choice, which is all in the URL."""

    way: _Way
    before: str | None
    at: int | None
    children: ForkChildren
    undo: RewindUndo

    @property
    def point(self) -> dict[str, Any]:
        return {"before": self.before, "at": self.at, "children": self.children}


class _Part(NamedTuple):
    """Some of the steps of a plan."""

    title: str
    words: str
    steps: Sequence[ForkStep]
    number: int
    earlier: bool = False
    """Whether those that are not listed stand before the others."""


async def go_back_page(request: Request, reader: Reader, app: Romancy | None, instance_id: str) -> Response:
    """Show the plan of the choice in the URL with the form that confirms it, or carry it out."""
    visit = visit_of(request)
    asked = _asked(request, visit)
    permit(request, asked.way.verb, instance_id)
    if app is None:
        raise not_found("A URL alone brings no code, which this needs: run `romancy ui MODULE:APP`.")
    if not visit.payloads and app.codecs.ids:
        raise forbidden("The log is sealed. You may not see payloads, and so not the steps of an instance.")
    found = await reader.store.read(instance_id, limit=0)
    if found is None:
        raise InstanceNotFoundError("There is no instance with this id.")
    row, form = found.instance, request.state.form if request.method == "POST" else None
    plan: ForkPlan | None = None
    try:
        plan = await _plan(app, instance_id, asked)
        if form is None or plan.refused is not None:
            return _ask(request, app, row, asked, plan, form or {}, None)
        if field_of(form, "seen") != _seen(plan):
            raise RefusedError(HTTPStatus.CONFLICT, "The instance has gone on since. This is the plan now.")
        target = await _go_back(request, app, row, asked, form)
    except StorageError:
        if form is not None:
            audit(request, asked.way.verb, instance_id, "failed: the database did not answer")
        raise
    except (RefusedError, RomancyError) as error:
        if form is not None:
            audit(request, asked.way.verb, instance_id, f"refused ({type(error).__name__})")
        fault = str(error).removesuffix(f"; {WRITTEN_BEFORE}")
        return _ask(request, app, row, asked, plan, form or {}, fault)
    audit(request, asked.way.verb, instance_id, f"done: {target!r}")
    url = visit.instance_url(target)
    return RedirectResponse(f"{url}{'&' if '?' in url else '?'}done={asked.way.verb}", HTTPStatus.SEE_OTHER)


def _asked(request: Request, visit: Visit) -> _Asked:
    """The choice. Raises RefusedError for what is none."""
    usual = "rewind" if visit.may("rewind") and not visit.may("fork") else "fork"
    way, before, at = (_one(request, name) for name in ("as", "before", "at"))
    if bool(before) == bool(at):
        raise bad_request("Name one point: before=, a step, or at=, the number of a commit.")
    if at and not (at.isascii() and at.isdecimal() and len(at) <= 9):  # noqa: PLR2004 - digits
        raise bad_request("at is the number of a commit.")
    return _Asked(
        _WAYS[_among(way, "as", _WAYS, usual)],
        before or None,
        int(at) if at else None,
        cast("ForkChildren", _among(_one(request, "children"), "children", ("keep", "again"), "keep")),
        cast("RewindUndo", _among(_one(request, "undo"), "undo", ("refuse", "keep", "compensate"), "refuse")),
    )


def _one(request: Request, name: str) -> str:
    given = request.query_params.getlist(name)
    if len(given) > 1:
        raise bad_request(f"{name} stands in the address more than once.")
    return given[0] if given else ""


def _among(given: str, name: str, known: Sequence[str] | dict[str, _Way], usual: str) -> str:
    if given and given not in known:
        raise bad_request(f"{name} is one of {', '.join(known)}.")
    return given or usual


async def _plan(app: Romancy, instance_id: str, asked: _Asked) -> ForkPlan:
    if asked.way.verb == "fork":
        return await app.plan_fork(instance_id, **asked.point)
    return await app.plan_rewind(instance_id, undo=asked.undo, **asked.point)


def _seen(plan: ForkPlan) -> str:
    """What has to be the same when a plan is carried out: the point, and what stands behind it."""
    return _digest(str(plan.commit), *(one.id for one in plan.stands), "undone", *(one.id for one in plan.undone))


async def _go_back(request: Request, app: Romancy, row: InstanceRow, asked: _Asked, form: Form) -> str:
    """Do it, and return the id of the instance that goes on. A form that is sent twice makes one fork."""
    if asked.way.verb == "rewind":
        await app.rewind(row.instance_id, undo=asked.undo, **asked.point)
        return row.instance_id
    text, once = field_of(form, "input").replace("\r\n", "\n").strip(), field_of(form, "once")
    if not _ONCE.fullmatch(once):
        raise bad_request("The form is not complete: open its page again.")
    made = f"{once[:12]}{_digest(once, request.url.query, text)}"
    id = field_of(form, "id").strip() or made
    return await app.fork(row.instance_id, input=_input(app, row, text), id=id, **asked.point)


def _input(app: Romancy, row: InstanceRow, text: str) -> dict[str, Any] | None:
    """The new arguments by their names; None if they are as before. Raises RefusedError or SerializationError."""
    if not text or text == _present(row):
        return None
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        raise bad_request(f"The input is no JSON ({error}).") from None
    signature = app.workflows[row.workflow_name].signature
    return signature.by_name(*signature.read_given(Raw(text.encode())))


def _present(row: InstanceRow) -> str:
    """The input as it stands in the form. Empty if it is long, or if the visitor does not see it."""
    raw = bytes(row.input)
    if is_sealed(row.input, "input") or len(raw) > _LARGEST:
        return ""
    return msgspec.json.format(raw, indent=2).decode()


def _ask(  # noqa: PLR0917 - what the page shows
    request: Request,
    app: Romancy,
    row: InstanceRow,
    asked: _Asked,
    plan: ForkPlan | None,
    form: Form,
    fault: str | None,
) -> Response:
    visit, workflow = visit_of(request), app.workflows.get(row.workflow_name)
    if plan is not None and plan.refused is not None and fault is None:
        fault = f"It cannot be {asked.way.done} there: {plan.refused}."
    given = {name: field_of(form, name) if len(form.get(name, [])) == 1 else "" for name in ("id", "input", "once")}
    fresh = f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(8)}"
    return render(
        request,
        "go_back.html",
        status=HTTPStatus.OK if fault is None else HTTPStatus.CONFLICT,
        instance=Instance.of(row),
        asked=asked,
        ways=[way for way in _WAYS.values() if visit.may(way.verb)],
        parts_of_plan=[] if plan is None else _parts(asked.way, plan),
        standing=set() if plan is None else {(one.kind, one.id) for one in plan.stands},
        plan=plan,
        seen="" if plan is None else _seen(plan),
        fits=plan is not None and plan.refused is None,
        takes_input=workflow is not None and bool(workflow.signature.names),
        given=given | {"once": given["once"] or fresh, "input": given["input"] if form else _present(row)},
        fault=fault,
    )


def _parts(way: _Way, plan: ForkPlan) -> list[_Part]:
    """What is kept, done again and cut off, with what stands of an earlier run among the last."""
    known = {(one.kind, one.id) for one in (*plan.again, *plan.cut_off)}
    cut = (*plan.cut_off, *(one for one in plan.stands if (one.kind, one.id) not in known))
    undone = [_Part("Undone first", _UNDONE_FIRST, plan.undone[:_STEPS], len(plan.undone))] if plan.undone else []
    return [
        *undone,
        _Part("Kept", way.kept, plan.kept[-_STEPS:], len(plan.kept), earlier=True),
        _Part("Done again", way.again, plan.again[:_STEPS], len(plan.again)),
        _Part(way.cut[0], way.cut[1], cut[:_STEPS], len(cut)),
    ]


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:16]
