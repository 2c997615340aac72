"""The checks of the tree detect what they must. `make check` asks them whether it passes."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tools import check_commits, check_hosts, check_links, check_sizes, tree

if TYPE_CHECKING:
    from pathlib import Path


def function_of(lines: int) -> str:
    return "def long():\n" + "    x = 1\n" * (lines - 1)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.py", "x = 1\n" * 500, []),
        ("a.py", "x = 1\n" * 501, ["a.py: 501 lines, over 500: split it if it is about two subjects"]),
        ("a.md", "word\n" * 500 + "word", ["a.md: 501 lines, over 500: split it if it is about two subjects"]),
        ("docs/reference/a.md", "word\n" * 501, []),
    ],
)
def test_a_long_file_is_named(name: str, text: str, expected: list[str]) -> None:
    assert expected == list(check_sizes.long_file(name, text))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.py", function_of(60), []),
        ("a.py", "\n" + function_of(61), ["a.py:2: long has 61 lines, 60 at most"]),
        ("a.py", "async " + function_of(61), ["a.py:1: long has 61 lines, 60 at most"]),
        ("a.md", function_of(61), []),
    ],
)
def test_a_long_function_is_refused(name: str, text: str, expected: list[str]) -> None:
    assert expected == list(check_sizes.long_functions(name, text))


@pytest.mark.parametrize(("text", "code"), [("x = 1\n" * 501, 0), (function_of(61), 1)], ids=["a file", "a function"])
def test_only_a_long_function_fails_the_check(
    text: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    (tmp_path / "a.py").write_text(text, "utf-8")
    monkeypatch.setattr(tree, "ROOT", tmp_path)

    assert code == check_sizes.main()
    assert ("warning: a.py: 501 lines" in capsys.readouterr().out) is (code == 0)


# Split into pieces, because this file is checked too.
@pytest.mark.parametrize(
    "offence",
    [
        "pypi" + ".org",
        "test.pypi" + ".org",
        "files.python" + "hosted.org",
        "registry.npm" + "js.org",
        "deb." + "debian.org",
        "snapshot." + "debian.org",
        "archive." + "ubuntu.com",
        "apt.postgres" + "ql.org",
        "repo." + "mysql.com",
        "mirror" + ".example.com",
        "pip.mirrors-eu" + ".example.org",
        "europe-python.pkg" + ".dev",
        "registry-1.docker" + ".io",
        "/ro" + "ot/x",
        "/ho" + "me/ada",
        "/Us" + "ers/ada",
        "/wo" + "rk/main",
        "10." + "0.12.7",
        "192." + "168.0.1",
    ],
)
@pytest.mark.parametrize("around", ["{}", "see https://{}/a", 'x = "{}"', "({})", "a={}"])
def test_hosts_and_paths_are_seen(offence: str, around: str) -> None:
    if offence.startswith("/") and "//" in around:
        around = "file://{}"

    assert list(check_hosts.offences_in("page.md", f"first line\n{around.format(offence)}\n"))


@pytest.mark.parametrize(
    "harmless",
    [
        "https://keepachangelog.com/en/1.1.0/",
        "127.0.0.1:5432",
        "version 10.11.6 of MariaDB",
        "/usr/bin/env bash",
        "~/work/romancy",
        "docs/work/page.md",
        "$HOME/.cache",
        "/var/lib/dpkg",
        "the Debian package index",
        "/dev/null",
    ],
)
def test_hosts_and_paths_leave_the_rest_alone(harmless: str) -> None:
    assert [] == list(check_hosts.offences_in("page.md", harmless))


PAGE = """# The *first* page

## A `code` heading: part 1

## Twice

## Twice

[to a page](other.md) and [to a heading](other.md#the-end)
[here](#a-code-heading-part-1) and [again](#twice-1)
`[not a link](nowhere.md)` [folder](sub) [outside](https://example.com/a) [write](mailto:a@example.com)

```text
[not a link either](nowhere.md)
```

[ref]: other.md
"""


@pytest.mark.parametrize(
    ("addition", "expected"),
    [
        ("", []),
        ("[x](gone.md)", ["'gone.md' does not exist"]),
        ("![x](gone.png)", ["'gone.png' does not exist"]),
        ("[x](other.md#nope)", ["'other.md#nope' names no heading of other.md"]),
        ("[x](#twice-2)", ["'#twice-2' names no heading of page.md"]),
        ("[x](/other.md)", ["'/other.md' is absolute: write it relative to the page"]),
        ("[x](../outside.md)", ["'../outside.md' leaves the tree"]),
        ("[x](http://example.com)", ["'http://example.com' is not https"]),
        ("[r]: gone.md", ["'gone.md' does not exist"]),
        ("[a](gone.md) and [b](away.md)", ["'gone.md' does not exist", "'away.md' does not exist"]),
    ],
)
def test_links(tmp_path: Path, addition: str, expected: list[str]) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "other.md").write_text("# Other\n\n## The end\n")
    page = tmp_path / "page.md"
    page.write_text(PAGE + addition + "\n")

    found = list(check_links.broken_links(page, tmp_path))

    line = (PAGE + addition).count("\n") + 1
    assert [f"page.md:{line}: {problem}" for problem in expected] == found


def test_a_fence_that_is_never_closed_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("words\n\n```python\nx = 1\n")

    assert ["page.md: the code fence opened in line 3 is never closed"] == list(
        check_links.broken_links(page, tmp_path)
    )


@pytest.mark.parametrize(
    ("subject", "wrong"),
    [
        ("engine: wire a worker in constructors", None),
        ("core, adapters: shorten the road of a plain step", None),
        ("docs: `make bench` and its pages", None),
        (f"engine: {'x' * 64}", None),
        (f"engine: {'x' * 65}", "73 characters, 72 at most"),
        ("Wire a worker in constructors", "not of the form `area: imperative`"),
        ("engine: wire a worker.", "not of the form `area: imperative`"),
    ],
)
def test_subjects_of_commits(subject: str, wrong: str | None) -> None:
    assert check_commits.offence_in(subject) == wrong
