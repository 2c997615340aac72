"""Write the classes of `romancy.sync` from those with `await`, method by method.

Run as `python -m tools.make_sync`; a test fails when it must be run again. Names, parameters, docstrings and results
are those of the source, except that handles and channels are those of `romancy.sync`.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tools import tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["FOLDER", "LEFT_OUT", "pages"]

FOLDER: Final = tree.ROOT / "romancy" / "sync"

LEFT_OUT: Final = {
    "Romancy": {
        "as_client": "`Keeper` makes an app of its own kind",
        "is_open": "`Keeper` knows of the thread too",
        "entity": "the calls of an entity are its `async def` methods: `handle.call(Cart.add, …)` is typed here too",
        "end_of": "for handles",
        "error_names": "for handles",
        "outcome": "for handles",
        "serve": "signals arrive in the main thread, and the loop is in another",
        "watch": "for handles",
    },
    "Entities": {"entity": "as of Romancy"},
    "EntityHandle": {"asked": "calls by name, for `app.entity`"},
}
"""Public methods without a twin, and the reasons."""

NAMES: Final = {
    "Romancy": "SyncRomancy",
    "Handle": "SyncHandle",
    "ScheduleHandle": "SyncScheduleHandle",
    "WindowHandle": "SyncWindowHandle",
    "AppChannel": "SyncChannel",
    "Asked": "SyncAsked",
    "EntityHandle": "SyncEntityHandle",
}
"""The classes that have a name of their own in the types."""
_HANDLES: Final = ("SyncHandle", "SyncAsked", "SyncScheduleHandle", "SyncWindowHandle", "SyncEntityHandle")
RENAMED: Final = (
    ("AsyncIterator[", "Iterator["),
    ("AppChannel[", "SyncChannel["),
    ("Subscription[", "SyncSubscription["),
    ("Handle[", "SyncHandle["),
    ("Asked[", "SyncAsked["),
    ("ScheduleHandle", "SyncScheduleHandle"),
    ("WindowHandle[", "SyncWindowHandle["),
    ("EntityHandle[", "SyncEntityHandle["),
)
"""The names in what a method returns, and those of the twin."""
HEAD: Final = '''"""{what}

Written by `python -m tools.make_sync`: do not change it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, {typing}

'''


@dataclass(frozen=True)
class Twin:
    """A class of the source, and the text that the tool writes for it."""

    source: str
    original: str
    file: str
    name: str
    bases: str
    what: str
    imports: str
    body: str = ""


OWN: Final = """
    def __init__(self, keeper: Keeper, target: {original}[{parameter}]) -> None:
        self._its_keeper = keeper
        self._inner = target

    @property
    def _keeper(self) -> Keeper:
        return self._its_keeper

    @property
    def _target(self) -> {original}[{parameter}]:
        return self._inner
"""

TWINS: Final = (
    Twin(
        "messages.requests", "Requests", "_requests", "SyncRequests", "Caller",
        "Asking instances from outside, for code without `await`.",
        "from romancy.sync._asked import SyncAsked\nfrom romancy.sync._calling import Caller\n",
    ),
    Twin(
        "messages.requests", "Asked", "_asked", "SyncAsked", "Caller, Generic[R_co]",
        "Accepted requests, for code without `await`.",
        "from romancy.sync._calling import Caller, Keeper\n",
        OWN.format(original="Asked", parameter="R_co"),
    ),
    Twin(
        "messages.questions", "Questions", "_questions", "SyncQuestions", "SyncRequests",
        "Questions to people from outside, for code without `await`.",
        "from romancy.sync._requests import SyncRequests\n",
    ),
    Twin(
        "messages.senders", "Senders", "_senders", "SyncSenders", "SyncQuestions",
        "Sending from outside, for code without `await`.",
        "from romancy.sync._channel import SyncChannel\nfrom romancy.sync._questions import SyncQuestions\n"
        "from romancy.sync._subscription import SyncSubscription\n",
    ),
    Twin(
        "managing.acting", "Acting", "_acting", "SyncActing", "Caller",
        "Acting on one instance from outside, for code without `await`.",
        "from romancy.sync._calling import Caller\n",
    ),
    Twin(
        "managing.going_back", "GoingBack", "_going_back", "SyncGoingBack", "SyncActing",
        "Going back from outside, for code without `await`.", "from romancy.sync._acting import SyncActing\n",
    ),
    Twin(
        "managing.moving", "Moving", "_moving", "SyncMoving", "SyncGoingBack",
        "Moving instances between databases, for code without `await`.",
        "from romancy.sync._going_back import SyncGoingBack\n",
    ),
    Twin(
        "managing.retained", "RetainedByDefault", "_retained", "SyncRetainedByDefault", "SyncMoving",
        "What the database says of retention, for code without `await`.",
        "from romancy.sync._moving import SyncMoving\n",
    ),
    Twin(
        "managing.limiting", "Limiting", "_limiting", "SyncLimiting", "SyncRetainedByDefault",
        "Limits from outside, for code without `await`.",
        "from romancy.sync._retained import SyncRetainedByDefault\n",
    ),
    Twin(
        "managing.activities", "PausedActivities", "_activities", "SyncPausedActivities", "SyncLimiting",
        "Activities that are paused, for code without `await`.", "from romancy.sync._limiting import SyncLimiting\n",
    ),
    Twin(
        "managing.workflows", "PausedWorkflows", "_workflows", "SyncPausedWorkflows", "SyncPausedActivities",
        "Workflows that are paused, for code without `await`.",
        "from romancy.sync._activities import SyncPausedActivities\n",
    ),
    Twin(
        "managing.draining", "Draining", "_draining", "SyncDraining", "SyncPausedWorkflows",
        "Workers that are asked to drain, for code without `await`.",
        "from romancy.sync._workflows import SyncPausedWorkflows\n",
    ),
    Twin(
        "managing.failures", "FailedInstances", "_failures", "SyncFailedInstances", "SyncDraining",
        "Failures by their causes, for code without `await`.",
        "from romancy.sync._draining import SyncDraining\n",
    ),
    Twin(
        "managing.rates", "Rated", "_rates", "SyncRated", "SyncFailedInstances",
        "Rates by workflow, for code without `await`.",
        "from romancy.sync._failures import SyncFailedInstances\n",
    ),
    Twin(
        "managing.instances", "Instances", "_instances", "SyncInstances", "SyncRated",
        "Instances from outside, for code without `await`.",
        "from romancy.sync._rates import SyncRated\n",
    ),
    Twin(
        "starting.starts", "Starts", "_starts", "SyncStarts", "Caller",
        "Starts from outside, for code without `await`.",
        "from romancy.sync._asked import SyncAsked\nfrom romancy.sync._calling import Caller\n"
        "from romancy.sync._handle import SyncHandle\n",
    ),
    Twin(
        "starting.entities", "Entities", "_entities", "SyncEntities", "SyncStarts",
        "Entities from outside, for code without `await`.",
        "from romancy.sync._entity import SyncEntityHandle\nfrom romancy.sync._starts import SyncStarts\n",
    ),
    Twin(
        "starting.entities", "EntityHandle", "_entity", "SyncEntityHandle", "Caller, Generic[E]",
        "Entities by their keys, for code without `await`.",
        "from romancy.sync._asked import SyncAsked\nfrom romancy.sync._calling import Caller, Keeper\n",
        OWN.format(original="EntityHandle", parameter="E"),
    ),
    Twin(
        "schedules.schedules", "Schedules", "_schedules", "SyncSchedules", "SyncStarts",
        "Schedules from outside, for code without `await`.",
        "from romancy.sync._schedule import SyncScheduleHandle\nfrom romancy.sync._starts import SyncStarts\n",
    ),
    Twin(
        "windows.windows", "Windows", "_windows", "SyncWindows", "SyncStarts",
        "Windows of calls from outside, for code without `await`.",
        "from romancy.sync._starts import SyncStarts\nfrom romancy.sync._window import SyncWindowHandle\n",
    ),
    Twin(
        "app", "Romancy", "_app", "SyncRomancy",
        "Keeper, SyncWindows, SyncSchedules, SyncEntities, SyncInstances, SyncSenders",
        "The app, for code without `await`.",
        "from romancy.app import Romancy\nfrom romancy.sync._calling import Keeper\n"
        "from romancy.sync._entities import SyncEntities\nfrom romancy.sync._handle import SyncHandle\n"
        "from romancy.sync._instances import SyncInstances\n"
        "from romancy.sync._schedules import SyncSchedules\nfrom romancy.sync._senders import SyncSenders\n"
        "from romancy.sync._windows import SyncWindows\n",
    ),
    Twin(
        "schedules.handle", "ScheduleHandle", "_schedule", "SyncScheduleHandle", "Caller",
        "Schedules, for code without `await`.",
        "from romancy.sync._calling import Caller, Keeper\n",
        OWN.replace("{original}[{parameter}]", "ScheduleHandle"),
    ),
    Twin(
        "windows.handle", "WindowHandle", "_window", "SyncWindowHandle", "Caller, Generic[T]",
        "Windows of calls, for code without `await`.",
        "from romancy.sync._calling import Caller, Keeper\nfrom romancy.sync._handle import SyncHandle\n",
        OWN.format(original="WindowHandle", parameter="T"),
    ),
    Twin(
        "handle", "Handle", "_handle", "SyncHandle", "Caller, Generic[R_co]",
        "Handles of instances, for code without `await`.",
        "from romancy.sync._asked import SyncAsked\nfrom romancy.sync._calling import Caller, Keeper\n",
        OWN.format(original="Handle", parameter="R_co"),
    ),
    Twin(
        "messages.channels", "AppChannel", "_channel", "SyncChannel", "Caller, Generic[T]",
        "Channels outside of workflows, for code without `await`.",
        "from romancy.sync._calling import Caller, Keeper\nfrom romancy.sync._subscription import SyncSubscription\n",
        OWN.format(original="AppChannel", parameter="T"),
    ),
)  # fmt: skip

Function = ast.FunctionDef | ast.AsyncFunctionDef


def pages() -> dict[Path, str]:
    """The text of each file, by path."""
    return {FOLDER / f"{twin.file}.py": _formatted(_page(twin), f"{twin.file}.py") for twin in TWINS}


def _page(twin: Twin) -> str:
    module = ast.parse((tree.ROOT / "romancy" / f"{twin.source.replace('.', '/')}.py").read_text("utf-8"))
    found = next(node for node in module.body if isinstance(node, ast.ClassDef) and node.name == twin.original)
    methods = [_method(one, found.name) for one in _public(found)]
    if twin.original == "Romancy":
        methods.insert(0, _constructor(found))
    text = f"class {twin.name}({twin.bases}):\n    {_docstring(found)}\n{twin.body}\n" + "\n".join(methods)
    used = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    values = dict(_values(module, twin.source, text))
    variables = [ast.unparse(one) for one in _named(_type_variables(module), used)]
    typing = ", ".join(sorted({"overload"} | {one.split(" = ")[1].split("(")[0] for one in variables}))
    typing += ", Generic" if "Generic[" in twin.bases else ""
    typing += ", Concatenate" if "Concatenate" in used else ""
    head = HEAD.format(what=twin.what, typing=typing)
    checking = "\n".join(f"    {line}" for line in sorted(_imports(module, twin.source, used - values.keys())))
    aliases = "\n".join(f"    {ast.unparse(one)}" for one in _named(_aliases(module), used))
    runtime = twin.imports + "".join(f"from {source} import {name}\n" for name, source in values.items())
    return (
        f"{head}{runtime}\n{f'if TYPE_CHECKING:{chr(10)}{checking}' if checking else ''}\n\n{aliases}\n\n"
        f'__all__ = ["{twin.name}"]\n\n' + "\n".join(variables) + f"\n\n\n{text}"
    )


def _public(found: ast.ClassDef) -> Iterator[Function]:
    left_out = LEFT_OUT.get(found.name, {})
    for node in found.body:
        if isinstance(node, Function) and not node.name.startswith("_") and node.name not in left_out:
            yield node


def _constructor(found: ast.ClassDef) -> str:
    node = next(one for one in found.body if isinstance(one, Function) and one.name == "__init__")
    given = _passed(node.args)
    return (
        f"    def __init__({ast.unparse(node.args)}) -> None:\n        {_docstring(node)}\n"
        f"        super().__init__(lambda: Romancy({given}))\n"
    )


def _method(node: Function, owner: str) -> str:
    decorators = {ast.unparse(one) for one in node.decorator_list}
    lines = [f"@{one}" for one in sorted(decorators)]
    returns = "" if node.returns is None else _renamed(ast.unparse(node.returns))
    lines.append(f"def {node.name}({_renamed(ast.unparse(node.args))}) -> {returns}:")
    if "overload" in decorators:
        return _indented([*lines[:-1], f"{lines[-1]} ..."])
    lines.append(f"    {_docstring(node)}")
    lines += [f"    {line}" for line in _body(node, decorators, returns, owner)]
    return _indented(lines)


def _body(node: Function, decorators: set[str], returns: str, owner: str) -> list[str]:
    passed = _passed(node.args)
    if "property" in decorators:
        return [f"result: {returns} = self._target.{node.name}", "return result"]
    call = f"self._call({', '.join(filter(None, [repr(node.name), passed]))})"
    if returns.startswith("Iterator["):
        return [f"return {call.replace('_call', '_each', 1)}"]
    if returns == "None":
        return [call]
    if returns == "Self":
        return [f"self._target.{node.name}({passed})", "return self"]
    if returns.startswith(("AbstractContextManager", "Workflow")):
        return [f"result: {returns} = self._target.{node.name}({passed})", "return result"]
    for kind in (
        "SyncHandle",
        "SyncAsked",
        "SyncScheduleHandle",
        "SyncWindowHandle",
        "SyncEntityHandle",
        "SyncChannel",
        "SyncSubscription",
    ):
        inner = "self._keeper" if owner != "Romancy" else "self"
        if returns == kind or returns.startswith(f"{kind}["):
            return [f"return {kind}({inner}, {call})"]
        if returns.startswith(f"list[{kind}["):
            return [f"return [{kind}({inner}, one) for one in {call}]"]
    if returns == "Any":
        return [f"return {call}"]
    return [f"result: {returns} = {call}", "return result"]


def _passed(arguments: ast.arguments) -> str:
    """The arguments, as the twin passes them on."""
    parts = [one.arg for one in (*arguments.posonlyargs, *arguments.args) if one.arg != "self"]
    parts += [f"*{arguments.vararg.arg}"] if arguments.vararg else []
    parts += [f"{one.arg}={one.arg}" for one in arguments.kwonlyargs]
    parts += [f"**{arguments.kwarg.arg}"] if arguments.kwarg else []
    return ", ".join(parts)


def _renamed(text: str) -> str:
    for one, other in RENAMED:
        text = re.sub(rf"\b{re.escape(one)}", other, text)
    return text


def _docstring(node: ast.ClassDef | Function) -> str:
    text = ast.get_docstring(node, clean=False) or f"The {node.name}."
    return f'"""{text.replace("an `async with`", "a `with`").replace("`async with`", "`with`")}"""'


def _indented(lines: Iterable[str]) -> str:
    return "\n".join(f"    {line}" for line in lines) + "\n"


def _type_variables(module: ast.Module) -> list[ast.Assign]:
    return [
        node
        for node in module.body
        if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith(("TypeVar(", "ParamSpec("))
    ]


def _aliases(module: ast.Module) -> list[ast.Assign]:
    return [one for node in module.body if isinstance(node, ast.If) for one in node.body if isinstance(one, ast.Assign)]


def _values(module: ast.Module, source: str, text: str) -> Iterator[tuple[str, str]]:
    """Each name that a default value uses at run time, with the module that defines it."""
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, Function)]
    defaults = [one for node in functions for one in (*node.args.defaults, *node.args.kw_defaults) if one is not None]
    names = {node.id for one in defaults for node in ast.walk(one) if isinstance(node, ast.Name)} - {"tuple"}
    imported = {one.name: node.module for node in module.body if isinstance(node, ast.ImportFrom) for one in node.names}
    yield from ((name, imported.get(name) or f"romancy.{source}") for name in sorted(names))


def _named(found: list[ast.Assign], used: set[str]) -> list[ast.Assign]:
    return [one for one in found if isinstance(one.targets[0], ast.Name) and one.targets[0].id in used]


def _imports(module: ast.Module, source: str, used: set[str]) -> Iterator[str]:
    """An import for each used name: the import of the source, or one from the source itself."""
    checking = [one for node in module.body if isinstance(node, ast.If) for one in node.body]
    sources = [node for node in (*module.body, *checking) if isinstance(node, ast.ImportFrom)]
    for alias in _named(_aliases(module), used):
        used = used | {node.id for node in ast.walk(alias) if isinstance(node, ast.Name)}
    for node in sources:
        for one in node.names:
            if (one.asname or one.name) in used and node.module not in ("typing", "__future__"):
                yield f"from {node.module} import {ast.unparse(one)}"
    if "Iterator" in used:
        yield "from collections.abc import Iterator"
    names = {node.name for node in module.body if isinstance(node, ast.ClassDef)} & used - {"Romancy"}
    yield from (f"from romancy.{source} import {name}" for name in names)
    if "Literal" in used:
        yield "from typing import Literal"
    if "Self" in used:
        yield "from typing import Self"
    if "Unpack" in used:
        yield "from typing import Unpack"


def _formatted(text: str, name: str) -> str:
    path = str(FOLDER / name)
    for command in (["check", "--fix", "--select", "F401,F811,I", "--exit-zero", "--quiet"], ["format"]):
        text = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--stdin-filename", path, "-"],
            input=text,
            text=True,
            capture_output=True,
            check=True,
        ).stdout
    return text


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, "utf-8")
