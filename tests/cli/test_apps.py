"""Forms of a user's module, and what the command line says about each."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.cli.in_process import runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.in_process import Answer

GOOD = """
from romancy import Romancy, WorkflowContext, workflow

@workflow
async def greet_newcomer(ctx: WorkflowContext, name: str) -> str:
    return name

app = Romancy("sqlite:///new.db", workflows=[greet_newcomer])
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder; its modules are removed from memory afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    known = set(sys.modules)
    monkeypatch.delenv("ROMANCY_URL", raising=False)
    yield tmp_path
    for name in set(sys.modules) - known:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def romancy(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Run a command in the folder."""
    return runner(capsys)


@pytest.mark.parametrize("command", ["run", "check", "start"])
def test_a_module_that_raises_is_told_by_its_file_and_line(
    command: str, romancy: Callable[..., Answer], folder: Path
) -> None:
    (folder / "raising.py").write_text('def look():\n    raise LookupError("no key")\n\n\nlook()\n')

    answer = romancy(command, "raising:app", *(["greet"] if command == "start" else []))

    assert (1, "") == (answer.code, answer.out)
    assert f'File "{folder / "raising.py"}", line 2, in look\n    raise LookupError("no key")' in answer.err
    assert answer.err.endswith("LookupError: no key\n")
    assert "Traceback" not in answer.err
    assert "romancy/cli" not in answer.err


def test_a_module_that_is_no_python_is_told_by_its_file_and_line(romancy: Callable[..., Answer], folder: Path) -> None:
    (folder / "halfway.py").write_text("x = (1,\n")

    answer = romancy("run", "halfway")

    assert 1 == answer.code
    assert f'File "{folder / "halfway.py"}", line 1' in answer.err
    assert "SyntaxError" in answer.err


def test_a_package_that_the_module_lacks_is_not_the_module(romancy: Callable[..., Answer], folder: Path) -> None:
    (folder / "lacking.py").write_text("import no_such_package_of_mine\n")

    lacking = romancy("run", "lacking")
    absent = romancy("run", "absent_module")

    assert (1, 2) == (lacking.code, absent.code)
    assert "No module named 'no_such_package_of_mine'" in lacking.err
    assert "lacking.py" in lacking.err
    assert "there is no module 'absent_module'" in absent.err


@pytest.mark.parametrize(
    "end",
    [
        "import asyncio\n\nasync def main():\n    async with app:\n        pass\n\nasyncio.run(main())\n",
        "import asyncio\nasyncio.run(app.__aenter__())\n",
        "import anyio\n\nasync def main():\n    async with app:\n        pass\n\nanyio.run(main)\n",
        "raise SystemExit(0)\n",
    ],
    ids=["asyncio.run", "opened", "anyio.run", "exits"],
)
def test_a_module_that_runs_itself_is_told_where_to_put_that(
    end: str, romancy: Callable[..., Answer], folder: Path
) -> None:
    (folder / "eager.py").write_text(GOOD + end)

    answer = romancy("check", "eager")

    assert 1 == answer.code
    assert 'under `if __name__ == "__main__":`' in answer.err
    assert "Traceback" not in answer.err
    assert "never awaited" not in answer.err


def test_a_workflow_that_is_mistyped_is_answered_with_the_nearest(romancy: Callable[..., Answer], folder: Path) -> None:
    (folder / "good.py").write_text(GOOD)

    near = romancy("start", "good", "greet_newcommer", '"Ann"')
    far = romancy("start", "good", "x", '"Ann"')

    assert (2, 2) == (near.code, far.code)
    assert "did you mean 'greet_newcomer'?" in near.err
    assert "did you mean" not in far.err
    assert "it knows greet_newcomer" in far.err


def test_an_input_that_is_missing_or_a_bare_word_is_told_how_to_be_written(
    romancy: Callable[..., Answer], folder: Path
) -> None:
    (folder / "good.py").write_text(GOOD)

    missing = romancy("start", "good", "greet_newcomer")
    bare = romancy("start", "good", "greet_newcomer", "Ann")

    assert (2, 2) == (missing.code, bare.code)
    assert "which takes name: no input was given" in missing.err
    assert "a text needs its quotes" in bare.err


def test_an_input_that_does_not_fit_is_told_what_its_workflow_takes(
    romancy: Callable[..., Answer], folder: Path
) -> None:
    several = "\n@workflow\nasync def pair(ctx: WorkflowContext, one: int, two: int) -> int:\n    return one + two\n"
    none = "\n@workflow\nasync def nothing(ctx: WorkflowContext) -> None:\n    return None\n"
    module = GOOD.replace("\napp =", several + none + "\napp =").replace("[greet_", "[pair, nothing, greet_")
    (folder / "taking.py").write_text(module)

    unknown = romancy("start", "taking", "greet_newcomer", '{"nobody": "Ann"}')
    listed = romancy("start", "taking", "pair", "[1, 2]")
    vain = romancy("start", "taking", "nothing", "5")

    assert (2, 2, 2) == (unknown.code, listed.code, vain.code)
    assert "as in '{\"name\": …}', or the JSON of name alone" in unknown.err
    assert "Give an object with their names, as in '{\"one\": …}'" in listed.err
    assert "Leave the input out" in vain.err
    assert "since the value was written" not in unknown.err + listed.err + vain.err


def test_a_mistyped_url_is_answered_with_the_nearest_scheme(romancy: Callable[..., Answer], folder: Path) -> None:
    (folder / "mistyped.py").write_text(GOOD.replace("sqlite:", "sqllite:"))

    for answer in (romancy("run", "mistyped"), romancy("list", "--url", "sqllite:///new.db")):
        assert 5 == answer.code
        assert "did you mean sqlite?" in answer.err
    assert "ROMANCY_URL" in romancy("migrate").err


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("amount", "in quotes, since a shell takes > and < for itself"),
        ("amount==3", "there is no ==; write ="),
        ("amount=>3", "there is no =>; write >="),
        ("amount<>3", "there is no <>; write !="),
        ("amount~3", "one of = != > >= < <= ^= *= and a value"),
        ("=3", "give a path"),
        ("amount=[3]", "'amount=[3]': [3] is no single value"),
    ],
)
def test_a_filter_that_is_wrong_is_told_how_to_be_written(
    condition: str, said: str, romancy: Callable[..., Answer]
) -> None:
    answer = romancy("list", "--url", "sqlite:///new.db", "--where", condition)

    assert 2 == answer.code
    assert said in answer.err
