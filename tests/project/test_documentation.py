"""The documentation matches the code: its programs run, and its commands, paths and names exist."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import romancy
from romancy import errors, hooks, http, outbox, query, testing
from tools import markdown, tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The words of a fence, and how the suite treats each.
RUN = "python"
NAMES_CHECKED = "shell"
LINES = "no-run: lines of the program below"
SHOWN_ONLY = {"go", "json", "sql", "text", "toml", "yaml"}

PAGES = {tree.name_of(path): markdown.read(path.read_text("utf-8")) for path in tree.files(".md")}
BLOCKS = {f"{name}:{block.line}": block for name, page in PAGES.items() for block in page.blocks}
PROGRAMS = {where: block for where, block in BLOCKS.items() if block.language == RUN and not block.marker}
COMMANDS = {where: block for where, block in BLOCKS.items() if block.language == NAMES_CHECKED}

SAVED_AS = re.compile(r"# (\w+\.py)\n")
"""The first line of a block that the reader saves under this name, and that later blocks of its page import."""


def _saved(page: markdown.Page) -> Iterator[tuple[markdown.CodeBlock, dict[str, str]]]:
    """Yield the blocks that come after such ones, with the files that their reader has by then."""
    files: dict[str, str] = {}
    for block in page.blocks:
        if files:
            yield block, dict(files)
        if named := SAVED_AS.match(block.text):
            files[named[1]] = block.text


SAVED = {block: files for page in PAGES.values() for block, files in _saved(page)}

# A path in the documentation's code style that begins with a folder of this tree and names one file.
OUR_PATH = re.compile(
    r"`((?:\.ci|backends|benchmarks|conformance_tests|docs|examples|requirements|romancy|tests|tools)/[^`\s]*)`"
)
TEST_FILE = re.compile(r"\b(test_\w+\.py)\b")
STANDS_FOR_MANY = re.compile(r"[<>*…]")


def test_every_code_block_says_what_it_is() -> None:
    """The only marker is `no-run: the reason`, and only of a block that would run."""
    unknown = {where for where, block in BLOCKS.items() if block.language not in {RUN, NAMES_CHECKED, *SHOWN_ONLY}}
    marked = {where: block for where, block in BLOCKS.items() if block.marker}
    wrong = {
        where
        for where, block in marked.items()
        if not re.fullmatch(r"no-run: \S.*", block.marker) or block.language != RUN
    }

    assert (set[str](), set[str]()) == (unknown, wrong)


@pytest.fixture(scope="module")
def run() -> Iterator[Callable[[Path], int]]:
    """Run a program in a separate process; return its exit status. Forking saves half a second for each."""
    command = [sys.executable, "-W", "error", str(Path(__file__).with_name("forked_blocks.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdin is not None
        assert runner.stdout is not None
        orders, answers = runner.stdin, runner.stdout

        def ordered(program: Path) -> int:
            orders.write(f"{program}\n")
            orders.flush()
            return int(answers.readline())

        yield ordered


@pytest.mark.parametrize("block", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_a_python_block_runs_by_itself(block: markdown.CodeBlock, run: Callable[[Path], int], tmp_path: Path) -> None:
    for name, text in SAVED.get(block, {}).items():
        (tmp_path / name).write_text(text, "utf-8")
    program = tmp_path / "example.py"
    program.write_text(block.text, "utf-8")

    status = run(program)

    assert status == 0, f"{block.text}\n{program.with_suffix('.out').read_text('utf-8')}"


def test_lines_of_a_program_are_in_it() -> None:
    """A page may show some lines first, and the program that has them as its last block."""
    shown = [(name, block) for name, page in PAGES.items() for block in page.blocks if block.marker == LINES]
    programs = {name: {line.strip() for line in PAGES[name].blocks[-1].text.splitlines()} for name, _ in shown}

    assert shown
    assert [] == [
        (name, line) for name, block in shown for line in block.text.splitlines() if line.strip() not in programs[name]
    ]


def test_the_shell_blocks_name_what_exists() -> None:
    targets = re.findall(r"^([a-z][a-z-]*):", (tree.ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for where, line in ((where, line) for where, block in COMMANDS.items() for line in block.text.splitlines()):
        command, *words = line.split("#")[0].split() or [""]
        named = [word for word in words if re.fullmatch(r"[a-z][a-z-]*", word)]
        if command == "make":
            assert set(named) <= set(targets), where
        elif command in {"bash", "sh"}:
            assert (tree.ROOT / words[0]).is_file(), where


def test_no_page_is_an_orphan() -> None:
    """The links of these pages make the site's menu; `make docs` fails on a page that none of them links."""
    listed = {"docs/index.md"}
    for name in ("docs/index.md", "docs/decisions/README.md"):
        folder = (tree.ROOT / name).parent
        targets = {target.partition("#")[0] for _, target in markdown.links(PAGES[name])}
        pages = {(folder / target).resolve() for target in targets if target.endswith(".md")}
        listed |= {page.relative_to(tree.ROOT).as_posix() for page in pages}

    assert [] == sorted(name for name in PAGES if name.startswith("docs/") and name not in listed)


def test_the_paths_that_pages_name_exist() -> None:
    missing = [
        (name, path)
        for name, page in PAGES.items()
        for path in OUR_PATH.findall("\n".join(line for _, line in page.prose))
        if not STANDS_FOR_MANY.search(path) and not (tree.ROOT / path).exists()
    ]

    assert [] == missing


def test_the_tests_that_pages_name_exist() -> None:
    """Most pages name them without their folders."""
    saved = {found[1] for block in BLOCKS.values() if (found := SAVED_AS.match(block.text))}
    tests = {path.name for path in tree.files(".py")} | saved
    named = {
        (name, test)
        for name, page in PAGES.items()
        for test in TEST_FILE.findall("\n".join(line for _, line in page.prose))
    }

    assert named
    assert set[tuple[str, str]]() == {(name, test) for name, test in named if test not in tests}


def test_the_api_page_names_what_is_public_and_nothing_else() -> None:
    public = {*getattr(romancy, "__all__", ()), *errors.__all__, *http.__all__}
    prose = "\n".join(line for _, line in PAGES["docs/api.md"].prose)
    described = re.findall(r"^(?:\| *|#+ +)`(\w+)", prose, re.MULTILINE)

    assert sorted(public) == sorted(described)


def test_each_public_error_has_its_causes_and_remedies() -> None:
    public = {
        name
        for module in (romancy, errors, http, outbox, hooks, query, testing)
        for name in module.__all__
        if inspect.isclass(value := getattr(module, name)) and issubclass(value, BaseException)
    }
    text = (tree.ROOT / "docs/guide/errors.md").read_text("utf-8")
    entries = re.findall(r"^### (\w+)\n\n\*\*Cause:\*\* \S[^\n]*\n\n\*\*Remedy:\*\* \S", text, re.MULTILINE)

    assert sorted(public) == sorted(entries)
    assert len(entries) == text.count("\n### ")


@pytest.mark.parametrize("wrong", ["raise SystemExit(3)", "asyncio.run(None)", "import warnings; warnings.warn('w')"])
def test_a_block_that_does_not_run_is_seen(wrong: str, run: Callable[[Path], int], tmp_path: Path) -> None:
    (block,) = markdown.read(f"```python\n{wrong}\n```\n").blocks

    with pytest.raises(AssertionError, match=re.escape(wrong)):
        test_a_python_block_runs_by_itself(block, run, tmp_path)
