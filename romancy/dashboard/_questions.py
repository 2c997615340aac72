"""The inbox: what workflows ask people, and the page with the form that answers it."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import RedirectResponse

from romancy.dashboard._acting import audit, field_of, permit
from romancy.dashboard._answers import inputs_for
from romancy.dashboard._pages import render
from romancy.dashboard._refused import RefusedError, not_found
from romancy.dashboard._visit import visit_of
from romancy.errors import QuestionAnsweredError, QuestionNotFoundError, RomancyError, StorageError
from romancy.messages.questions import open_question, page_of_questions

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.dashboard._guard import Form
    from romancy.dashboard._reader import Reader
    from romancy.question import Question

__all__ = ["question_page", "questions_page"]

_PERMISSION: Final = "answer"
_PAGE: Final = 50


async def questions_page(request: Request, reader: Reader) -> Response:
    """A page of open questions, of all or of those to one."""
    permit(request, _PERMISSION, "questions")
    to = request.query_params.get("to", "").strip() or None
    cursor = request.query_params.get("page") or None
    found = await page_of_questions(reader.lists.store, to=to, cursor=cursor, limit=_PAGE)
    return render(request, "questions/list.html", found=found, to=to or "", page=cursor or "")


async def question_page(request: Request, reader: Reader, token: str) -> Response:
    """Show the form of a question, or take what a form says to it."""
    permit(request, _PERMISSION, "a question")
    form: Form | None = request.state.form if request.method == "POST" else None
    try:
        question = await open_question(reader.store, token)
    except QuestionNotFoundError as error:
        raise not_found(str(error)) from None
    except QuestionAnsweredError as error:
        return render(request, "questions/over.html", status=HTTPStatus.CONFLICT, over=error)
    if form is None or question.sealed:
        return _ask(request, question, {}, None)
    refuses = field_of(form, "verb") == "refuse"
    what, about = "refuse" if refuses else "answer", f"{question.name} of {question.instance_id}"
    try:
        await _say(request, reader, question, form, refuses=refuses)
    except StorageError:
        audit(request, what, about, "failed: the database did not answer")
        raise
    except QuestionAnsweredError as error:
        audit(request, what, about, "refused (QuestionAnsweredError)")
        return render(request, "questions/over.html", status=HTTPStatus.CONFLICT, over=error)
    except (RefusedError, RomancyError) as error:
        audit(request, what, about, f"refused ({type(error).__name__})")
        return _ask(request, question, form, str(error))
    audit(request, what, about, "done")
    target = visit_of(request).url("/questions")
    return RedirectResponse(f"{target}?done=question-{what}", HTTPStatus.SEE_OTHER)


async def _say(request: Request, reader: Reader, question: Question, form: Form, *, refuses: bool) -> None:
    by = visit_of(request).who or None
    instances: Any = reader.instances
    if refuses:
        await instances.refuse(question.token, field_of(form, "reason"), by=by)
    else:
        await instances.answer(question.token, inputs_for(question.schema).answer(form), by=by)


def _ask(request: Request, question: Question, form: Form, fault: str | None) -> Response:
    fields = [] if question.sealed else inputs_for(question.schema).fields
    status = HTTPStatus.OK if fault is None else HTTPStatus.CONFLICT
    return render(
        request, "questions/one.html", status=status, question=question, fields=fields, form=form, fault=fault
    )
