"""Jobs of the dashboard: confirmed as a browser confirms them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.dashboard.browsing import Browser

if TYPE_CHECKING:
    from romancy import Romancy
    from romancy.status import Status
    from tests.http.client import Answer

__all__ = ["HIDDEN", "begun", "form_of", "job_of", "statuses"]

HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')


async def form_of(browser: Browser, page: str) -> dict[str, str]:
    """The hidden fields of the form on a page."""
    shown = await browser.get(page)
    assert 200 == shown.status, browser.text(shown)
    return dict(HIDDEN.findall(shown.body.decode()))


async def begun(browser: Browser, page: str, fields: dict[str, str] | None = None) -> str:
    """Confirm what a page asks, and return the id of the job."""
    answer = await browser.post(page, {**await form_of(browser, page), **(fields or {})})
    return job_of(answer)


def job_of(answer: Answer) -> str:
    assert 303 == answer.status, Browser.text(answer)
    return answer.headers["location"].partition("?id=")[2]


async def statuses(app: Romancy, *ids: str) -> list[Status | None]:
    found = [await app.get_instance(one) for one in ids]
    return [None if one is None else one.status for one in found]
