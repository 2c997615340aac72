"""Many fetches at once, with plain `gather`. Ids are optional; one is given to show how.

python -m examples.concurrent_fetch [database]
"""

from __future__ import annotations

import asyncio
import sys

from romancy import Romancy, WorkflowContext, activity, workflow


@activity
async def fetch_data(url: str) -> int:
    return len(url)


@workflow
async def concurrent_workflow(ctx: WorkflowContext, urls: list[str]) -> dict[str, int]:
    sizes = await asyncio.gather(*(fetch_data(url) for url in urls))
    total = await fetch_data.options(id="fetch_data:total")("".join(urls))
    return dict(zip(urls, sizes, strict=True)) | {"total": total}


async def main(url: str) -> dict[str, int]:
    async with Romancy(url, workflows=[concurrent_workflow]) as app:
        return await app.run(concurrent_workflow, ["a.example", "bb.example", "ccc.example"])


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "sqlite:///fetches.db")))
