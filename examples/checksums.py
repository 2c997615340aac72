"""The checksums of all files of a folder, a few at a time, with a progress bar. Kill it, start it again: it continues.

    python -m examples.checksums FOLDER --to checksums.txt

A batch of fifty files is a workflow of its own, so that no log is long. Four batches run at once, and eight files of
each. With GENTLE=0.01 in the environment, the program pauses for 0.01 seconds before each file.
The folder and the day are the id: a second run on the same day finds the first one, and reads no file again.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from romancy import Depends, Handle, Romancy, TerminalError, WorkflowContext, WorkflowFailedError, activity, workflow

BATCH = 50


def gentle() -> float:
    return float(os.environ.get("GENTLE", "0"))


@activity
def files_of(folder: str) -> list[str]:
    if not Path(folder).is_dir():
        raise TerminalError(f"there is no folder {folder}")
    return sorted(str(path) for path in Path(folder).rglob("*") if path.is_file())


@activity
def checksum(path: str, *, rest: float = Depends(gentle)) -> str:
    """A plain function runs in a thread, so reading a large file delays nothing else."""
    time.sleep(rest)
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@activity
def write(to: str, sums: list[tuple[str, str]]) -> None:
    """Write the whole file, then rename it into place: a second attempt does no harm."""
    draft = Path(f"{to}.draft")
    draft.write_text("".join(f"{digest}  {path}\n" for path, digest in sums), "utf-8")
    draft.replace(to)


@workflow
async def checksums_of_batch(ctx: WorkflowContext, paths: list[str]) -> list[tuple[str, str]]:
    turns = asyncio.Semaphore(8)

    async def one(path: str) -> tuple[str, str]:
        async with turns:
            return path, await checksum(path)

    return await asyncio.gather(*(one(path) for path in paths))


@workflow
async def checksums(ctx: WorkflowContext, folder: str, to: str) -> int:
    paths = await files_of(folder)
    turns = asyncio.Semaphore(4)
    done = 0

    async def batch(first: int) -> list[tuple[str, str]]:
        nonlocal done
        async with turns:
            sums = await checksums_of_batch(paths[first : first + BATCH])
        done += len(sums)
        await ctx.report([done, len(paths)])
        return sums

    batches = await asyncio.gather(*(batch(first) for first in range(0, len(paths), BATCH)))
    await write(to, [each for sums in batches for each in sums])
    return len(paths)


def draw(done: int, total: int) -> None:
    bar = "#" * (40 * done // total)
    print(f"[{bar:<40}] {done}/{total}", end="\r" if sys.stdout.isatty() else "\n", flush=True)


async def watch(handle: Handle[int]) -> int:
    """Show what the workflow reports until it has ended. The report is in the database: any process may watch."""
    result = asyncio.create_task(handle.result())
    shown: list[int] | None = None
    while not result.done():
        await asyncio.wait([result], timeout=0.1)
        reported: list[int] | None = await handle.report()
        if reported and reported != shown:
            draw(*reported)
            shown = reported
    return result.result()


async def work(url: str, folder: str, to: str) -> int:
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    async with Romancy(url, workflows=[checksums, checksums_of_batch]) as app:
        return await watch(await app.start(checksums.options(instance_id=f"{folder} {today}"), folder, to))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--to", default="checksums.txt")
    parser.add_argument("--database", default="sqlite:///checksums.db")
    said = parser.parse_args()
    folder, to = (str(Path(path).resolve()) for path in (said.folder, said.to))
    try:
        print(f"\n{asyncio.run(work(said.database, folder, to))} files: see {to}")
    except WorkflowFailedError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
