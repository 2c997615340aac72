"""`romancy lint` names what a body must not call, with what to use instead, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from romancy.linting import findings_in
from tests.cli.in_process import Answer, runner
from tests.linting.shop import stamping, workflows

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.linting import Finding

TARGET = "tests.linting.shop.workflows"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    return runner(capsys)


def lines_marked_in(path: str, function: str = "") -> list[int]:
    """The lines whose comments number the mistakes of a file, or of one function in it."""
    lines = Path(path).read_text().splitlines()
    begin = next((at for at, line in enumerate(lines) if f"def {function}(" in line), 0) if function else 0
    marked = [at for at, line in enumerate(lines, 1) if "  # " in line and line.split("  # ")[1][:1].isdigit()]
    if not function:
        return marked
    end = next((at for at, line in enumerate(lines[begin + 1 :], begin + 2) if line.startswith("async def")), 10_000)
    return [at for at in marked if begin < at < end]


def of(*names: str) -> list[Finding]:
    return findings_in([getattr(workflows, name) for name in names])


def test_every_mistake_in_a_body_is_named_with_what_to_use() -> None:
    found = of("mistaken")
    assert [each.line for each in found] == lines_marked_in(workflows.__file__, "mistaken")
    uses = {each.what: each.use for each in found}
    assert uses["time.time()"] == "ctx.now()"
    assert uses["datetime.now()"] == "ctx.now()"
    assert uses["random.choice()"] == "ctx.random()"
    assert uses["uuid.uuid4()"] == "ctx.uuid4()"
    assert uses["open()"] == "an activity"
    assert uses["os.environ"] == "an activity, or a parameter of the workflow"
    assert uses["time.sleep()"] == "await ctx.sleep(…)"


def test_names_of_a_function_of_its_own_are_followed() -> None:
    assert [each.what for each in of("local_names")] == [
        "time.time()", "uuid.uuid4()", "random.random()", "random.random()", "os.environ",
    ]  # fmt: skip


def test_functions_classes_and_methods_of_the_package_are_read() -> None:
    found = of("by_functions")
    assert [each.line for each in found] == lines_marked_in(stamping.__file__)
    assert {each.workflow for each in found} == {"by_functions"}
    assert "Clock._now" in {each.function for each in found}


def test_activities_and_what_only_looks_like_a_mistake_are_silent() -> None:
    assert of("innocent") == []


def test_a_mistake_that_two_workflows_reach_is_told_once() -> None:
    assert len(of("by_functions", "by_functions")) == len(of("by_functions"))


def test_the_command_ends_with_1_and_names_place_call_and_use(run: Callable[..., Answer]) -> None:
    answer = run("lint", TARGET)
    assert answer.code == 1
    first = next(line for line in answer.out.splitlines() if "workflow mistaken" in line)
    assert first.endswith("time.time() in mistaken (workflow mistaken): use ctx.now()")
    assert "tests/linting/shop/workflows.py:" in first
    assert "3 workflows read: 30 calls to replace" in answer.err


def test_the_command_ends_with_0_without_a_mistake(run: Callable[..., Answer]) -> None:
    assert run("lint", f"{TARGET}:good")[:2] == (0, "")
    assert run("lint", f"{TARGET}:none").code == 2


def test_json_has_a_record_a_line(run: Callable[..., Answer]) -> None:
    records = [json.loads(line) for line in run("lint", f"{TARGET}:app", "--json").out.splitlines()]
    assert len(records) == 30
    assert records[0].keys() == {"path", "line", "column", "what", "use", "function", "workflow"}
