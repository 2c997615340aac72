"""A terminal error comes back as its class if that can be found, whichever modules are imported by now."""

from __future__ import annotations

import asyncio
import sys
from importlib import import_module
from typing import TYPE_CHECKING, cast

import pytest

from romancy.activity import activity
from romancy.context import WorkflowContext
from romancy.core.run.terminal import terminal_errors
from romancy.errors import TerminalError
from romancy.serialization import ErrorInfo, describe_exception, exception_name
from romancy.workflow import workflow
from romancy_conformance.workflows import Scenario
from tests.core.awkward import AWKWARD
from tests.core.driver import World

if TYPE_CHECKING:
    from pathlib import Path

TERMINAL = exception_name(TerminalError)


class OfThisModuleError(TerminalError):
    """The activity below is in this module as well."""


@activity
async def is_here() -> None:
    raise OfThisModuleError


def test_live_and_replay_see_the_same_whatever_is_imported() -> None:
    scenario = AWKWARD["catches_what_was_imported_late"]
    world = World(scenario)
    assert scenario.result == world.result()
    for commits in range(1, len(world.commits)):
        for name in [name for name in sys.modules if name.endswith("lazily_imported")]:
            del sys.modules[name]
        assert scenario.result == world.cut(commits).result()


def test_a_class_made_where_the_activity_is() -> None:
    class MadeHereError(TerminalError):
        pass

    @activity(name="raises what is made here")
    async def raises() -> None:
        raise MadeHereError

    @workflow
    async def catches(ctx: WorkflowContext) -> str:
        try:
            await raises()
        except MadeHereError:
            return "caught"
        return "missed"

    world = World(Scenario(catches))
    assert world.result() == "caught"
    assert world.cut(1).result() == "caught"


def terminal(name: str, *bases: str) -> ErrorInfo:
    return ErrorInfo(name, bases=(*bases, TERMINAL))


def test_of_a_script_that_is_a_module_here() -> None:
    for script in ("__main__", "__mp_main__"):
        name = f"{script}.OfThisModuleError"
        assert terminal_errors(terminal(name), is_here.fn)[name] is OfThisModuleError


def test_of_a_module_that_is_the_script_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a_script_that_is_run.py").write_text("raise AssertionError('it is there already')")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(tmp_path / "a_script_that_is_run.py"), raising=False)
    monkeypatch.setattr(sys.modules["__main__"], "OfThisModuleError", OfThisModuleError, raising=False)
    name = "a_script_that_is_run.OfThisModuleError"
    assert terminal_errors(terminal(name), is_here.fn)[name] is OfThisModuleError


def test_a_module_is_imported_outside_of_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a module does on import, such as starting a thread, is not an act of the workflow."""
    (tmp_path / "starts_a_thread.py").write_text(
        "import threading\n"
        "from romancy.errors import TerminalError\n"
        "thread = threading.Thread(target=int)\n"
        "thread.start()\n"
        "thread.join()\n"
        "class LateError(TerminalError): pass\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    @activity(name="raises a late one")
    async def raises() -> None:
        raise import_module("starts_a_thread").LateError

    @workflow
    async def catches_a_late_one(ctx: WorkflowContext) -> str:
        try:
            await raises()
        except TerminalError as error:
            return type(error).__name__
        return "missed"

    async def host() -> None:
        world = World(Scenario(catches_a_late_one))
        assert world.result() == "LateError"
        del sys.modules["starts_a_thread"]
        again = World(Scenario(catches_a_late_one), world.commits)
        assert again.main.outcome == world.main.outcome
        assert "starts_a_thread" in sys.modules

    asyncio.run(host())
    del sys.modules["starts_a_thread"]


@pytest.mark.parametrize(
    "text", ["raise SystemExit", "raise ValueError", "LateError = 5", "class LateError(Exception): pass", "x ="]
)
def test_a_module_that_holds_no_such_class(text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "holds_nothing.py").write_text(text)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    info = terminal("holds_nothing.LateError", "gone.Base", "pkg.__main__.Base", "a.<locals>.B")
    assert terminal_errors(info, is_here.fn) == {TERMINAL: TerminalError}
    sys.modules.pop("holds_nothing", None)


def test_nothing_is_imported_for_any_other_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "imported_by_nobody.py").write_text("class LateError(Exception): pass")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    info = ErrorInfo("imported_by_nobody.LateError", bases=("imported_by_nobody.Base", "OSError"))
    assert terminal_errors(info, is_here.fn) == {TERMINAL: TerminalError}
    assert "imported_by_nobody" not in sys.modules


def test_a_long_line_of_classes_is_known_to_be_terminal() -> None:
    kind: type[TerminalError] = OfThisModuleError
    for n in range(20):
        kind = cast("type[TerminalError]", type(f"Kind{n}", (kind,), {}))
    assert describe_exception(kind()).bases[-1] == TERMINAL
