"""Write `docs/reference/`, every public name with its full signature and its docstring, and `llms.txt`.

Run as `python -m tools.make_reference`; a test fails when it must be run again. Signatures are read from the source, so
the pages are the same under every Python. `docs/api.md` gives the names and their order.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from posixpath import normpath
from typing import TYPE_CHECKING, NamedTuple

import romancy
from romancy import (
    Romancy,
    _call_options,
    _schedule_options,
    _start_options,
    dashboard,
    errors,
    hooks,
    http,
    outbox,
    query,
    sync,
    testing,
)
from romancy._followed import Followed
from romancy.ext import django, langgraph, openai_agents, otel, pydantic_ai, starlette
from romancy.managing.instances import Instances
from romancy.messages.senders import Senders
from tools import markdown, sync_page, tree
from tools.make_sync import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["FOLDER", "INDEX", "listed", "pages"]

FOLDER = tree.ROOT / "docs" / "reference"
INDEX = tree.ROOT / "llms.txt"
WIDTH = 110
FENCE = "```python no-run: signatures"

# Members that only the engine calls, and classes that only it makes.
INTERNAL = {
    "Activity": {
        "as_undo", "check", "is_same_call", "kind", "read_default", "read_result", "undo", "written",
    },
    "Codecs": {"ids", "of", "stored_size", "unwrap", "wrap"},
    "Instance": {"of", "raw_input"},
    "InstanceFilter": {"among", "of", "query", "statuses"},
    "Limit": {"place"},
    "RetryPolicy": {"decide", "delay"},
    "Schedule": {"of"},
    "Romancy": {"end_of", "error_names", "outcome", "watch"},
    "RomancyDurability": {
        "engine_spec", "get_default_conversation_id", "get_default_run_id", "get_durable_operation_backend",
        "get_run_clock", "in_durable_context", "prepare_model_request", "wrap_run",
    },
    "SyncRomancy": {"wait"},
    "Webhook": {"sending", "verified"},
    "Workflow": {
        "body", "check", "code", "delay", "encode", "headers", "instance_id", "is_same_call", "kind", "launch", "limit",
        "beside", "keeps_state", "limits", "read_result", "schedule", "write_result",
    },
}  # fmt: skip
MADE_FOR_YOU = {
    "AboutInstances", "Activity", "ActivityChannel", "ActivityContext", "ActivityStream", "AppChannel", "Counts",
    "EntityContext", "EntityHandle", "Exported", "ForkPlan", "ForkStep", "Handle", "Imported", "Ingress",
    "OtherInstance", "Purged", "Question", "QuestionPage", "Schedule", "ScheduleHandle", "ScheduleRun", "Session",
    "Subscription", "SyncChannel", "SyncEntityHandle", "SyncHandle", "SyncScheduleHandle", "SyncSubscription",
    "SyncWindowHandle", "Window", "WindowHandle", "WindowPage", "WindowStart", "Undo", "Webhook", "Workflow",
    "WorkflowChannel", "WorkflowContext", "WorkflowStream",
}  # fmt: skip
WHOLE = {
    "Hooks": hooks, "Outbox": outbox, "Comparisons": query, "Dashboard": dashboard, "Django": django,
    "LangGraph": langgraph, "OpenAI Agents": openai_agents, "OpenTelemetry": otel, "pydantic-ai": pydantic_ai,
    "Starlette": starlette, "Sync": sync, "Testing": testing,
}  # fmt: skip
"""Modules of which all public names are on one page, by its title."""
UNSAID_BASES = re.compile(
    r"\((?:_\w+|Acting|GoingBack|Moving|Caretaker|Windows, Schedules, Entities|Instances, Senders"
    r"|Keeper, (?:Sync\w+, )*SyncSenders)\)"
    r"|(?<=\()(?:Caller|Faking), "
)
MANY = 8
"""More overloads than a reader can use."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


class AboutInstances(Instances, Senders):
    """The methods of an app that its page leaves to the one about instances."""


class Source(NamedTuple):
    """A module's text and its tree."""

    text: str
    module: ast.Module


def _source(module: str) -> Source:
    text = inspect.getsource(importlib.import_module(module))
    return Source(text, ast.parse(text))


def _flat(text: str) -> str:
    """Return the text on one line, without comments and without `self`."""
    text = re.sub(r"[ \t]+#.*", "", text)
    text = re.sub(r"\s+", " ", text).strip().removesuffix(":")
    text = text.replace("( ", "(").replace("[ ", "[").replace(", )", ")").replace(" )", ")").replace(" ]", "]")
    return re.sub(r"^((?:async )?def \w+)\((?:self|cls)(?:: [^,]+)?(?:, /)?(?:, )?", r"\1(", text)


def _wrapped(signature: str) -> str:
    """Put each parameter on its own line if one line is too short."""
    if len(signature) <= WIDTH:
        return signature
    depth, start = 0, signature.index("(") + 1
    parts: list[str] = []
    for at in range(start, len(signature)):
        depth += (signature[at] in "([{") - (signature[at] in ")]}")
        if depth < 0 or (depth == 0 and signature[at] == ","):
            parts.append(signature[start:at].strip())
            start = at + 1
        if depth < 0:
            inside = "".join(f"    {part},\n" for part in parts)
            return f"{signature[: signature.index('(')]}(\n{inside}){signature[at + 1 :]}"
    return signature


def _head(text: str, node: Function | ast.ClassDef) -> str:
    """Return everything before the body, on one line."""
    lines = text.splitlines()
    first = node.body[0]
    begin = lines[node.lineno - 1 : first.lineno]
    begin[-1] = begin[-1].encode()[: first.col_offset].decode() if first.lineno >= node.lineno else ""
    return _flat("\n".join(begin))


def _decorators(node: Function) -> set[str]:
    return {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}


def _block(signatures: list[str]) -> list[str]:
    """Format a block as the formatter does."""
    lines: list[str] = []
    for signature in signatures:
        lines += ["", ""] if lines and lines[-1].startswith("class ") else []
        lines.append(f"{_wrapped(signature)}: ...")
    return [FENCE, *lines, "```", ""]


def _documented(node: Function | ast.ClassDef) -> list[str]:
    said = ast.get_docstring(node)
    return [*said.splitlines(), ""] if said else []


def _function(source: Source, named: list[Function], title: str, level: str) -> list[str]:
    """Return a function or method with its overloads, if it has any."""
    overloads = [node for node in named if "overload" in _decorators(node)]
    if len(overloads) > MANY:
        overloads = []  # they serve type checkers
    signatures = [_head(source.text, node) for node in overloads or named[-1:]]
    if "classmethod" in _decorators(named[-1]):
        signatures = [f"@classmethod\n{signature}" for signature in signatures]
    return [f"{level} {title}", "", *_block(signatures), *_documented(named[-1]), *_unpacked(signatures)]


def _unpacked(signatures: list[str]) -> list[str]:
    """Say which the keywords are that a signature only names, or where they are."""
    found = re.search(r"\*\*(\w+): Unpack\[(\w+)\]", signatures[-1])
    if found is None:
        return []
    if found[2] in query.__all__:
        return [f"The keywords `{found[1]}` are those of [{found[2]}](comparisons.md#{found[2].lower()}).", ""]
    keywords = _keywords(found[2])
    lines = [f"The keywords of `{found[2]}`, each of which can be left out:", ""]
    lines += [f"- `{written}`" + (f": {' '.join(said.split())}" if said else "") for written, said in keywords.values()]
    others = {each[1] for each in re.finditer(r"Unpack\[(\w+)\]", " ".join(signatures))} - {found[2]}
    for other in sorted(others):
        without = ", ".join(f"`{name}`" for name in sorted(keywords.keys() - _keywords(other).keys()))
        lines += ["", f"`{other}` has the same ones without {without}."]
    return [*lines, ""]


def _keywords(kind: str) -> dict[str, tuple[str, str]]:
    """The keywords of a TypedDict of options with those of its bases: how each is written, and what is said of it."""
    (module,) = (each for each in (_call_options, _schedule_options, _start_options) if hasattr(each, kind))
    source = _source(module.__name__)
    (node,) = (each for each in source.module.body if isinstance(each, ast.ClassDef) and each.name == kind)
    found: dict[str, tuple[str, str]] = {}
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id != "TypedDict":
            found |= _keywords(base.id)
    for member, following in zip(node.body, [*node.body[1:], None], strict=True):
        attribute = _attribute(source.text, member, following)
        if attribute:
            found[_name(member)] = attribute
    return found


def _attribute(text: str, node: ast.stmt, following: ast.stmt | None) -> tuple[str, str] | None:
    """Return the name, type and docstring of a field, of an enum's member or of a property."""
    said = ""
    if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
        said = inspect.cleandoc(str(following.value.value))
    if isinstance(node, ast.AnnAssign | ast.Assign):
        return _flat(ast.get_source_segment(text, node) or "").partition(" = field(")[0], said
    if isinstance(node, ast.FunctionDef) and _decorators(node) & {"property", "cached_property"}:
        returns = ast.get_source_segment(text, node.returns) if node.returns else None
        return f"{node.name}: {_flat(returns or 'Any')}", ast.get_docstring(node) or ""
    return None


def _name(node: ast.stmt) -> str:
    if isinstance(node, Function):
        return node.name
    target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0] if isinstance(node, ast.Assign) else 0
    return target.id if isinstance(target, ast.Name) else "_"


def _bodies(cls: type) -> Iterator[tuple[Source, ast.ClassDef]]:
    """Return the class and its bases in Romancy, itself last. The app leaves out those that have a page."""
    of_the_app = Romancy.__mro__ if cls is not Romancy else Followed.__mro__
    known = [each for each in cls.__mro__ if "romancy" in each.__module__]
    if issubclass(cls, Exception):
        known = [cls]
    elif issubclass(cls, Romancy):
        known = [each for each in known if each not in of_the_app]
    for each in reversed(known):
        source = _source(each.__module__)
        for node in source.module.body:
            if isinstance(node, ast.ClassDef) and node.name == each.__name__:
                yield source, node


def _class(cls: type) -> list[str]:
    title = "Romancy" if cls is AboutInstances else cls.__name__
    attributes: list[str] = []
    methods: dict[str, tuple[Source, list[Function]]] = {}
    made = ""
    hidden = set[str]().union(*(INTERNAL.get(base.__name__, ()) for base in cls.__mro__))
    head, documented = "", list[str]()
    for source, node in _bodies(cls):
        head, documented = _head(source.text, node), _documented(node)
        for member, following in zip(node.body, [*node.body[1:], None], strict=True):
            name = _name(member)
            if name == "__init__" and isinstance(member, Function) and cls.__name__ not in MADE_FOR_YOU:
                made = re.sub(r"^def __init__|( -> None)$", "", _head(source.text, member))
            if name.startswith("_") or name in hidden:
                continue
            attribute = _attribute(source.text, member, following)
            if attribute:
                attributes.append(
                    f"- `{attribute[0]}`" + (f": {' '.join(attribute[1].split())}" if attribute[1] else "")
                )
            elif isinstance(member, Function):
                if methods.setdefault(name, (source, []))[0] is not source:
                    methods[name] = source, []  # it overrides that of a base in another module
                methods[name][1].append(member)
    head = head.replace("class Instances", "class Romancy")
    shown = [UNSAID_BASES.sub("", head), *([f"def {cls.__name__}{made} -> {cls.__name__}"] if made else [])]
    lines = [f"## {title}", "", *_block(shown), *documented, *attributes, *([""] if attributes else [])]
    for name, (source, named) in methods.items():
        lines += _function(source, named, f"{title}.{name}", "###")
    return lines


def _entry(name: str, value: object, module: str) -> list[str]:
    if isinstance(value, type):
        return _class(value)
    source = _source(getattr(value, "__module__", module) if inspect.isfunction(value) else module)
    named = [node for node in source.module.body if isinstance(node, Function) and node.name == name]
    if named:
        return _function(source, named, name, "##")
    for node in ast.walk(source.module):  # an import may stand in a `try`
        if isinstance(node, ast.ImportFrom) and node.module and name in {each.name for each in node.names}:
            return _entry(name, value, node.module)
    (alias,) = (node for node in source.module.body if _name(node) == name)
    meant = _flat(ast.get_source_segment(source.text, alias) or "")
    if len(meant) > WIDTH:
        meant = re.sub(r"= \((.*)\)$", r"= (\n    \1\n)", meant)
    return [f"## {name}", "", FENCE, meant, "```", ""]


def _sections() -> dict[str, list[str]]:
    """Return the public names under each heading of the API page, in its order."""
    sections: dict[str, list[str]] = {}
    heading = ""
    for _, line in markdown.read((tree.ROOT / "docs" / "api.md").read_text("utf-8")).prose:
        heading = line.removeprefix("## ") if line.startswith("## ") else heading
        found = re.match(r"^\| *`(\w+)", line)
        if found:
            sections.setdefault(heading, []).append(found[1])
    return sections


def listed() -> dict[str, list[tuple[str, object, str]]]:
    """Return the contents of each page by its title: the name, the object and its module."""
    contents: dict[str, list[tuple[str, object, str]]] = {}
    for heading, names in _sections().items():
        for name in names:
            module = next(each for each in (errors, http, romancy) if name in each.__all__)
            page = name if name == "Romancy" else heading
            contents.setdefault(page, []).append((name, getattr(module, name), module.__name__))
    contents["Instances"] = [("Romancy", AboutInstances, "romancy")]
    for title, module in WHOLE.items():
        contents[title] = [(name, getattr(module, name), module.__name__) for name in module.__all__]
    return contents


def _page(title: str, entries: list[tuple[str, object, str]]) -> str:
    modules = sorted({module for _, _, module in entries})
    lines = [
        f"# Reference: {title}",
        "",
        f"`{modules[0]}`, with the signatures and docstrings of the source. [API](../api.md) has it all at a glance.",
        "",
    ]
    for name, value, module in entries:
        lines += _entry(name, value, module)
    return "\n".join(lines).rstrip() + "\n"


def _sync() -> str:
    """Return the page about the classes without `await`."""
    contents = listed()
    homes = {
        name: f"{title.lower().replace(' ', '-')}.md" for title, entries in contents.items() for name, _, _ in entries
    }
    originals = {twin: name for name, twin in NAMES.items()} | {"SyncSubscription": "Subscription"}
    about_the_app = {"romancy.md": _class(Romancy), "instances.md": _class(AboutInstances)}
    return sync_page.page(
        sync_page.Twin(
            name,
            _class(getattr(sync, name)),
            originals[name],
            about_the_app
            if originals[name] == "Romancy"
            else {homes[originals[name]]: _class(getattr(romancy, originals[name]))},
        )
        for name, _, _ in contents["Sync"]
    )


def _index() -> str:
    """Yield each page that the documentation's index links, with the question that it answers."""
    lines = [
        "# Romancy",
        "",
        "> Durable execution for plain async Python, in your own SQLite, PostgreSQL, MySQL or MariaDB.",
        "",
        "- [README](README.md): a program that is killed and goes on, the promises, the figures, how to install it",
        "",
    ]
    heading = ""
    for _, line in markdown.read((tree.ROOT / "docs" / "index.md").read_text("utf-8")).prose:
        row = re.match(r"^\| \[(?P<title>[^\]]+)\]\((?P<page>[^)]+\.md)\) \| (?P<question>.+?) \|$", line)
        if line.startswith("#"):
            heading = line
        elif row:
            lines += ([""] if lines[-1] else []) + [heading, ""] if heading else []
            lines.append(f"- [{row['title']}]({normpath('docs/' + row['page'])}): {row['question']}")
            heading = ""
    return "\n".join(lines) + "\n"


def pages() -> dict[Path, str]:
    """Return the text of each page by its path."""
    written = {
        FOLDER / f"{title.lower().replace(' ', '-')}.md": _page(title, entries) for title, entries in listed().items()
    }
    return {**written, FOLDER / "sync.md": _sync(), INDEX: _index()}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for path, text in pages().items():
        path.write_text(text, "utf-8")
        print(tree.name_of(path), text.count("\n"))


if __name__ == "__main__":
    main()
