"""Draw the pictures of the dashboard in `docs/pictures`: a saga with retries, a wait, a child and compensations.

Run as `python -m tools.draw_dashboard`. It needs Chromium on the path.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import tempfile
from typing import Final

import uvicorn
from playwright.async_api import async_playwright

from romancy import (
    RetryPolicy,
    Romancy,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    compensation,
    workflow,
)
from romancy.dashboard import asgi
from tools.tree import ROOT

FOLDER: Final = ROOT / "docs" / "pictures"
ARGUMENTS: Final = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
WIDTH: Final = 1100


@compensation
async def release(item: str) -> None:
    await asyncio.sleep(0.01 * len(item))


@activity(compensation=release)
async def reserve(item: str) -> None:
    await asyncio.sleep(0.08 + 0.02 * len(item))


@compensation
async def refund(card: str) -> None:
    await asyncio.sleep(0.02 * len(card))


@activity(compensation=refund, retry=RetryPolicy(initial_interval=0.1, max_attempts=5))
async def charge(card: str) -> str:
    await asyncio.sleep(0.09)
    if activity_context().attempt < 3:
        raise ConnectionError("the bank hung up")
    return f"receipt for {card}"


@activity(retry=RetryPolicy(max_attempts=1))
async def ship(item: str) -> None:
    await asyncio.sleep(0.2)
    raise ValueError(f"no address for {item}")


@workflow
async def invoice(ctx: WorkflowContext, receipt: str) -> str:
    await ctx.sleep(0.1)
    return f"invoice of {receipt}"


@workflow
async def order(ctx: WorkflowContext, item: str, card: str) -> None:
    await asyncio.gather(reserve(item), reserve("gift box"))
    receipt = await charge(card)
    await invoice(receipt)
    await ctx.sleep(6)
    await ship(item)


async def draw(url: str) -> None:
    """Save a picture of the timeline, light and dark."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(ARGUMENTS))
        for scheme in ("light", "dark"):
            page = await browser.new_page(
                color_scheme="dark" if scheme == "dark" else "light",
                viewport={"width": WIDTH, "height": 900},
                device_scale_factor=1.5,
            )
            await page.goto(f"{url}/instances/order-42")
            section = page.locator("section", has=page.locator("svg")).first
            await section.screenshot(path=FOLDER / f"timeline-{scheme}.png")
        await browser.close()


async def main() -> None:
    """Run the saga on a database of its own, and draw it."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as place:
        async with Romancy(f"sqlite:///{folder}/shop.db", workflows=[order, invoice]) as app:
            handle = await app.start(order.options(instance_id="order-42"), "lamp", "card 1")
            with contextlib.suppress(WorkflowFailedError):
                await handle.result()
            server = uvicorn.Server(
                uvicorn.Config(asgi(app, auth="local"), log_level="warning", timeout_graceful_shutdown=1)
            )
            serving = asyncio.create_task(server.serve(sockets=[place]))
            try:
                await draw(f"http://127.0.0.1:{place.getsockname()[1]}")
            finally:
                server.should_exit = True
                await serving


if __name__ == "__main__":
    asyncio.run(main())
