"""Workflows of users on a simulated cluster: correct ones pass, mistakes are found, and what cannot be is refused."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Romancy, UsageError
from romancy.testing import Faults, simulate
from romancy.testing.simulating import nurseries
from romancy.testing.simulating.nurseries import Nursery
from tests.testing import simulated

if TYPE_CHECKING:
    from collections.abc import Callable


def told(*args: Any, **options: Any) -> str:
    """The text of the finding."""
    with pytest.raises(AssertionError) as raised:
        simulate(*args, **options)
    return str(raised.value)


def test_a_correct_saga_passes_while_workers_die() -> None:
    played = simulate([simulated.order], simulated.shop, seeds=20, check=simulated.one_order_is_paid)

    assert (played.seeds, played.instances) == (20, 40)
    assert played.deaths > 10
    assert played.faults > 40
    assert played.effects >= 80  # each charges two orders, undoes one and sends one


def test_an_effect_that_happens_twice_is_found_with_a_smaller_case_that_repeats() -> None:
    given = ([simulated.careless], simulated.starts_careless)
    text = told(*given, seeds=10, check=simulated.charged_once)

    assert "check: AssertionError: charge was done 2 times under one idempotency key" in text
    assert "charge o1 (charge_carelessly:1 of " in text
    assert re.search(r"A smaller case, 1 worker and \d faults?:", text), text
    assert "did charge o1" in text
    word = text.rpartition('seed="')[2].partition('"')[0]
    again = told(*given, seed=word, check=simulated.charged_once)
    assert again == told(*given, seed=word, check=simulated.charged_once)
    assert text.partition("The last steps")[2] == again.partition("The last steps")[2]


def test_the_hash_seed_of_the_caller_makes_no_difference() -> None:
    program = (
        "from tests.testing import simulated as s; from romancy.testing import simulate; "
        "simulate([s.careless], s.starts_careless, seed=3, check=s.charged_once)"
    )
    texts = {_error_of(program, hash_seed) for hash_seed in ("1", "2")}

    assert len(texts) == 1
    assert "charge was done 2 times" in texts.pop()


def _error_of(program: str, hash_seed: str) -> str:
    env = {**os.environ, "PYTHONHASHSEED": hash_seed}
    ran = subprocess.run([sys.executable, "-c", program], env=env, stderr=subprocess.PIPE, text=True, check=False)
    return ran.stderr.partition("AssertionError: ")[2]


def test_a_body_that_looks_at_the_clock_is_found() -> None:
    text = told([simulated.looks_at_the_clock], simulated.starts_clock, seeds=1, faults=Faults.none())

    assert "replay: workflow looks_at_the_clock" in text
    assert "differs: note:1, argument text" in text
    assert "A smaller case, 1 worker and no faults:" in text
    assert 'To repeat it: simulate(…, seed="0/1/none")' in text


def test_a_compensation_that_is_missing_is_found() -> None:
    text = told([simulated.unpaid], simulated.starts_unpaid, seeds=1, check=simulated.nothing_is_paid)

    assert "check: AssertionError: 1 was paid, and the order has failed" in text
    assert "simulated.py, line " in text


def test_an_instance_that_does_not_end_is_found() -> None:
    text = told([simulated.waits_for_nobody], simulated.starts_waiting, seed="0/1/none", patience=5)

    assert "end: 5 s after the faults, waits_for_nobody w1 is waiting: It waits for the event 'never sent'" in text


def test_what_the_client_raises_is_found_with_its_line() -> None:
    text = told([simulated.order], simulated.fails, seed=0)

    assert "client: ValueError: the shop is closed\n      simulated.py, line " in text


def test_a_worker_that_ends_with_an_error_is_found() -> None:
    text = told([simulated.order], simulated.shop, seed="0/1/none", prepare=simulated.fails_to_prepare)

    assert "worker: worker1 has ended with ValueError: there is no key for the till" in text


def test_a_case_that_ends_its_process_is_a_finding() -> None:
    text = told([simulated.asks], simulated.starts_exits, seed=0)

    assert "crash: its process ended" in text


def test_a_case_that_blocks_its_process_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nurseries, "_LONGEST", 1.0)
    text = told([simulated.asks], simulated.starts_blocks, seed="0/1/none")

    assert "crash: its process ended, or took longer than 1 s of real time" in text


@pytest.mark.parametrize(
    ("client", "asked"),
    [
        (simulated.starts_sleeps, r"time\.sleep in sleeps \(simulated\.py, line \d+\).*await asyncio\.sleep"),
        (simulated.starts_connects, r"create_connection in connects \(simulated\.py"),
        (simulated.starts_writes, r"file 'nowhere', to write to it in writes \(simulated\.py"),
        (simulated.starts_runs, r"a process in runs \(simulated\.py"),
        (simulated.starts_threads, r"a thread in threads \(simulated\.py"),
        (simulated.starts_writes_a_row, r"with session\(\) in writes_a_row \(simulated\.py.*use an `async def`"),
    ],
)
def test_what_has_no_place_in_a_simulation_is_refused_by_name(client: Any, asked: str) -> None:
    with pytest.raises(UsageError, match=asked):
        simulate([simulated.asks], client, seed="0/1/none")


def test_a_file_may_be_read_and_plain_functions_run_inline() -> None:
    assert simulate([simulated.asks], simulated.starts_reads, seeds=2).instances == 2


def test_prepare_puts_fakes_in_the_place_of_activities_and_providers() -> None:
    assert simulate([simulated.sells], simulated.starts_sells, seeds=3, prepare=simulated.prepare).seeds == 3


def test_without_faults_nothing_happens() -> None:
    played = simulate([simulated.order], simulated.shop, seeds=range(5, 7), faults=Faults.none(), workers=1)

    assert (played.seeds, played.deaths, played.faults) == (2, 0, 0)


def test_the_budget_ends_the_seeds() -> None:
    assert simulate([simulated.order], simulated.shop, seeds=1000, budget=0.01).seeds < 1000


def _local() -> Callable[..., Any]:
    async def client(app: Any, chance: Any) -> None: ...

    return client


async def _takes_nothing() -> None: ...


_NAMELESS: Callable[[Romancy], None] = lambda app: None  # noqa: E731 - it is refused
_BAD: list[tuple[Any, dict[str, Any], str]] = [
        (([], simulated.shop), {}, "needs workflows"),
        (([simulated.shop], simulated.shop), {}, "takes a list of workflows first"),
        (([simulated.order], simulated.charged_once), {}, r"`async def client\(app, chance\)`"),
        (([simulated.order], _takes_nothing), {}, r"client= takes a function that is called as client\(app, chance\)"),
        (([simulated.order], _local()), {}, r"the client \(_local.*is defined inside of a function; each seed is pl"),
        (([simulated.order], simulated.shop), {"check": _NAMELESS}, r"check= \(<lambda>\) is a lambda"),
        (([simulated.order], simulated.shop), {"check": "shop"}, "check= takes a function"),
        (([simulated.order], simulated.shop), {"check": functools.partial(print)}, "check= is a partial"),
        (([simulated.order], simulated.shop), {"seeds": 0}, "seeds"),
        (([simulated.order], simulated.shop), {"seeds": []}, "one or more"),
        (([simulated.order], simulated.shop), {"seed": "17/x"}, r"seed='17/x'\): this takes a number, or the text"),
        (([simulated.order], simulated.shop), {"workers": 0}, "workers"),
        (([simulated.order], simulated.shop), {"budget": -1}, "budget"),
        (([simulated.order], simulated.shop), {"faults": 3}, r"faults= takes Faults\(…\)"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "options", "message"), _BAD)
def test_bad_input_is_refused(given: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        simulate(*given, **options)


def test_the_calls_of_a_client_fail_only_if_its_faults_say_so() -> None:
    given: dict[str, Any] = {"lost": 1.0, "deaths": 0}
    simulate([simulated.order], simulated.starts_one, seeds=4, faults=Faults(**given))
    text = told([simulated.order], simulated.starts_one, seeds=4, faults=Faults(**given, client=True))

    assert "client: OutcomeUnknownError: start: the database has not answered" in text


@pytest.mark.parametrize("client", [False, True])
def test_where_no_process_can_be_forked_the_same_case_gives_the_same_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, client: bool
) -> None:
    """Each case has an interpreter of its own there, also those that look for a smaller one."""
    lost = Faults(lost=1.0, deaths=1, client=client)
    given = ([simulated.careless], simulated.starts_careless) if not client else ([simulated.order], simulated.shop)
    forked = _report(*given, faults=lost)
    (tmp_path / "sitecustomize.py").write_text("import os\n\nif hasattr(os, 'fork'):\n    del os.fork\n", "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(nurseries, "_FORKS", False)
    begun: list[Nursery] = []
    begin = Nursery._begun  # pyright: ignore[reportPrivateUsage] - its calls are counted

    def counted(self: Nursery) -> subprocess.Popen[bytes]:
        begun.append(self)
        return begin(self)

    monkeypatch.setattr(Nursery, "_begun", counted)

    assert forked == _report(*given, faults=lost)
    assert len(begun) > 3


def _report(workflows: list[Any], client: Any, **options: Any) -> str:
    """What four seeds find: the text of the first finding, or what was played."""
    check = simulated.charged_once if client is simulated.starts_careless else None
    try:
        return str(simulate(workflows, client, seeds=4, check=check, **options))
    except AssertionError as error:
        return str(error)


def test_faults_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match=r"Faults\(lost=2\): this takes a share between 0 and 1"):
        Faults(lost=2)
    with pytest.raises(UsageError, match=r"Faults\(client=1\): this takes True or False"):
        Faults(client=1)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"Faults\(deaths=0\.5\): this takes a whole number"):
        Faults(deaths=0.5)  # type: ignore[arg-type]


def test_a_client_that_starts_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="the client has started no instance"):
        simulate([simulated.order], simulated.starts_nothing, seed=0)


def test_a_program_that_simulates_while_it_is_imported_is_refused(tmp_path: Path) -> None:
    text = Path(simulated.__file__).read_text("utf-8")
    program = tmp_path / "orders.py"
    program.write_text(f"{text}\n\nfrom romancy.testing import simulate\nsimulate([order], shop, seed=0)\n", "utf-8")
    ran = subprocess.run([sys.executable, str(program)], stderr=subprocess.PIPE, text=True, check=False)

    assert "another interpreter cannot import the test" in ran.stderr
    assert 'below `if __name__ == "__main__":`' in ran.stderr


def test_a_program_can_simulate(tmp_path: Path) -> None:
    text = Path(simulated.__file__).read_text("utf-8")
    program = tmp_path / "orders.py"
    main = 'if __name__ == "__main__":\n    print(simulate([order], shop, seed=0).instances)\n'
    program.write_text(f"{text}\n\nfrom romancy.testing import simulate\n{main}", "utf-8")
    ran = subprocess.run([sys.executable, str(program)], stdout=subprocess.PIPE, text=True, check=False)

    assert ran.stdout == "2\n"
