"""What the end of a log shows about an instance's lost owners, and which suspects begin when."""

from __future__ import annotations

import math
import random

import pytest

from romancy.core import LogEvent, OwnerChanged, decode_commit, encode_commit
from romancy.engine.worker.evidence import Evidence, evidence_in, others_tried
from romancy.engine.worker.turns import next_of
from tests.engine.storms import STEP, Patient, Storm

ME = "me"
TAKEN_OVER: list[LogEvent] = [OwnerChanged(at=5, owner="w2")]
OTHERS: list[list[LogEvent]] = [[OwnerChanged(at=5, owner="w2", tried=f"other-{number}")] for number in range(4)]
TRIED: list[LogEvent] = [OwnerChanged(at=3, owner="w2", alone=True, tried=ME)]
FATAL: list[LogEvent] = [OwnerChanged(at=5, owner="w2", tried=ME)]
TRIAL = [TRIED, FATAL]
OF_OLD: list[list[LogEvent]] = [[OwnerChanged(at=3, owner="w2", alone=True)], TAKEN_OVER]
"""A fatal trial as versions wrote it that let nothing else run beside a trial."""
SURVIVED: list[LogEvent] = [OwnerChanged(at=4, code="c1", alone=True)]
RELEASED: list[LogEvent] = [OwnerChanged(at=4, code="c1")]
TWICE = [STEP, TAKEN_OVER, TAKEN_OVER]


@pytest.mark.parametrize(
    ("commits", "deaths", "trials", "without", "suspicious"),
    [
        ([STEP], 0, (), 0, False),
        ([STEP, TAKEN_OVER], 1, (), 0, False),
        (TWICE, 2, (), 0, True),
        ([STEP, TAKEN_OVER, STEP, TAKEN_OVER], 1, (), 0, False),
        ([*TWICE, *TRIAL], 3, (2,), 0, True),
        ([*TWICE, *TRIAL, TRIED], 3, (2,), 0, True),
        ([*TWICE, *TRIAL, *TRIAL, *TRIAL], 5, (2, 2, 2), 0, True),
        ([*TWICE, *TRIAL, *TRIAL, TAKEN_OVER], 5, (2, 2), 1, True),
        ([*TWICE, *TRIAL, TAKEN_OVER, *TRIAL, *TRIAL], 6, (2, 2, 2), 1, True),
        ([*TWICE, TAKEN_OVER, *TRIAL, OTHERS[0]], 5, (2,), 2, True),
        ([*TWICE, *OF_OLD, *OF_OLD, *TRIAL], 5, (2, 2, 2), 0, True),
        ([*TWICE, TRIED, TAKEN_OVER], 3, (), 0, True),
        ([*TWICE, TRIED, OTHERS[0]], 3, (), 0, True),
        ([*TWICE, FATAL], 3, (), 1, True),
        ([STEP, FATAL], 1, (), 0, False),
        ([STEP, FATAL, TAKEN_OVER], 2, (), 0, True),
        ([*TWICE, RELEASED], 0, (), 0, False),
        ([*TWICE, TRIED, SURVIVED], 0, (), 0, False),
        ([*TWICE, TRIED, SURVIVED, TAKEN_OVER], 1, (), 0, False),
        ([STEP, TAKEN_OVER, RELEASED, TAKEN_OVER], 1, (), 0, False),
        ([TRIED, FATAL, TRIED, FATAL], 2, (2, 2), 0, True),
        ([], 0, (), 0, False),
    ],
)
def test_what_each_lost_owner_shows(
    commits: list[list[LogEvent]], deaths: int, trials: tuple[int, ...], without: int, *, suspicious: bool
) -> None:
    evidence = evidence_in(commits, ME)

    assert (deaths, trials, without, suspicious) == (
        evidence.deaths, evidence.trials, evidence.without, evidence.suspicious,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("tried", "suspicious"),
    [
        ([0, 0, 0, 0, 0], False),
        ([0, 1], False),
        ([0, 1, 0, 1], False),
        ([0, 1, 2], True),
    ],
)
def test_who_died_trying_another_one_excuses_this_one(tried: list[int], *, suspicious: bool) -> None:
    """Unless three others are blamed in a row: then it is most likely none of them."""
    commits = [STEP, *(OTHERS[which] for which in tried)]

    assert suspicious == evidence_in(commits, ME).suspicious


def test_who_died_trying_the_guilty_says_nothing_of_others() -> None:
    commits = [*TWICE, *TRIAL, OTHERS[0], OTHERS[1]]

    assert others_tried(commits, ME) == {"other-0", "other-1"}
    assert evidence_in(commits, ME).without == 2
    assert evidence_in(commits, ME, guilty=["other-0"]).without == 1
    assert evidence_in(commits, ME, guilty=["other-0", "other-1"]) == evidence_in(commits[:-2], ME)


def test_who_tried_it_and_lives_did_not_die_of_it() -> None:
    commits = [*TWICE, *TRIAL, *TRIAL]

    assert evidence_in(commits, ME, living=["w2"]).trials == ()
    assert evidence_in(commits, ME, living=["w3"]).trials == (2, 2)


def test_two_deaths_without_it_weigh_as_much_as_one_fatal_trial() -> None:
    assert Evidence(7, (1,) * 5).enough
    assert not Evidence(6, (1,) * 4).enough
    assert Evidence(8, (1,) * 5, 1).enough
    assert not Evidence(9, (1,) * 5, 2).enough
    assert Evidence(10, (1,) * 6, 2).enough


def test_a_worker_has_lived_much_longer_than_any_trial_took() -> None:
    assert [1.0, 2.0, 4.0, 8.0] == [Evidence(2, (1,) * trials).alive_before(30.0) for trials in range(4)]
    assert 16.0 == Evidence(4, (2_000_000, 1_000_000)).alive_before(30.0)
    assert 240.0 == Evidence(4, (40_000_000,)).alive_before(30.0)
    assert 24.0 == Evidence(4, (20_000_000,)).alive_before(3.0)


def test_the_more_wait_the_shorter_is_a_trial_that_is_survived() -> None:
    assert [30.0, 6.0, 0.3, 0.2] == [Evidence(2).trial_for(many, 30.0) for many in (1, 5, 100, 1000)]
    assert [0.3, 0.6, 1.2, 30.0] == [Evidence(2, relapses=one).trial_for(100, 30.0) for one in (0, 1, 2, 8)]
    assert [2.0, 3.0, 30.0] == [Evidence(3, (one,)).trial_for(1, 30.0) for one in (1, 3_000_000, 40_000_000)]


def test_relapses_are_trials_survived_since_the_log_grew_otherwise() -> None:
    again = [TAKEN_OVER, TAKEN_OVER, TRIED, SURVIVED]

    assert [0, 1, 2] == [evidence_in([STEP, *again * times, *TWICE[1:]], ME).relapses for times in range(3)]
    assert evidence_in([STEP, *again, STEP, *again, TAKEN_OVER], ME).relapses == 1


def test_it_says_since_when_an_instance_is_tried() -> None:
    assert evidence_in([*TWICE, TRIED], ME).tried_since == 3
    assert evidence_in([*TWICE, *TRIAL], ME).tried_since is None


def test_a_log_without_trials_by_their_names_is_written_as_before() -> None:
    assert b"tried" not in encode_commit([OwnerChanged(at=5, owner="w2")])
    assert decode_commit(encode_commit(TRIED)) == TRIED


@pytest.mark.parametrize(
    ("heard", "beat", "taken", "lasted"),
    [
        (0, 0, 30.0, 30.0),
        (0, 99.0, 30.0, 30.0),
        (100.0, 0, 30.0, 30.0),
        (100.0, 92.0, 30.0, 0.5),
        (100.0, 100.5, 30.0, 1.0),
        (100.0, 104.0, 30.0, 8.0),
        (100.0, 120.0, 30.0, 30.0),
        (100.0, 99.0, 0.2, 0.2),
    ],
    ids=["old worker", "taken over by a new one", "by an old one", "no beat", "one", "four", "many", "at once"],
)
@pytest.mark.parametrize("tried", ["", ME])
def test_a_trial_lasted_until_its_next_heartbeat_was_due(
    heard: float, beat: float, taken: float, lasted: float, tried: str
) -> None:
    """And not until another worker came, which may be restarted at intervals."""
    trial = OwnerChanged(at=100_000_000, owner="w2", alone=True, heard=round(heard * 1_000_000), tried=tried)
    after = OwnerChanged(
        at=100_000_000 + round(taken * 1_000_000), owner="w3", heard=round(beat * 1_000_000), tried=tried
    )

    assert (round(lasted * 1_000_000),) == evidence_in([*TWICE, [trial], [after]], ME).trials


# ── whose turn it is ────────────────────────────────────────────────────────────────────────────────────────────────


def test_suspects_begin_once_the_worker_has_lived_for_long_enough() -> None:
    suspects = {"a": Evidence(2), "b": Evidence(2)}

    assert next_of(suspects, 0.25, 2, 30.0) == ("a", 0.75)
    assert next_of(suspects, 1.0, 2, 30.0) == ("a", 0.0)


def test_of_those_that_have_ended_workers_only_the_worst_is_tried() -> None:
    suspects = {"once": Evidence(3, (1,)), "twice": Evidence(4, (1, 1)), "never": Evidence(2)}

    assert next_of(suspects, 2.5, 100, 30.0) == ("never", 0.0)
    assert next_of(suspects, 4.0, 100, 30.0) == ("twice", 0.0)
    assert next_of({each: suspects[each] for each in ("once", "twice")}, 2.5, 100, 30.0) == ("twice", 1.5)


def test_no_trial_begins_that_would_last_until_the_worst_ones_time_has_come() -> None:
    suspects = {"worst": Evidence(4, (1, 1)), "never": Evidence(2)}

    assert next_of(suspects, 3.5, 5, 30.0) == ("worst", 0.5)
    assert next_of(suspects, 3.5, 100, 30.0) == ("never", 0.0)


# ── storms ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("life", [0.7, 2.0, 6.0, 20.0, 60.0, 200.0])
@pytest.mark.parametrize("times", [0.3, 1.0, math.inf])
@pytest.mark.parametrize(("many", "runs"), [(1, 20), (5, 6), (30, 1)])
def test_workers_that_die_at_random_park_no_innocent(life: float, times: float, many: int, runs: int) -> None:
    for number in range(runs):
        chance = random.Random(f"{life} {times} {many} {number}")
        patients = [Patient(f"i{one}", lasting=min(600.0, times * life)) for one in range(many)]
        Storm(patients, chance, mean_life=life, gap=chance.choice([0.2, 30.0])).run(deaths=100)

        assert [one.id for one in patients if one.parked_at is not None] == []


def stormed(innocent: int, *poison: Patient, mean_life: float = math.inf, deaths: int) -> Storm:
    """Let workers die until all poison is parked. No innocent may be."""
    chance = random.Random(f"{innocent} {poison} {mean_life}")
    innocents = [Patient(f"i{number}") for number in range(innocent)]
    patients = [*innocents, *poison]
    chance.shuffle(patients)
    storm = Storm(patients, chance, mean_life=mean_life)
    while any(one.parked_at is None for one in poison) and storm.deaths < deaths:
        storm.run(deaths=storm.deaths + 1, until=storm.now + 1000.0)
    assert [one.id for one in innocents if one.parked_at is not None] == []
    return storm


@pytest.mark.parametrize("innocent", [0, 1, 5, 100])
@pytest.mark.parametrize("fatal", [0.02, 0.15])
def test_poison_is_parked_after_seven_deaths_and_within_two_minutes(innocent: int, fatal: float) -> None:
    poison = Patient("poison", fatal=fatal)
    stormed(innocent, poison, deaths=8)

    assert poison.parked_at is not None
    assert poison.parked_at < 120.0
    assert poison.died_with == 7


@pytest.mark.parametrize("fatal", [1.0, 2.2, 3.0, 10.0])
@pytest.mark.parametrize("innocent", [1, 5, 60])
def test_slow_poison_is_parked_too_and_nobody_else(innocent: int, fatal: float) -> None:
    """What outlives its trial relapses, and is tried for longer. Meanwhile others are blamed, each seldom."""
    poison = Patient("poison", fatal=fatal)
    stormed(innocent, poison, deaths=60)

    assert poison.parked_at is not None


@pytest.mark.parametrize("innocent", [0, 5, 60])
@pytest.mark.parametrize("comes", [0.0, 7.0, 60.0])
def test_several_poisons_are_parked_and_nobody_else(innocent: int, comes: float) -> None:
    poison = [Patient(f"p{number}", fatal=0.02, comes=number * comes) for number in range(4)]
    stormed(innocent, *poison, deaths=60)

    assert all(one.parked_at is not None for one in poison)


@pytest.mark.parametrize("life", [5.0, 20.0])
def test_poison_amid_random_deaths_parks_nobody_else(life: float) -> None:
    poison = [Patient(f"p{number}", fatal=0.02, comes=30.0 * number) for number in range(20)]

    stormed(20, *poison, mean_life=life, deaths=100)


@pytest.mark.parametrize("every", [20.0, 30.0, 60.0])
@pytest.mark.parametrize("ended", ["by its end", "by a kill", "orderly"])
def test_poison_is_parked_after_seven_deaths_however_seldom_workers_begin(every: float, ended: str) -> None:
    """A supervisor starts one at intervals, and ends the one before if it still lives."""
    commits: list[list[LogEvent]] = [STEP]
    deaths = trials_begun = 0
    for start in range(100):
        now = start * every
        evidence = evidence_in(commits[-32:], ME)
        if evidence.enough:
            break
        before = evidence.alive_before(30.0) if evidence.suspicious else 0.0
        heard, tried = now, ""
        if before < every:  # it dies of it, in an instant
            if evidence.suspicious:
                begun, tried = round((now + before) * 1_000_000), ME
                commits.append([OwnerChanged(at=begun, owner="w", alone=True, heard=begun, tried=tried)])
                trials_begun += 1
        elif ended == "orderly":
            continue
        deaths += 1
        taken_over = round((now + every) * 1_000_000)
        commits.append([OwnerChanged(at=taken_over, owner="w", heard=round(heard * 1_000_000), tried=tried)])

    assert (7, 5) == (deaths, trials_begun)
