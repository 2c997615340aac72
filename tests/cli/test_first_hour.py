"""A newcomer's first hour: the README and the tutorial, typed as they are in an empty folder with the wheel.

The test types every command of the pages in order, and compares the output with the pages. Only the durations of steps
may differ.
"""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.cli.newcomer import Newcomer, Page, holds
from tools import distribution, readme_program

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of an environment with only the wheel and its dependencies."""
    folder = tmp_path_factory.mktemp("newcomer")
    installed = distribution.empty_environment(folder / "environment")
    distribution.install(installed, distribution.build_wheel(folder))
    return installed


@pytest.fixture
def newcomer(commands: Path, tmp_path: Path) -> Newcomer:
    return Newcomer(commands, tmp_path)


def test_the_readme_s_program_crashes_and_goes_on(newcomer: Newcomer) -> None:
    printed, seen = readme_program.play(newcomer.commands / "python", newcomer.folder)

    assert printed == seen
    assert "kill -9" in newcomer.types("romancy demo").out
    listed = newcomer.types("romancy list --url sqlite:///orders.db --json")
    assert ["order-42", "completed"] == [json.loads(listed.out)[name] for name in ("instance_id", "status")]


def test_the_first_three_pages_of_the_tutorial(newcomer: Newcomer) -> None:
    page = Page.of("docs/guide/tutorial.md")
    newcomer.writes("shop.py", page.next("python"))
    assert newcomer.types("python shop.py") == (0, page.next("text"), "")
    (listed,) = newcomer.types_all(page.next("shell"))
    instance_id = listed.out.split()[-1]
    shown = newcomer.types(f"romancy show {instance_id} --url sqlite:///shop.db")
    assert re.search(r"activity charge:1: completed", shown.out)

    for name in ("docs/guide/tutorial-retry.md", "docs/guide/tutorial-crash.md"):
        newcomer.writes("shop.py", Page.of(name).next("python"))
        ran = newcomer.types("python shop.py")
        assert ran.code == 0, ran.err


def test_the_shop_waits_undoes_and_is_deployed(newcomer: Newcomer) -> None:
    wait, saga = Page.of("docs/guide/tutorial-wait.md"), Page.of("docs/guide/tutorial-saga.md")
    newcomer.writes("shop.py", wait.next("python"))
    with newcomer.at_work(wait.next("shell")) as first:
        waiting_for_a_payment(newcomer, wait)
    newcomer.writes("shop.py", saga.next("python"))
    with newcomer.at_work("romancy run shop:app") as second:
        undoing_retrying_and_cancelling(newcomer, saga)
        changing_the_code(newcomer, Page.of("docs/guide/tutorial-deploy.md"))
    with newcomer.at_work("romancy run shop:app"):
        newcomer.types_all("romancy signal order-4 paid '\"card 4\"'\nromancy watch order-4")

    assert holds(newcomer.types("romancy why order-4").out, "It has ended (completed).")
    assert [] == [*wait.blocks, *saga.blocks]
    assert ["reserve lamp"] == [line for line in first if line.endswith("lamp")]
    assert ["reserve", "put back"] * 3 + ["reserve"] == [
        line.removesuffix(" lamp") for line in second if line in {"reserve lamp", "put back lamp"}
    ]


def waiting_for_a_payment(newcomer: Newcomer, page: Page) -> None:
    *_, why = newcomer.types_all(page.next("shell"), wait_for=("order-1", "waiting"))
    assert holds(why.out, page.next("text")), why.out
    _, watched, shown = newcomer.types_all(page.next("shell"))
    assert "WorkflowCompleted" in watched.out
    assert holds(shown.out, page.next("text")), shown.out


def undoing_retrying_and_cancelling(newcomer: Newcomer, page: Page) -> None:
    *_, shown = newcomer.types_all(page.next("shell"), wait_for=("order-2", "waiting"))
    assert holds(shown.out, page.next("text")), shown.out
    _, watched = newcomer.types_all(page.next("shell"))
    assert "WorkflowRetried" in watched.out
    *_, watched = newcomer.types_all(page.next("shell"), wait_for=("order-3", "waiting"))
    assert "WorkflowCancelled" in watched.out


def changing_the_code(newcomer: Newcomer, page: Page) -> None:
    newcomer.types_all(page.next("shell"), wait_for=("order-4", "waiting"))
    source = (newcomer.folder / "shop.py").read_text("utf-8")
    reserving = "    await reserve(item)\n"
    newcomer.writes("shop.py", source.replace(reserving, f"    await ctx.sleep(60)\n{reserving}"))
    refused = newcomer.types(page.next("shell").strip())
    assert refused.code == 6
    assert holds(refused.out, page.next("text")), refused.out
    newcomer.writes("shop.py", page.next("python"))
    (fits,) = newcomer.types_all(page.next("shell"))
    assert holds(fits.out + fits.err, page.next("text")), fits


# --- mistakes ----------------------------------------------------------------------------------------------------

GOOD = """
import asyncio
from romancy import Romancy, WorkflowContext, activity, workflow

class Receipt:
    pass

@activity
async def charge(item: str):
    return f"receipt for {item}"

@workflow
async def order(ctx: WorkflowContext, item: str):
    return await charge(item)

app = Romancy("sqlite:///shop.db")

async def main() -> None:
    async with app:
        print(await app.run(order, "lamp"))

if __name__ == "__main__":
    asyncio.run(main())
"""
TYPED = {
    "romancy list --url sqlite:///elsewhere.db": (5, "there is no such file"),
    "romancy list --url sqlite://shop.db": (5, "write three slashes before a relative path"),
    "romancy list --url postgresql://localhost/shop": (5, "pip install 'romancy[postgres]'"),
    "romancy list --url mysql://localhost/shop": (5, "pip install 'romancy[mysql]'"),
    "romancy retry order-9 --url sqlite:///shop.db": (3, "`romancy list` shows those that are in this database"),
    "romancy check twice": (2, 'Give one of them another name with @workflow(name="…")'),
}
"""Wrong commands, their exit codes, and the advice in their output. `test_mistakes.py` has more of them."""

WRITTEN = {
    "unserialisable": (
        GOOD.replace('return f"receipt for {item}"', "return Receipt()"),
        "result of activity 'charge': an object of type Receipt cannot be written as JSON; use a dataclass",
    ),
    "forgotten_await": (
        GOOD.replace("return await charge(item)", "charge(item)"),
        "charge in order (shop.py, line 14). Write `await` before it",
    ),
    "io_in_a_workflow": (
        GOOD.replace("return await charge(item)", 'await asyncio.open_connection("localhost", 80)'),
        "was called in a workflow. It would give another answer on replay: move it into an activity",
    ),
    "unknown_to_the_app": (
        GOOD.replace('shop.db"', 'shop.db", workflows=[]'),
        "give it to the app in workflows=[…]",
    ),
    "defined_after_opening": (
        GOOD.replace("@workflow\n", "").replace("app.run(order,", "app.run(workflow(order),"),
        "declare it before the app is opened",
    ),
}
"""Wrong programs, and the advice in the output."""


def test_every_mistyped_command_says_what_to_do(newcomer: Newcomer) -> None:
    newcomer.writes("good.py", GOOD)
    newcomer.writes(
        "twice.py", GOOD + "\n@workflow(name='order')\nasync def other(ctx: WorkflowContext) -> None: ...\n"
    )
    assert newcomer.types("python good.py").out == "receipt for lamp\n"

    with ThreadPoolExecutor(4) as terminals:
        wrong = dict(zip(TYPED, terminals.map(newcomer.types, TYPED), strict=True))

    assert {line: code for line, (code, _) in TYPED.items()} == {line: answer.code for line, answer in wrong.items()}
    assert {} == {line: wrong[line].err for line, (_, said) in TYPED.items() if said not in wrong[line].err}
    assert not any("Traceback" in answer.err for answer in wrong.values())


@pytest.mark.parametrize("name", WRITTEN)
def test_every_program_that_is_wrong_says_what_to_do(name: str, newcomer: Newcomer) -> None:
    """A program that waits for another worker says so at once; the user need not wait for the end."""
    program, said = WRITTEN[name]
    newcomer.writes("shop.py", program)
    seen: list[str] = []

    with newcomer.starts("python shop.py") as process:
        assert process.stdout is not None
        for line in process.stdout:
            seen.append(line)
            if said in line:
                break

    assert said in "".join(seen), "".join(seen)
