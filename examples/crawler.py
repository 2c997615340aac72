"""A crawler that is polite: at most so many pages of a host in a second, whatever runs beside it.

    python -m examples.crawler http://localhost:8000/                  # twenty pages, two in a second from each host
    python -m examples.crawler http://localhost:8000/ --pages 100

Kill it in the middle and start it again: pages that were read are not read again, and the rate holds over both. Start a
second one with another address of the same host, on the same database: both share the rate.
"""

from __future__ import annotations

import argparse
import asyncio
from html.parser import HTMLParser
from urllib.parse import urldefrag, urljoin, urlsplit
from urllib.request import urlopen

from romancy import Limit, Romancy, WorkflowContext, activity, workflow


class Links(HTMLParser):
    """The addresses that a page refers to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self._page = page
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        target = dict(attrs).get("href") if tag == "a" else None
        if target:
            self.found.append(urldefrag(urljoin(self._page, target)).url)


def host_of(page: str) -> str:
    return urlsplit(page).netloc


@activity(limits=[Limit("host", key=host_of, concurrency=2, rate=(2, 1.0))], timeout=30)
def read(page: str) -> list[str]:
    """The links of a page. A plain function: it runs on a thread, and only so many at once for each host."""
    print(f"read {page}", flush=True)
    with urlopen(page, timeout=20) as answer:  # noqa: S310 - the address is yours
        links = Links(page)
        links.feed(answer.read().decode(errors="replace"))
    return [link for link in dict.fromkeys(links.found) if host_of(link) == host_of(page)]


@workflow
async def crawl(ctx: WorkflowContext, first: str, most: int) -> list[str]:
    seen, todo = [first], [first]
    while todo:
        found = [link for links in await asyncio.gather(*map(read, todo)) for link in links]
        todo = [link for link in dict.fromkeys(found) if link not in seen][: most - len(seen)]
        seen += todo
    return seen


async def main(first: str, pages: int, database: str) -> None:
    async with Romancy(database, workflows=[crawl]) as app:
        handle = await app.start(crawl.options(instance_id=f"crawl-{host_of(first)}"), first, pages)
        for page in await handle.result():
            print(page)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", metavar="ADDRESS")
    parser.add_argument("--pages", type=int, default=20)
    parser.add_argument("--database", default="sqlite:///crawler.db")
    options = parser.parse_args()
    asyncio.run(main(options.first, options.pages, options.database))
