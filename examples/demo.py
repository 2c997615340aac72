"""The main job in a minute: a saga on SQLite, its process killed half way, finished by the next one.

`python -m examples.demo` plays it; `python -m examples.demo work FILE` is the worker it starts, kills and starts
again. Nothing is simulated: the processes are real, the kill is SIGKILL, the database is a file.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from examples.trip import Trip, book_trip, say
from romancy import Romancy, WorkflowFailedError

INSTANCE = "trip-42"


async def work(database: Path) -> None:
    """Open the app (which takes up what the last process left behind), start the trip if it is new, wait for it."""
    async with Romancy(f"sqlite:///{database}") as app:
        handle = await app.start(book_trip.options(instance_id=INSTANCE), Trip("Ada", "Lisbon"))
        try:
            say(f"   result {await handle.result(timeout=30)}")
        except WorkflowFailedError as error:
            say(f"   end    {error}")


async def tell_log(database: Path) -> None:
    """Print the log that both processes wrote."""
    async with Romancy(f"sqlite:///{database}", worker=False) as app:
        for number, event in enumerate(await app.handle(INSTANCE).history(), 1):
            detail = getattr(event, "id", "") or getattr(event, "workflow", "")
            say(f"   {number:>2}  {type(event).__name__:<22} {detail}")


def start_worker(database: Path) -> subprocess.Popen[str]:
    """Start the worker process with its output on a pipe."""
    command = [sys.executable, "-m", "examples.demo", "work", str(database)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def read_until(worker: subprocess.Popen[str], word: str) -> None:
    """Pass on what the worker says, up to the line that holds `word` or to its end."""
    assert worker.stdout is not None
    for line in worker.stdout:
        print(line, end="", flush=True)
        if word in line:
            return


def main() -> None:
    """Play the demo."""
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "demo.db"
        say("A trip is three bookings: a flight, a hotel, a car. If one fails for good, the others must be undone.\n")
        say("1. A worker process starts the workflow:")
        first = start_worker(database)
        read_until(first, "car")
        first.send_signal(signal.SIGKILL)
        first.wait()
        say(f"   kill -9 {first.pid}: the process is gone, in the middle of booking the car\n")
        say("2. Another worker process opens the same file. Flight and hotel are in the log, so they are not booked")
        say("   again; the car is. There are no cars left, so what was booked is undone, last first:")
        second = start_worker(database)
        read_until(second, "\0")
        if second.wait() != 0:
            sys.exit("the second worker failed")
        say("\n3. What happened, from the log in the database (this is what makes it durable):")
        asyncio.run(tell_log(database))


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        asyncio.run(work(Path(sys.argv[2])))
    else:
        main()
