"""Mutants that change nothing that anybody could notice: classes, each with its reason and its members.

A member is the beginning of a label without the number: dialect, statement, kind, and the piece that is dropped. `*`
stands for any word. `tests/tools` fails if a member matches no mutant.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from tools.mutations.systematic.statements import Listed

__all__ = ["EQUIVALENTS", "Equivalents", "class_of", "matches", "words_of"]


class Equivalents(NamedTuple):
    """Mutants that are as good as the text, for one reason."""

    name: str
    reason: str
    members: tuple[str, ...]
    """Patterns of `dialect statement kind piece`."""

    def has(self, mutant: Listed) -> bool:
        """Whether the mutant is one of them."""
        return any(matches(mutant, member) for member in self.members)


EQUIVALENTS: Final[tuple[Equivalents, ...]] = (
    Equivalents(
        "cut again",
        "The limit bounds what is read; the adapter, or the statement itself, cuts the answer to the same size again.",
        (
            "sqlite outbox_due limit :limit",
            "sqlite outbox_counts limit :most",
            "sqlite outbox_counts limit :most @2",
            "postgres claim limit $4::bigint",
            "* still_owned limit 1",
            "sqlite place_behind limit 1",
            "mysql place_behind limit 1",
            "sqlite tally_slice limit 1",
            "sqlite due limit :limit",
            "postgres route_messages limit $5::bigint",
            "postgres register_interest limit 1",
            "postgres last_commits limit 1",
            "postgres read limit $3::bigint + 1",
            "postgres find_branch limit {limit}",
            "postgres find_by_index limit {limit}",
        ),
    ),
    Equivalents(
        "picked by key",
        "The adapter picks from the answer what it needs, by its key; the condition spares what is read besides.",
        (
            "sqlite some_rows conjunct i.instance_id = named.value",
            "sqlite outbox_keys conjunct order_key is not null",
            "sqlite workflow_names comparison (lower(name), lower(:part)) > 0",
        ),
    ),
    Equivalents(
        "spares work",
        "It says where there may be something to do. What then looks for it finds nothing where there is nothing.",
        (
            "sqlite route_due conjunct exists (select 1 from romancy_interests *",
            "sqlite route_due conjunct exists (select 1 from romancy_messages where address = wanted.value)",
            "sqlite route_due conjunct address = wanted.value @3",
            "* outbox_keys conjunct outbox_id in *",
            "sqlite due alternative candidate.refused = '[]'",
            "postgres lives_with_rows conjunct ids.id is not null",
            "postgres claim conjunct owner = $1 @2",
            "postgres claim conjunct signals <> seen",
            "postgres deliver conjunct m.dedupe is not null",
            "postgres post conjunct m.dedupe is not null",
            "postgres append_* conjunct m.dedupe is not null",
            "postgres append_effects conjunct not exists (select from romancy_index_sets *",
            "postgres renew_runs conjunct not exists (select from romancy_index_sets *",
            "mysql dead_workers conjunct w.dead = 1",
            "mysql renew_index_sets conjunct not exists ( *",
            "mysql route_messages conjunct s.compared <= (a.least < 9223372036854775807)",
            "mysql route_messages comparison a.least < 9223372036854775807",
            "mysql former_runs conjunct i.run_from > 1",
            "mysql former_runs comparison i.run_from > 1",
            "* some_lives conjunct ids.id is not null",
            "postgres sweep_addresses conjunct walk.address is not null",
            "postgres outbox_sweep conjunct state = 'pending'",
            "postgres outbox_sweep conjunct state = 'pending' @2",
            "postgres outbox_sweep conjunct order_key is not null",
            "postgres outbox_sweep limit 1",
        ),
    ),
    Equivalents(
        "said again",
        "Another condition of the statement is false too where this one is false: no value is equal to null, the least "
        "value is none, no instance has a life of 0, no time is above the last, what has ended has no time at which it "
        "is due and was created before, and the adapter asks for no pending ones. It is there for the index.",
        (
            "mysql find_old conjunct created_at < :before",
            "mysql find_old comparison created_at < :before",
            "sqlite outbox_look conjunct state = 'pending'",
            "sqlite outbox_look conjunct next_at is not null",
            "sqlite outbox_due conjunct state = 'pending'",
            "sqlite outbox_due conjunct order_key is not null",
            "sqlite outbox_counts conjunct state = 'pending'",
            "sqlite outbox_counts conjunct state <> 'pending'",
            "sqlite outbox_requeue conjunct state <> 'pending'",
            "sqlite outbox_purge conjunct state <> 'pending'",
            "sqlite outbox_sweep conjunct order_key is not null @2",
            "sqlite outbox_record conjunct romancy_outbox.state = 'pending'",
            "sqlite outbox_counts conjunct order_key is not null",
            "sqlite prune_old conjunct status in ('completed', 'failed', 'cancelled')",
            "sqlite find_by_values conjunct x.value in (select value from json_each(?))",
            "sqlite find_by_end conjunct i.status in ('completed', 'failed', 'cancelled')",
            "sqlite next_due conjunct wake_at is not null",
            "postgres outbox_look conjunct next_at is not null",
            "mysql outbox_look conjunct *",
            "mysql outbox_judge conjunct o.order_key is not null",
            "mysql route_messages conjunct a.least is not null",
            "postgres outbox_counts conjunct state = 'pending'",
            "postgres outbox_counts conjunct o.state <> 'pending'",
            "postgres outbox_requeue conjunct state <> 'pending'",
            "mysql outbox_requeue conjunct state <> _binary'pending'",
            "postgres outbox_purge conjunct state <> 'pending'",
            "mysql outbox_purge conjunct state <> _binary'pending'",
            "mysql outbox_record conjunct o.state = _binary'pending'",
            "postgres outbox_claim conjunct o.order_key is not null",
            "postgres prune_old conjunct status in ('completed', 'failed', 'cancelled')",
            "postgres find_by_end conjunct i.status in ('completed', 'failed', 'cancelled')",
            "postgres *_by_index conjunct {position}",
            "postgres count_by_index conjunct x.value = any ({values}::text[])",
            "postgres register_interest conjunct i.kind <> 'take'",
            "postgres register_interest alternative $7 is null",
            "postgres route_interests conjunct i.life <> 0",
            "postgres route_messages conjunct (m.at, m.message_id) >= ($2::bigint, $3::text)",
            "postgres route_messages alternative place.least = 9223372036854775807",
            "postgres sweep_mail conjunct not counted",
        ),
    ),
    Equivalents(
        "first row",
        "SQLite takes the first row of a query in the place of a value. The key has the log in its order.",
        (
            "sqlite outbox_promote limit 1",
            "sqlite outbox_sweep limit 1",
            "sqlite first_facts conjunct seq = 1",
            "sqlite last_lives limit 1",
        ),
    ),
    Equivalents(
        "order of an index",
        "SQLite and MySQL read the rows in the order of an index. The plan is the same without the clause, as a test "
        "compares.",
        (
            "mysql claim_due order order by i.wake_at",
            "mysql find_old order order by created_at",
            "mysql interests order order by i.at, i.owner, i.life, i.interest_id",
            "mysql kept_alike order order by address",
            "mysql kept_page order order by message_id",
            "mysql letters order order by letter_id",
            "mysql log_of_life order order by l.seq",
            "mysql lying order order by instance_id, delivery_id @2",
            "mysql open_work order order by created_at, instance_id*",
            "mysql outbox_due order order by next_at, at",
            "mysql outbox_look order order by o.next_at",
            "mysql outbox_next order order by o.at, o.outbox_id",
            "mysql prune_named order order by instance_id",
            "mysql read_log order order by g.seq",
            "mysql read_log order order by l.seq",
            "mysql read_mail order order by instance_id, delivery_id",
            "mysql read_short_logs order order by l.instance_id, l.seq",
            "mysql tally order order by created_at, instance_id*",
            "mysql unswept_messages order order by swept, at",
            "sqlite log_of_life order order by seq",
            "sqlite outbox_due order order by next_at, at, outbox_id",
            "sqlite outbox_promote order order by at, outbox_id",
            "sqlite outbox_sweep order order by at, outbox_id",
            "sqlite outbox_read order order by outbox_id",
            "sqlite due order order by candidate.wake_at",
        ),
    ),
    Equivalents(
        "as it was written",
        "The rows are read from a temporary table, in the order in which the statement has written them.",
        (
            "mysql lying order order by instance_id, delivery_id @3",
            "* some_lives order order by id",
        ),
    ),
    Equivalents(
        "takes time",
        "It makes the server wait and look again. A condition that names a tick is always true; the sleep answers 0, "
        "as a statement that is interrupted fails; and one tick more or less is a moment.",
        (
            "mysql await_change alternative sleep(least(:tick_ms * pow(1.2, ticks.tick - 1), :longest_ms) / 1000)",
            "mysql await_change comparison tick < :ticks",
            "mysql await_change * ticks.tick > 0",
        ),
    ),
    Equivalents(
        "set to what it is",
        "The row would be given the value that it has. The server counts no row that stays the same.",
        ("mysql mark_dead conjunct d.dead = 0",),
    ),
    Equivalents(
        "only counted",
        "Rows that are counted come in the order of an index, so that the server reads no more of it than are counted.",
        (
            "postgres tally order order by status, created_at desc, instance_id desc*",
            "postgres outbox_counts order order by o.state, o.ended_at",
        ),
    ),
    Equivalents(
        "sorted already",
        "The rows come from a window in this order. The text does not rely on it.",
        (
            "postgres read order order by r.seq*",
            "postgres lying order order by instance_id, delivery_id @3",
        ),
    ),
    Equivalents(
        "inside a statement",
        "The same condition has chosen the rows, a moment before in the same statement, which skips those that others "
        "hold. Only a commit between the two could show it.",
        ("postgres outbox_sweep conjunct p.state = 'pending'",),
    ),
    Equivalents(
        "a life that is new",
        "A first append meets no interests of its own life. The text is that of every append.",
        (
            "postgres append_first conjunct i.interest_id = t.interest_id",
            "postgres append_first conjunct i.life = t.life",
            "postgres append_first conjunct case when t.owner in (select instance_id from logged) then true end",
            "postgres append_first conjunct t.owner in (select instance_id from logged)",
            "postgres append_first conjunct i.address = excluded.address",
            "postgres append_first conjunct i.kind = excluded.kind",
            "postgres append_first conjunct i.address <> excluded.address or *",
            "postgres append_first alternative i.address <> excluded.address",
            "postgres append_first alternative i.kind <> excluded.kind",
            "postgres append_first alternative i.where_ is distinct from excluded.where_",
        ),
    ),
    Equivalents(
        "never parked alone",
        "On SQLite an end and the turn of the next message are one transaction, so there is nothing to sweep.",
        (
            "sqlite outbox_sweep conjunct state = 'pending'",
            "sqlite outbox_sweep conjunct order_key is not null",
            "sqlite outbox_sweep conjunct order_key is not null @3",
            "sqlite outbox_sweep conjunct order_key = keys.key",
            "sqlite outbox_sweep conjunct keys.key is not null @2",
        ),
    ),
    Equivalents(
        "a moment later",
        "Another look, a microsecond later, finds what this one leaves.",
        (
            "sqlite outbox_due comparison next_at <= :now",
            "sqlite prune_seen comparison at < :before",
            "postgres prune_workers comparison w.beat_at < (select now from clock)",
            "postgres sweep_mail comparison at < (select now from clock)",
            "postgres outbox_due comparison next_at <= (select romancy_now())",
            "mysql dead_workers comparison w.beat_at < timestampdiff",
            "mysql claim_due comparison i.wake_at <= timestampdiff",
            "mysql claim_due comparison i.wake_at > timestampdiff",
            "mysql find_uncounted comparison u.at < timestampdiff",
            "mysql outbox_due comparison next_at <= timestampdiff",
            "mysql sweep_messages comparison m.at < timestampdiff",
            "mysql sweep_interests comparison i.at < timestampdiff",
        ),
    ),
    Equivalents(
        "left out anyway",
        "`or ignore` leaves out a null in a column that cannot hold one.",
        (
            "sqlite append_logs conjunct column1 is not null",
            "sqlite start_logs conjunct column1 is not null",
            "sqlite start_instances conjunct column1 is not null",
        ),
    ),
    Equivalents(
        "size of a transaction",
        "The limit bounds how long one transaction holds up others; a call promises no number.",
        (
            "sqlite former_runs limit :limit",
            "sqlite prune_seen limit :limit",
            "mysql prune_seen limit :limit",
            "mysql former_runs limit :limit",
            "postgres sweep_asleep limit 1000*",
        ),
    ),
    Equivalents(
        "decided alone",
        "A batch is refused without need, or fails; each of its items is then decided alone, by another statement.",
        (
            "sqlite append_logs upsert or ignore",
            "sqlite append_logs alternative *",
            "sqlite start_logs upsert or ignore",
            "sqlite start_instances upsert or ignore",
            "sqlite change_instances upsert or ignore",
            "sqlite change_instances conjunct instance_id = column1",
            "sqlite change_instances alternative *",
            "postgres append_many upsert on conflict do nothing",
            "postgres append_effects conjunct case when instance_id in ( select append from child *",
            "postgres append_effects conjunct (select true from romancy_instances x where x.instance_id = child.*",
            "postgres append_first conjunct case when instance_id in ( select append from child *",
            "postgres append_first conjunct (select true from romancy_instances x where x.instance_id = child.*",
            "postgres append_first conjunct (select count(*) from created) < (select count(*) from born)",
            "postgres append_first comparison (select count(*) from created) < (select count(*) from born)",
        ),
    ),
    Equivalents(
        "said for a planner",
        "It follows from the comparison of rows beside it, which MySQL and MariaDB do not look up in an index; or the "
        "ranges of a column are all that there are, each with the next column of the index.",
        (
            "mysql find_expired conjunct m.swept in (0, 1)",
            "mysql find_expired * m.swept < 0",
            "* place_behind conjunct created_at <= *",
            "* tally_slice conjunct created_at <= *",
            "* lying conjunct instance_id >= *",
        ),
    ),
    Equivalents(
        "order of locks",
        "Rows are locked, or inserted, in this order without the clause too: the adapter sorts what it gives, or the "
        "rows come in the order of an index or of a list without repetitions; or the statement skips locked rows, and "
        "never waits. Where the clause decides, `test_order_of_keys` reads the order from the places of the rows.",
        (
            "postgres deliver order order by instance_id",
            'postgres deliver order order by f.instance_id collate "C", f.dedupe collate "C"',
            "postgres post order order by instance_id",
            'postgres post order order by instance_id collate "C", delivery_id collate "C"',
            "postgres append_* order order by i.instance_id",
            'postgres append_changes order order by instance_id collate "C"',
            'postgres append_effects order order by instance_id collate "C"',
            'postgres append_first order order by instance_id collate "C"',
            "postgres append_effects order order by 1, 2",
            "postgres renew_runs order order by 1, 2",
            'postgres count_mail order order by instance_id collate "C"',
            'postgres route_count order order by instance_id collate "C"',
            'postgres route_take order order by owner collate "C", delivery_id collate "C"*',
            'postgres route_copy order order by owner collate "C", delivery_id collate "C"*',
            'postgres route_finish order order by address collate "C"',
            "postgres sweep_mail order order by instance_id",
            "postgres sweep_ended order order by instance_id",
            'postgres sweep_ended order order by delivery_id collate "C", address collate "C"',
            "postgres route_lock order order by key",
            "postgres declare_dead order order by token",
            "postgres free order order by instance_id*",
            "postgres outbox_settle order order by outbox_id",
            "postgres outbox_remove order order by outbox_id",
            "postgres hold_runs order order by i.instance_id",
            'postgres restore_instances order order by t.instance_id collate "C"',
        ),
    ),
    Equivalents(
        "told earlier",
        "A claim may tell a time that is earlier, or up to a second later, and of several that are due any one. A "
        "worker that got as many as it asked for asks again anyway.",
        (
            "postgres claim conjunct i.wake_at <= clock.now @2",
            "postgres claim order order by i.wake_at @2",
            "postgres claim limit 1",
            "postgres claim conjunct (select count(*) from due) < $4",
            "postgres claim comparison (select count(*) from due) < $4",
            "postgres claim conjunct a.due > clock.now",
            "postgres claim comparison a.due > clock.now",
            "postgres claim conjunct i.wake_at > clock.now - case *",
            "postgres claim comparison i.wake_at > clock.now",
            "postgres claim limit 8",
            "postgres claim conjunct i.instance_id not in (select instance_id from due)",
            "postgres claim comparison i.wake_at <= clock.now @3",
            "postgres claim comparison i.wake_at <= clock.now @4",
        ),
    ),
    Equivalents(
        "named or not",
        "No names mean that all were accepted; all their names mean the same.",
        (
            "postgres append_* conjunct (select count(*) from logged) < cardinality*",
            "postgres append_* comparison (select count(*) from logged) < cardinality",
            "postgres start conjunct (select count(*) from made) < cardinality*",
            "postgres start comparison (select count(*) from made) < cardinality",
        ),
    ),
    Equivalents(
        "twice on the list",
        "A code that stands twice among those which refused an instance is refused as one that stands there once, and "
        "forgiven with all others.",
        ("postgres append_* alternative fit.refused_by = any (i.refused)",),
    ),
    Equivalents(
        "a part of several",
        "The text is a part of several statements. In this one the value is always null.",
        ("postgres append_changes conjunct fit.run_from is null",),
    ),
    Equivalents(
        "kept is known",
        "A worker that keeps mail up to a number knows that counter, so a mailbox without news is left out.",
        ("sqlite mailboxes comparison kept.value <= owned.signals",),
    ),
)


def words_of(mutant: Listed) -> str:
    """How a member names the mutant. Of pieces that look alike in a statement, the second ends with ` @2`."""
    again = f" @{mutant.alike}" if mutant.alike > 1 else ""
    return f"{mutant.dialect} {mutant.statement} {mutant.kind} {mutant.was}{again}"


def class_of(mutant: Listed) -> Equivalents | None:
    """The class that the mutant is in."""
    return next((one for one in EQUIVALENTS if one.has(mutant)), None)


def matches(mutant: Listed, member: str) -> bool:
    """Whether a member names the mutant. Of the signs of a pattern, SQL has `?` and `[` itself."""
    return fnmatchcase(words_of(mutant), member.replace("[", "[[]").replace("?", "[?]"))
