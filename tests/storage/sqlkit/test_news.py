"""Notifications for waiting callers: none is lost between two calls, whichever caller waits or gives up."""

from __future__ import annotations

import asyncio

import pytest

from romancy.storage.sqlkit.news import News

pytestmark = pytest.mark.anyio


async def waiting(news: News, count: int = 1) -> list[asyncio.Task[frozenset[str] | None]]:
    tasks = [asyncio.create_task(news.wait(60)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_what_came_before_anybody_waited_is_kept() -> None:
    news = News()
    news.hear({"a"})
    news.hear(["b"])

    assert await news.wait(0) == frozenset({"a", "b"})
    assert await news.wait(0) == frozenset()


async def test_all_who_wait_get_the_same() -> None:
    news = News()
    tasks = await waiting(news, 3)
    assert news.is_awaited

    news.hear({"a"})

    assert [frozenset({"a"})] * 3 == await asyncio.gather(*tasks)
    assert not news.is_awaited


async def test_no_ids_wake_nobody() -> None:
    news = News()
    (task,) = await waiting(news)

    news.hear([])
    await asyncio.sleep(0)

    assert not task.done()
    news.end()
    assert await task == frozenset()


async def test_too_many_ids_become_anything() -> None:
    news = News(most=2)
    news.hear({"a", "b"})
    news.hear({"c"})
    news.hear({"d"})

    assert await news.wait(0) is None
    assert await news.wait(0) == frozenset()


async def test_who_is_cancelled_with_the_news_in_hand_leaves_it_to_the_next() -> None:
    news = News()
    (first,) = await waiting(news)
    news.hear({"a"})
    first.cancel()

    with pytest.raises(asyncio.CancelledError):
        await first

    assert await news.wait(0) == frozenset({"a"})


async def test_who_waits_at_the_end_is_told_of_it() -> None:
    news = News()
    tasks = await waiting(news, 2)

    news.end(RuntimeError("the store is closed"))

    for task in tasks:
        with pytest.raises(RuntimeError, match="closed"):
            await task
