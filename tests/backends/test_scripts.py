"""The scripts of shared operations: one name, the same parameters and the same columns in every dialect.

What a dialect has for itself is in `OWN`, with the reason.
"""

from __future__ import annotations

import ast
import re
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from romancy.storage import sqlkit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from romancy.storage.sql import Head
    from romancy.storage.sqlkit.statements import Own

DIALECTS: Final = ("sqlite", "postgres", "mysql")

_NO_RETURNING: Final = "its UPDATE and DELETE return no rows, so the operation is in parts"
_NO_LISTS: Final = "a row has no lists, so an instance and its index are several queries"
_CLAIMS: Final = "how instances are taken is each dialect's own: see romancy/storage/sqlkit/claims.py"
_UNCHANGED: Final = "a row that is set to what it was does not count as touched"
_WHO_HOLDS: Final = "it can read what is uncommitted, and so find out in one request what others hold"
_NO_CTE: Final = "no part of a statement can change another table, so the operation is in parts"
_ONE_STATEMENT: Final = "a lock skips what others hold only in a query, and an UPDATE would lock what it looks at"
_ONE_WRITE: Final = "how a dispatch writes depends on what is locked, and by whom (`sqlkit/dispatches.py`)"
_ONE_PACKET: Final = "it judges and writes in one packet, and leaves what it has found in a variable of the connection"
_SPELLED: Final = "MySQL's sets of paths are stored as they were declared, so it reads them whole, with the workflows"
_IN_ORDER_OF_THE_TABLE: Final = "a search that must read many rows reads the table in its own order, in one snapshot"
_ITS_OWN_FORM: Final = (
    "what searches read, and interests, are stored in each dialect's own form, which its appends write"
)
MOST: Final = 0.85
"""The part of the scripts of shared operations that has one name in all dialects."""
ANSWERED: Final = {"take_back": "only MySQL takes back what a sweep finds, and answers it by an operation of its own"}
"""The scripts without a head that not all dialects answer, and why."""
OWN: Final[dict[str, tuple[set[str], str]]] = {
    "count_beat": ({"sqlite"}, _NO_RETURNING),
    "living_beat": ({"sqlite"}, _NO_RETURNING),
    "register": ({"mysql"}, "an INSERT that finds a row cannot leave a dead one alone"),
    "beat_again": ({"mysql"}, "an INSERT that finds a row cannot leave a dead one alone"),
    "alive": ({"sqlite"}, _CLAIMS),
    "due": ({"sqlite"}, _CLAIMS),
    "next_due": ({"sqlite"}, _CLAIMS),
    "take": ({"sqlite"}, _CLAIMS),
    "at_rung": ({"mysql"}, _CLAIMS),
    "turn_of": ({"mysql"}, _CLAIMS),
    "owned": ({"sqlite"}, _CLAIMS),
    "taken": ({"sqlite"}, _CLAIMS),
    "short_logs": ({"sqlite"}, _CLAIMS),
    "mailboxes": ({"sqlite"}, _CLAIMS),
    "wake_asleep": ({"sqlite"}, _CLAIMS),
    "wake_stranded": ({"sqlite"}, _CLAIMS),
    "wake_parked": ({"sqlite"}, _CLAIMS),
    "read_mail": ({"mysql"}, "its condition is composed, so that the mail of each inbox is one range of an index"),
    "stream_lines": ({"mysql"}, "its condition is composed, so that the lines of each life are one range of an index"),
    "stream_logs": ({"mysql"}, "the condition of the lines is composed, so they are another script"),
    "mark_dead": ({"mysql"}, _UNCHANGED),
    "marked_dead": ({"mysql"}, _UNCHANGED),
    "owned_heads": ({"sqlite"}, _NO_RETURNING),
    "takeover_log": ({"sqlite"}, _NO_RETURNING),
    "takeover_instances": ({"sqlite"}, _NO_RETURNING),
    "read_owned": ({"mysql"}, _NO_RETURNING),
    "log_takeover": ({"mysql"}, _NO_RETURNING),
    "free_from_dead": ({"mysql"}, _NO_RETURNING),
    "free_apart": ({"postgres"}, "no lock stands in the way on SQLite, and MySQL reads what is uncommitted"),
    "see_uncommitted": ({"mysql"}, _WHO_HOLDS),
    "free_instances": ({"mysql"}, _WHO_HOLDS),
    "prune_interests": ({"sqlite", "mysql"}, _NO_CTE),
    "hold_taken": ({"mysql"}, _NO_CTE),
    "return_taken": ({"sqlite", "mysql"}, _NO_CTE),
    "prune_log": ({"sqlite", "mysql"}, _NO_CTE),
    "prune_journal": ({"sqlite", "mysql"}, _NO_CTE),
    "prune_inbox": ({"sqlite", "mysql"}, _NO_CTE),
    "prune_uncounted": ({"mysql"}, _NO_CTE),
    "forget_instances": ({"sqlite", "mysql"}, _NO_CTE),
    "drop_index": ({"sqlite", "mysql"}, _NO_CTE),
    "prune_instances": ({"sqlite", "mysql"}, _NO_CTE),
    "former_runs": ({"sqlite", "mysql"}, _NO_CTE),
    "drop_former_runs": ({"sqlite", "mysql"}, _NO_CTE),
    "former_streams": ({"sqlite", "mysql"}, _NO_CTE),
    "mark_dropped_runs": ({"sqlite"}, _NO_CTE),
    "find_old": ({"mysql"}, "one status at a time, in the order of an index, so that no row is locked besides"),
    "dead_workers": ({"mysql"}, _ONE_STATEMENT),
    "drop_workers": ({"mysql"}, _ONE_STATEMENT),
    "outbox_judge": ({"mysql"}, _NO_RETURNING),
    "outbox_park": ({"sqlite", "mysql"}, _NO_RETURNING),
    "outbox_give": ({"sqlite", "mysql"}, _NO_RETURNING),
    "outbox_given": ({"sqlite", "mysql"}, _NO_RETURNING),
    "outbox_record": ({"sqlite", "mysql"}, _NO_RETURNING),
    "outbox_keys": ({"sqlite", "mysql"}, _NO_RETURNING),
    "outbox_delete": ({"sqlite", "mysql"}, _NO_RETURNING),
    "outbox_next": ({"mysql"}, _ONE_STATEMENT),
    "outbox_parked": ({"mysql"}, _ONE_STATEMENT),
    "outbox_unpark": ({"mysql"}, _ONE_STATEMENT),
    "outbox_pending": ({"mysql"}, "its bounded counts are statements of one packet: it joins no table laterally"),
    "outbox_ended": ({"mysql"}, "its bounded counts are statements of one packet: it joins no table laterally"),
    "first_writers": ({"postgres"}, "the appends of several writers are one statement; SQLite asks for each"),
    "lane_rooms": ({"postgres"}, "the lanes of a batch are one statement; SQLite asks for each"),
    "lane_waits": ({"sqlite"}, "its one writer knows whether a mark is needless before it makes one"),
    "lanes_lock_now": ({"postgres"}, "SQLite has one writer; MySQL gives no places with a start"),
    "is_open": ({"sqlite"}, _NO_RETURNING),
    "discard": ({"sqlite"}, _NO_RETURNING),
    "interest_put": ({"mysql"}, _ONE_PACKET),
    "add_interest": ({"sqlite"}, _ITS_OWN_FORM),
    "add_interests": ({"mysql"}, _ITS_OWN_FORM),
    "interests_change": ({"postgres"}, _ITS_OWN_FORM),
    "renew_runs": ({"postgres"}, _ITS_OWN_FORM),
    "index_renewed": ({"postgres"}, _ITS_OWN_FORM),
    "renew_projections": ({"sqlite", "mysql"}, _ITS_OWN_FORM),
    "add_index_sets": ({"sqlite", "mysql"}, _ITS_OWN_FORM),
    "add_index": ({"sqlite", "mysql"}, _ITS_OWN_FORM),
    "some_lives": ({"sqlite", "mysql"}, _NO_LISTS),
    "some_rows": ({"sqlite", "mysql"}, _NO_LISTS),
    "some_index": ({"sqlite", "mysql"}, _NO_LISTS),
    "last_life": ({"mysql"}, _NO_LISTS),
    "last_lives": ({"sqlite"}, _NO_LISTS),
    "restore_instance": ({"sqlite", "mysql"}, _NO_RETURNING),
    "route_take": ({"postgres"}, _ONE_WRITE),
    "route_copy": ({"postgres"}, _ONE_WRITE),
    "route_finish": ({"postgres"}, _ONE_WRITE),
    "route_count": ({"postgres"}, _ONE_WRITE),
    "give_mail": ({"sqlite", "mysql"}, _ONE_WRITE),
    "give_letters": ({"sqlite", "mysql"}, _ONE_WRITE),
    "number_addresses": ({"sqlite", "mysql"}, _ONE_WRITE),
    "count_given": ({"sqlite"}, _ONE_WRITE),
    "mark_mail": ({"mysql"}, _ONE_WRITE),
    "route_mark": ({"postgres"}, _ONE_WRITE),
    "mark_addresses": ({"mysql"}, _ONE_WRITE),
    "mark_interests": ({"sqlite", "mysql"}, _ONE_WRITE),
    "mark_messages": ({"sqlite", "mysql"}, _ONE_WRITE),
    "hold_interests": ({"mysql"}, _ONE_WRITE),
    "end_interests": ({"mysql"}, _ONE_WRITE),
    "drop_messages": ({"mysql"}, _ONE_WRITE),
    "hold_free": ({"mysql"}, _ONE_WRITE),
    "signal_free": ({"mysql"}, _ONE_WRITE),
    "number_free": ({"mysql"}, _ONE_WRITE),
    "still_uncounted": ({"mysql"}, _ONE_WRITE),
    "lock_addresses": ({"mysql"}, _ONE_PACKET),
    "judge_interest": ({"mysql"}, _ONE_PACKET),
    "judged": ({"mysql"}, _ONE_PACKET),
    "kept_ids": ({"mysql"}, _ONE_PACKET),
    "discard_messages": ({"mysql"}, _ONE_PACKET),
    "lives": ({"sqlite", "mysql"}, _NO_RETURNING),
    "hold_mail": ({"mysql"}, _NO_RETURNING),
    "return_mail": ({"sqlite", "mysql"}, _NO_RETURNING),
    "drop_mail": ({"sqlite", "mysql"}, _NO_RETURNING),
    "unmark_mail": ({"mysql"}, "it marks what is not counted yet in a table, and not in the inbox"),
    "drop_uncounted": ({"mysql"}, "it marks what is not counted yet in a table, and not in the inbox"),
    "hold_letters": ({"mysql"}, _NO_RETURNING),
    "return_letters": ({"sqlite", "mysql"}, _NO_RETURNING),
    "kept_page": ({"mysql"}, "it has no page that ends with all of its last key"),
    "kept_alike": ({"mysql"}, "it has no page that ends with all of its last key"),
    "expire_messages": ({"sqlite"}, _NO_RETURNING),
    "expire_letters": ({"sqlite"}, _NO_RETURNING),
    "find_expired": ({"mysql"}, _ONE_STATEMENT),
    "find_unread": ({"mysql"}, _ONE_STATEMENT),
    "find_unused": ({"mysql"}, _ONE_STATEMENT),
    "find_notes": ({"mysql"}, _ONE_STATEMENT),
    "end_messages": ({"sqlite", "mysql"}, _NO_RETURNING),
    "end_letters": ({"mysql"}, _ONE_STATEMENT),
    "end_addresses": ({"mysql"}, _ONE_STATEMENT),
    "load": ({"mysql"}, "one for each worker, in one packet: no derived table of MariaDB sees the row of another"),
    "index_sets": ({"mysql"}, _SPELLED),
    "other_sets": ({"sqlite", "postgres"}, _SPELLED),
    "workflow_names": ({"sqlite", "postgres"}, _SPELLED),
    "about_how_many": ({"mysql"}, _IN_ORDER_OF_THE_TABLE),
    "one_moment": ({"mysql"}, _IN_ORDER_OF_THE_TABLE),
    "begin_moment": ({"mysql"}, _IN_ORDER_OF_THE_TABLE),
    "end_moment": ({"mysql"}, _IN_ORDER_OF_THE_TABLE),
}
"""The scripts with a head that are not those of all dialects, the dialects that have them, and why."""
IDLE: Final = {("sqlite", "route_interests"): {"limit"}, ("mysql", "route_interests"): {"limit"}}
"""Parameters that a dialect has no use for. The bound spares PostgreSQL the takers that no message can be for."""


def module(dialect: str, name: str) -> Any:
    if dialect == "postgres":
        pytest.importorskip("asyncpg")
    if dialect == "mysql":
        pytest.importorskip("pymysql")
    return import_module(f"romancy_{dialect}.{name}")


def heads(dialect: str) -> Mapping[str, Head]:
    found: Mapping[str, Head] = module(dialect, "_scripts").heads()
    return found


def texts(dialect: str) -> Mapping[str, str]:
    found: Mapping[str, str] = module(dialect, "_scripts").texts()
    return found


def operations(dialect: str) -> Own:
    """The scripts that a dialect answers with operations of its own."""
    own: Own = getattr(module(dialect, "_interpreter"), "_OWN", {})
    return own


def test_a_shared_script_is_the_same_in_every_dialect() -> None:
    found = {dialect: heads(dialect) for dialect in DIALECTS}
    shared = {name for one in found.values() for name in one} - OWN.keys()

    for name in shared:
        there = {dialect: one[name] for dialect, one in found.items() if name in one}
        answered = {dialect for dialect in DIALECTS if name in operations(dialect)}
        assert set(DIALECTS) == there.keys() | answered, f"{name} has no script and no operation somewhere"
        assert not there.keys() & answered, f"{name} has a script that nobody runs"
        heads_there = [(tuple(head.parameters.items()), head.columns) for head in there.values()]
        assert heads_there == heads_there[:1] * len(there), f"{name} differs"


def test_what_a_dialect_has_for_itself_is_listed_with_the_reason() -> None:
    found = {dialect: heads(dialect) for dialect in DIALECTS}

    for name, (dialects, why) in OWN.items():
        assert why
        there = {dialect: one[name] for dialect, one in found.items() if name in one}
        assert dialects == there.keys(), name
        assert len({(tuple(head.parameters.items()), head.columns) for head in there.values()}) == 1, name


def test_most_scripts_of_shared_operations_have_one_name_in_all_dialects() -> None:
    asked = asked_by_all()
    there = {dialect: heads(dialect).keys() | operations(dialect).keys() for dialect in DIALECTS}
    everywhere = asked.intersection(*there.values())

    assert asked - everywhere <= OWN.keys() | ANSWERED.keys()
    assert asked <= set().union(*there.values()), "nobody has what an operation asks for"
    assert len(everywhere) >= MOST * len(asked) > 20, sorted(asked - everywhere)


def asked_by_all() -> set[str]:
    """The scripts that the operations in `sqlkit` ask for, by its source, but for those that are in parts."""
    found: set[str] = set()
    for file in Path(sqlkit.__file__).parent.glob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        of_some = set(functions_of_some(tree))
        for part in tree.body:
            name = getattr(part, "name", "")
            if name not in of_some and not name.endswith("_in_parts"):
                found.update(asked_in(part))
    return found


def functions_of_some(tree: ast.Module) -> Iterator[str]:
    """The functions in the mappings that are an `Own`."""
    for part in tree.body:
        if isinstance(part, ast.AnnAssign) and "Own" in ast.unparse(part.annotation) and part.value is not None:
            yield from (one.id for one in ast.walk(part.value) if isinstance(one, ast.Name))


def asked_in(part: ast.AST) -> Iterator[str]:
    """The names in `ask("…")`, `Ask("…")` and `partial(ask, "…")`, without those of composed statements."""
    for call in ast.walk(part):
        if isinstance(call, ast.Call) and not any(one.arg == "composed" for one in call.keywords):
            words = [ast.unparse(call.func), *map(ast.unparse, call.args)]
            arguments = (
                words[2:] if words[:2] == ["partial", "ask"] else words[1:] if words[0] in ("ask", "Ask") else []
            )
            yield from (ast.literal_eval(one) for one in arguments[:1] if one[0] in "'\"")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_script_takes_what_its_head_names(dialect: str) -> None:
    for name, head in heads(dialect).items():
        text = texts(dialect)[name]
        if dialect == "postgres":
            count = sum(len(columns) or 1 for columns in head.parameters.values())
            assert {f"${number}" for number in range(1, count + 1)} == set(re.findall(r"\$\d+", text)), name
            continue
        taken = set(re.findall(r"(?<![:\w]):([a-z]\w*)", text))
        if dialect == "sqlite":
            assert head.parameters.keys() == (taken - {"now", "packed"}) | IDLE.get((dialect, name), set()), name
            continue
        columns = [{"source", *columns} if columns else {one} for one, columns in head.parameters.items()]
        assert set().union(*columns) == (taken - {"closed"}) | IDLE.get((dialect, name), set()), name


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_script_returns_the_columns_of_its_head(dialect: str) -> None:
    for name, head in heads(dialect).items():
        assert len(head.columns) == len(returned(texts(dialect)[name])), name


def returned(text: str) -> list[str]:
    """The expressions that a statement returns: of RETURNING, else of the first SELECT that is not inside brackets."""
    words = list(outside(text))
    verbs = [word.lower() for _, word in words if word.lower() in ("select", "update", "delete", "insert", "returning")]
    if not verbs or (verbs[0] != "select" and "returning" not in verbs):
        return []
    verb = "returning" if "returning" in verbs else "select"
    if verb == "select" and "into" in [word.lower() for _, word in words]:
        return []
    begin = next(at + len(verb) for at, word in words if word.lower() == verb)
    end = next((at for at, word in words if at > begin and word.lower() in ("from", "union")), len(text))
    commas = [at for at, word in words if word == "," and begin < at < end]
    cuts = [begin, *commas, end]
    return [text[one:other].strip(", \n") for one, other in pairwise(cuts)]


def outside(text: str) -> Iterator[tuple[int, str]]:
    """The words and commas that are not inside brackets, with their places."""
    depth = 0
    for found in re.finditer(r"'[^']*'|[(),]|[\w$:.]+", text):
        depth += {"(": 1, ")": -1}.get(found[0], 0)
        if not depth and found[0] != ")":
            yield found.start(), found[0]


def count(text: str) -> int:
    return len(returned(text))


def test_the_reader_of_this_test_counts_what_is_returned() -> None:
    assert count("select a, (select b, c from d), case when x then ',' end from e union all select 1, 2, 3") == 3
    assert count("with k (a) as (select 1, 2) update t set a = 1, b = 2 from k returning x, f(y, z)") == 2
    assert count("with k (a) as (select 1, 2) update t set a = 1, b = 2 from k") == 0
    assert count("delete from t where a in (select b)") == 0
    assert count("select case when a then b end into @c from (select d) e") == 0
    assert count("(select a from b)") == 0
