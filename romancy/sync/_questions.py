"""Questions to people from outside, for code without `await`.

Written by `python -m tools.make_sync`: do not change it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.sync._requests import SyncRequests

if TYPE_CHECKING:
    from romancy.question import QuestionPage


__all__ = ["SyncQuestions"]


class SyncQuestions(SyncRequests):
    """Finds and answers what workflows ask people."""

    def questions(
        self,
        *,
        to: str | None = None,
        workflow_name: str | None = None,
        instance_id: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> QuestionPage:
        """A page of the open questions: those to nobody in particular first, and the oldest first of those to one.

        `to`, `workflow_name` and `instance_id` are whole names. The next page begins at the `next_cursor` of this one.
        A page of one workflow may be short, and even empty, while there is a next one.
        """
        result: QuestionPage = self._call(
            "questions", to=to, workflow_name=workflow_name, instance_id=instance_id, cursor=cursor, limit=limit
        )
        return result

    def answer(self, token: str, data: object, *, by: str | None = None, session: object = None) -> None:
        """Answer an open question. The answer is durable when this returns; with `session=`, by your own commit.

        Of all answers, and of what else ends a question, the first one counts. Raises QuestionAnsweredError if the
        question is not open any more, SerializationError for data that do not fit its schema, and QuestionNotFoundError
        for a false token. `by` says who answers, as the log has it.
        """
        self._call("answer", token, data, by=by, session=session)

    def refuse(self, token: str, reason: str = "", *, by: str | None = None, session: object = None) -> None:
        """Refuse to answer an open question: the workflow gets RefusedError. Else as `answer`."""
        self._call("refuse", token, reason, by=by, session=session)
