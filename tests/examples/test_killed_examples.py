"""The examples are killed in the middle, at a point that they print, and started again: nothing is done twice."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from examples import approval, nightly_close, subscription
from romancy.testing import TestApp
from tools.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", *map(str, words)]


def killed(*words: object, at: str, **environment: str) -> list[str]:
    """Run an example up to the first line that holds `at`, kill it there, and return the lines it has printed."""
    told: list[str] = []
    with subprocess.Popen(
        command(*words), cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8", env={**os.environ, **environment}
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            told.append(line.rstrip())
            if at in line:
                process.kill()
                break
    assert told, "it has said nothing"
    assert at in told[-1], told
    return told


def finished(*words: object) -> list[str]:
    """Run an example to its end, and return the lines it has printed."""
    ended = subprocess.run(command(*words), cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8", timeout=200, check=True)
    return ended.stdout.splitlines()


def refused(*words: object) -> str:
    """Run an example that fails; return the line that it prints after the lines of the log."""
    ended = subprocess.run(
        command(*words), cwd=ROOT, stderr=subprocess.PIPE, encoding="utf-8", timeout=200, check=False
    )
    assert ended.returncode == 1
    return ended.stderr.splitlines()[-1]


@contextmanager
def started(*words: object) -> Generator[subprocess.Popen[str]]:
    """Start an example beside the test, which ends by itself."""
    with subprocess.Popen(command(*words), cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8") as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def test_an_approval_that_nobody_works_at_keeps_its_decision(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/expenses.db"
    ask = ("examples.approval", "--database", url, "ask", "lunch-7", 120)

    killed(*ask, at="waits for a decision")
    asyncio.run(approval.decide(url, "lunch-7", approval.Decision(yes=True, by="Ann")))

    told = [line for line in finished(*ask) if line != "lunch-7 waits for a decision"]
    assert told == ["120 paid out for lunch-7", "to the employee: Ann said yes to lunch-7", "paid"]


def test_what_cannot_be_done_is_said_in_a_line(tmp_path: Path) -> None:
    database = ("--database", f"sqlite:///{tmp_path}/examples.db")

    assert (
        refused("examples.approval", *database, "decide", "lunch-9", "yes", "Ann") == "there is no instance 'lunch-9'"
    )
    assert "subscription-eve" in refused("examples.subscription", *database, "change", "eve", "large")
    assert f"there is no folder {tmp_path}/nowhere" in refused("examples.checksums", tmp_path / "nowhere", *database)


def test_an_approval_that_nobody_answers_lapses(capsys: pytest.CaptureFixture[str]) -> None:
    async def run() -> str:
        async with TestApp([approval.approval]) as app:
            return await app.run(approval.approval.options(instance_id="lunch-8"), 120, 3 * 86_400.0)

    assert asyncio.run(run()) == "lapsed"
    assert capsys.readouterr().out.splitlines() == [
        "to the manager: lunch-8 costs 120, please decide",
        "to the manager: lunch-8 costs 120, please decide today",
        "to the employee: nobody decided on lunch-8",
    ]


@pytest.mark.long
def test_a_thousand_checksums_go_on_where_they_were(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(1000):
        (folder / f"{number:04}").write_text(str(number), "utf-8")
    to = tmp_path / "checksums.txt"
    work = ("examples.checksums", folder, "--to", to, "--database", f"sqlite:///{tmp_path}/checksums.db")

    done = int(killed(*work, at="/1000", GENTLE="0.2")[-1].split()[-1].partition("/")[0])
    bars = [line for line in finished(*work) if line.endswith("/1000")]

    assert 0 < done < 1000
    assert all(int(bar.split()[-1].partition("/")[0]) >= done for bar in bars)
    assert to.read_text("utf-8").splitlines() == [
        f"{hashlib.sha256(str(number).encode()).hexdigest()}  {folder / f'{number:04}'}" for number in range(1000)
    ]


@pytest.mark.long
def test_a_subscription_gets_its_receipts_from_the_next_month_on(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/subscriptions.db"
    run = ("examples.subscription", "--database", url, "run", "ada")

    before = killed(*run, "--code", "old", at="has paid")
    with started(*run) as process:
        assert process.stdout is not None
        told = [process.stdout.readline().rstrip()]
        asyncio.run(subscription.request(url, "ada", "large"))
        asyncio.run(subscription.request(url, "ada", "end"))
        told += process.stdout.read().splitlines()

    assert before == ["charge ada for month 1, small", "ada has paid"]
    assert told == [
        "ada has paid",
        "charge ada for month 2, large",
        "send ada the receipt ada-2",
        "ada was with us for 2 months",
    ]


def test_a_month_that_is_over_is_followed_by_the_next_one(capsys: pytest.CaptureFixture[str]) -> None:
    async def run() -> int:
        async with TestApp([subscription.subscription]) as app:
            handle = await app.start(subscription.subscription, "bob", "small", 1, subscription.MONTH)
            await app.advance(1.5 * subscription.MONTH)
            await handle.signal(subscription.change, "end")
            return await handle.result()

    assert asyncio.run(run()) == 2
    assert capsys.readouterr().out.splitlines() == [
        "charge bob for month 1, small",
        "send bob the receipt bob-1",
        "charge bob for month 2, small",
        "send bob the receipt bob-2",
    ]


@pytest.mark.long
def test_a_kitchen_answers_each_guest_once_however_often_it_is_killed(tmp_path: Path) -> None:
    work = ("examples.kitchen", "--guests", 8, "--database", f"sqlite:///{tmp_path}/kitchen.db")

    cooked: list[str] = []
    for at in ("cook", "goes to", "cook", "goes to"):
        cooked += [line for line in killed(*work, at=at) if line.startswith("cook")]
    ended = finished(*work)
    cooked += [line for line in ended if line.startswith("cook")]

    assert ended[-11:] == [
        *(f"guest{number} pays {(5, 10)[number % 2]}.00" for number in range(8)),
        "hungry: ValueError: an order has a dish",
        "late: romancy.errors.TerminalError: the soup is sold out",
        "8 served, the till has 60.00",
    ]
    again = len(cooked) - len(set(cooked))
    assert again <= 4 * 3, "only what was being cooked when it was killed is cooked again"
    assert all(line.endswith(", in the kitchen") for line in cooked)
    assert finished(*work)[-11:] == ended[-11:]


@pytest.mark.long
def test_missed_nights_are_made_up_for_and_none_is_collected_twice(tmp_path: Path) -> None:
    shop = tmp_path / "shop.db"
    url = f"sqlite:///{tmp_path}/nightly.db"
    work = ("examples.nightly_report", shop, "2026-03-01", "--nights", 2, "--database", url)
    with closing(sqlite3.connect(shop, isolation_level=None)) as mine:
        mine.execute("create table sales (day text, item text, amount integer)")
        mine.execute("create table reports (day text primary key, total integer, best text)")
        mine.executemany(
            "insert into sales values (?, ?, ?)",
            [("2026-03-01", "lamp", 5), ("2026-03-01", "book", 7), ("2026-03-01", "lamp", 4), ("2026-03-02", "pen", 1)],
        )
        mine.execute("begin immediate")
        before = killed(*work, at="archive 2026-03-01")
        mine.execute("rollback")
        after = finished(*work)
        reports = mine.execute("select * from reports order by day").fetchall()

    assert before == ["collect 2026-03-01", "archive 2026-03-01"]
    assert after == [
        "archive 2026-03-01",
        "collect 2026-03-02",
        "archive 2026-03-02",
        "2026-03-02: 1, most of it with pen",
    ]
    assert reports == [("2026-03-01", 16, "lamp"), ("2026-03-02", 1, "pen")]


@pytest.mark.long
def test_nights_that_came_while_nothing_ran_are_closed_late_and_each_once(tmp_path: Path) -> None:
    books, second = tmp_path / "books.db", timedelta(seconds=1)
    work = ("examples.nightly_close", books, "--every", 1, "--database", f"sqlite:///{tmp_path}/close.db")
    nightly_close.create(str(books))
    with closing(sqlite3.connect(books, isolation_level=None)) as mine:
        mine.execute("insert into entries values ('2026-01-01T00:00:00+00:00', 5)")
        mine.execute("begin immediate")
        before = killed(*work, at="close")
        first = datetime.fromisoformat(before[-1].removeprefix("close ")).replace(tzinfo=UTC)
        mine.execute("insert into entries values (?, 7)", [(first + 1.5 * second).isoformat()])
        mine.execute("commit")
        time.sleep(max(0.0, (first + 4 * second - datetime.now(UTC)).total_seconds()))  # nights that nobody closes
        after = finished(*work, "--closes", 4)
        closings = mine.execute("select * from closings order by night").fetchall()

    assert before[0] == f"sum up to {first:%Y-%m-%d %H:%M:%S}"
    assert before[0] not in after
    assert after.count(before[-1]) == 1
    assert len(closings) >= 4
    assert [(first + number * second).isoformat() for number in range(len(closings))] == [row[0] for row in closings]
    assert [5, 5, 12, 12] == [row[1] for row in closings[:4]]
    assert all(row[2] > 4 - number for number, row in enumerate(closings[:4]))


@pytest.mark.long
def test_a_crawler_goes_on_where_it_was_and_reads_no_page_twice(tmp_path: Path) -> None:
    with site(8) as (address, asked):
        work = ("examples.crawler", address, "--pages", 8, "--database", f"sqlite:///{tmp_path}/crawler.db")
        before = killed(*work, at="page4")
        after = finished(*work)

    again = [line for line in after if line.startswith("read ") and line in before]
    assert len(again) <= 2, "what was not being read is read again"
    assert sorted({line.removeprefix("read ") for line in (*before, *after) if line.startswith("read ")}) == sorted(
        line for line in after if not line.startswith("read ")
    )
    assert len(asked) <= 8 + len(again)


@contextmanager
def site(pages: int) -> Generator[tuple[str, list[str]]]:
    """Serve a page with links to so many; the list tells which ones were asked for."""
    asked: list[str] = []

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = "".join(f'<a href="/page{number}">.</a>' for number in range(1, pages)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002 - its name

    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.long
def test_a_trip_is_booked_once_or_taken_back(tmp_path: Path) -> None:
    work = ("examples.travel_agent", f"sqlite:///{tmp_path}/trip.db")
    before = killed(*work, at="asked: turn 1", THINK="1")
    after = finished(*work)
    assert 'asked: May book_flight be called with {"city":"Rome"}?' in before
    assert [line for line in (*before, *after) if line.startswith("booked")] == [
        "booked: a flight to Rome",
        "booked: a hotel in Rome",
    ]
    assert not [line for line in after if line.startswith("asked") or line.endswith("turn 0")]
    assert after[-1] == "Your trip to Rome is booked."

    full = (*work[:1], f"sqlite:///{tmp_path}/full.db", "--full")
    killed(*full, at="asked: turn 1", THINK="1")
    after = finished(*full)
    assert after.count("cancelled: the flight to Rome") == 1
    assert "no room in Rome" in after[-1]


@pytest.mark.long
def test_a_graph_asks_its_model_nothing_twice(tmp_path: Path) -> None:
    work = ("examples.graph_agent", f"sqlite:///{tmp_path}/article.db")

    before = killed(*work, at="asked: write", THINK="1")
    after = finished(*work)

    asked = ["causes of durable execution", "costs of durable execution"]
    assert before[:2] == [f"the model is asked: {prompt}" for prompt in asked]
    assert not any(line.endswith(tuple(asked)) for line in after)
    text = f"[write: [{asked[0]}], [{asked[1]}]]"
    assert after[-1] == f"published {text}"


@pytest.mark.long
def test_an_agent_pays_for_no_answer_twice(tmp_path: Path) -> None:
    work = ("examples.research_agent", f"sqlite:///{tmp_path}/research.db")

    before = killed(*work, at="asked: Analyze", THINK="1")
    after = finished(*work)

    asked = ["Research: durable execution", "Analyze: [Research: durable execution]"]
    assert before == [f"the model is asked: {prompt}" for prompt in asked]
    assert not any(line.endswith(asked[0]) for line in after)
    assert "[Synthesize: [Analyze: [Research: durable execution]]]" in after[-1]


@pytest.mark.long
def test_an_agent_of_openai_agents_asks_and_books_once(tmp_path: Path) -> None:
    work = ("examples.openai_agent", f"sqlite:///{tmp_path}/trip.db")

    before = killed(*work, at="with 2 results", THINK="1")
    after = finished(*work)

    assert before == [
        "the model is asked, with 0 results",
        "look at the weather in Rome",
        "the model is asked, with 1 results",
        "book a flight to Rome",
        "the model is asked, with 2 results",
    ]
    assert after == ["the model is asked, with 2 results", "sun in Rome, a flight to Rome"]
