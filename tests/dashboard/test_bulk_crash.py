"""A job whose dashboard is killed half way, and the next dashboard, which knows the URL alone."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

import httpx2
import pytest

from romancy import Romancy, WorkflowContext, workflow
from romancy.status import TERMINAL_STATUSES

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.long]

HIDDEN: Final = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')
NUMBER: Final = 1200


@workflow
async def wait(ctx: WorkflowContext, number: int) -> Any:
    return (await ctx.wait_event("paid")).data


class Served:
    """A running `romancy ui`, and a browser that has entered it."""

    def __init__(self, process: subprocess.Popen[str], link: str) -> None:
        self.process = process
        self.base = link.partition("?")[0].rstrip("/")
        self.browser = httpx2.Client(timeout=60)
        self.browser.get(link)

    def send(self, page: str) -> httpx2.Response:
        fields = dict(HIDDEN.findall(self.browser.get(self.base + page).text))
        return self.browser.post(self.base + page, data=fields, headers={"origin": self.base})


@contextlib.contextmanager
def serving(url: str) -> Generator[Served]:
    command = [sys.executable, "-m", "romancy", "ui", url, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            served = Served(process, process.stdout.readline().strip())
            with contextlib.closing(served.browser):
                yield served
        finally:
            process.kill()


@pytest.mark.timeout(120)
async def test_a_job_survives_the_dashboard(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    async with Romancy(url, workflows=[wait], worker=False) as app:
        await app.start_many([wait.options(instance_id=f"w-{number}").bind(number) for number in range(NUMBER)])
        with serving(url) as first:
            answer = first.send("/bulk/terminate?workflow=wait")
            assert 303 == answer.status_code, answer.text
            job = answer.headers["location"].partition("?id=")[2]
            async for entry in app.entries_of(job, follow=True):
                if type(entry.event).__name__ == "ActivityCompleted" and ".act:" in getattr(entry.event, "id", ""):
                    break
            first.process.kill()
            first.process.wait()
        stopped = await app.get_instance(job)
        assert stopped is not None
        assert stopped.status not in TERMINAL_STATUSES

        with serving(url):
            result = await app.handle(job).result(timeout=60)

        assert (NUMBER, "done") == (result["total"], result["phase"])
        assert result["done"] + result["skipped"] == NUMBER
        assert result["skipped"] <= 40  # those that were done just before the kill, and not yet counted
        ended = [one async for one in app.iter_instances(workflow_name="wait") if one.status in TERMINAL_STATUSES]
        assert NUMBER == len(ended)
