"""The files for a code host and for the host of the pages: they name what exists, and pin what they run."""

from __future__ import annotations

import re
import shlex
import tomllib
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tools import tree
from tools.second_look import TIERS

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = {tree.name_of(path): path.read_text("utf-8") for path in tree.files(".yml", ".yaml")}
WORKFLOWS = {name: text for name, text in FILES.items() if name.startswith(".github/workflows/")}
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (tree.ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
MODULES_ELSEWHERE = {"pip", "sphinx"}
"""In the environment of the docs, or in every environment."""
PROGRAMS = {"apt-get", "git", "test"}


def read(name: str) -> dict[Any, Any]:
    content: dict[Any, Any] = yaml.safe_load(FILES[name])
    return content


def jobs(name: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = read(name)["jobs"]
    return found


def commands() -> Iterator[tuple[str, str]]:
    """Yield each command of each file, with the file's name."""
    for name in WORKFLOWS:
        for job in jobs(name).values():
            lines = [line for step in job.get("steps", []) for line in step.get("run", "").splitlines()]
            yield from ((name, part) for line in lines for part in line.split(" && "))
    pages = read(".readthedocs.yaml")["build"]["jobs"]
    yield from ((".readthedocs.yaml", line) for line in (*pages["install"], *pages["build"]["html"]))


def wrong_in(command: str) -> Iterator[str]:
    """Yield what a command names that is not in the tree."""
    program, *words = shlex.split(command, comments=True)
    if program == "make":
        yield from (f"no target {word}" for word in words if word not in TARGETS)
    elif program == "python":
        flag, module, *words = words
        assert flag == "-m"
        if module not in MODULES_ELSEWHERE and find_spec(module) is None:
            yield f"no module {module}"
    elif program not in PROGRAMS:
        yield f"the program {program}"
    for word, following in pairwise(words):
        if word in {"-r", "-c"} and not (tree.ROOT / following).exists():
            yield f"no file {following}"
        if word == "--tier" and following not in TIERS:
            yield f"no tier {following}"


def unpinned(text: str) -> list[str]:
    """Return each action that a tag or a branch names, or that is not followed by its version."""
    used = re.findall(r"^\s*(?:- )?uses: (.+)$", text, re.MULTILINE)
    return [one for one in used if not re.fullmatch(r"\./\S+|[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one)]


def test_each_file_is_there_and_is_yaml() -> None:
    expected = {
        ".github/dependabot.yml",
        ".github/ISSUE_TEMPLATE/bug.yml",
        ".github/ISSUE_TEMPLATE/config.yml",
        ".github/ISSUE_TEMPLATE/wish.yml",
        ".github/workflows/release.yml",
        ".github/workflows/test.yml",
        ".readthedocs.yaml",
    }

    assert expected <= set(FILES)
    assert all(isinstance(read(name), dict) for name in expected)
    assert (tree.ROOT / ".github/pull_request_template.md").is_file()


@pytest.mark.parametrize(("name", "command"), sorted(set(commands())))
def test_a_command_names_what_exists(name: str, command: str) -> None:
    assert [] == list(wrong_in(command)), name


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("make tests", "no target tests"),
        ("make test check-all", "no target check-all"),
        ("python -m tools.nothing", "no module tools.nothing"),
        ("python -m pip install -r requirements/gone.txt", "no file requirements/gone.txt"),
        ("python -m pytest --tier shortest", "no tier shortest"),
        ("curl -sSf x", "the program curl"),
    ],
)
def test_a_command_that_names_nothing_is_seen(command: str, problem: str) -> None:
    assert [problem] == list(wrong_in(command))


@pytest.mark.parametrize("name", WORKFLOWS)
def test_actions_are_pinned_to_commits(name: str) -> None:
    assert [] == unpinned(FILES[name])
    local = re.findall(r"uses: \./(\S+)", FILES[name])
    assert all((tree.ROOT / path).is_file() for path in local)


@pytest.mark.parametrize("loose", ["a/b@v4", "a/b@main", f"a/b@{'0' * 40}", f"a/b@{'0' * 39} # v1.0.0"])
def test_an_action_that_is_not_pinned_is_seen(loose: str) -> None:
    assert [loose] == unpinned(f"    steps:\n      - uses: {loose}\n")


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_job_may_read_and_ends_by_itself(name: str) -> None:
    """Only the job that publishes has a token, and it runs nothing of the tree."""
    assert read(name)["permissions"] == {"contents": "read"}
    for job, content in jobs(name).items():
        assert "uses" in content or content["timeout-minutes"], job
        rights = content.get("permissions")
        assert rights == ({"id-token": "write"} if job == "publish" else None), job
        if job == "publish":
            assert not any("run" in step for step in content["steps"])


def test_the_matrix_has_each_system_and_each_python_that_the_metadata_name() -> None:
    settings = tomllib.loads((tree.ROOT / "pyproject.toml").read_text("utf-8"))
    minor = re.compile(r"Programming Language :: Python :: (3\.\d+)")
    named = [found[1] for each in settings["project"]["classifiers"] if (found := minor.fullmatch(each))]
    matrix = jobs(".github/workflows/test.yml")["sqlite"]["strategy"]["matrix"]

    assert named == matrix["python"]
    assert {"ubuntu-latest", "windows-latest", "macos-latest"} == set(matrix["system"])


def test_a_release_waits_for_the_tests() -> None:
    publish = jobs(".github/workflows/release.yml")["publish"]

    assert set(publish["needs"]) == {"build", "tests"}
    assert publish["environment"] == "release"
