"""Mutants that no test notices so far. Each is a test that has yet to be written, or an equivalent without a class.

The list may only get shorter. Its members are patterns, as those of `equivalents`. A run without a bound on time tries
them too, and fails if one is noticed now, so that it is taken off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tools.mutations.systematic.equivalents import matches

if TYPE_CHECKING:
    from tools.mutations.systematic.statements import Listed

__all__ = ["SURVIVORS", "is_known"]

SURVIVORS: Final[tuple[str, ...]] = (
    "sqlite prune_old conjunct status in ('completed', 'failed', 'cancelled')",
    "sqlite prune_old comparison updated_at < :before",
    "sqlite prune_seen limit :limit",
    "sqlite workflow_names comparison (lower(name), lower(:part)) > 0",
    "sqlite place_facts conjunct instance_id = ?",
    "sqlite tally order order by created_at desc, instance_id desc",
    "sqlite tally limit 1",
    "sqlite tally order order by created_at desc, instance_id desc @2",
    "sqlite tally conjunct status = 'running' @2",
    "sqlite tally limit 1 @2",
    "sqlite tally order order by created_at desc, instance_id desc @3",
    "sqlite tally conjunct status = 'waiting' @2",
    "sqlite tally limit 1 @3",
    "sqlite tally order order by created_at desc, instance_id desc @4",
    "sqlite tally limit 1 @4",
    "sqlite tally order order by created_at desc, instance_id desc @5",
    "sqlite tally conjunct status = 'failed' @2",
    "sqlite tally limit 1 @5",
    "sqlite tally order order by created_at desc, instance_id desc @6",
    "sqlite tally conjunct status = 'cancelling' @2",
    "sqlite tally limit 1 @6",
    "sqlite tally order order by created_at desc, instance_id desc @7",
    "sqlite tally conjunct status = 'cancelled' @2",
    "sqlite tally limit 1 @7",
    "sqlite tally order order by created_at desc, instance_id desc @8",
    "sqlite tally conjunct status = 'compensating' @2",
    "sqlite tally limit 1 @8",
    "sqlite tally order order by created_at desc, instance_id desc @9",
    "sqlite tally conjunct status = 'stuck' @2",
    "sqlite tally limit 1 @9",
    "sqlite trend order order by created_at desc, instance_id desc",
    "sqlite trend order order by created_at desc, instance_id desc @2",
    "sqlite trend order order by created_at desc, instance_id desc @3",
    "sqlite trend order order by created_at desc, instance_id desc @4",
    "sqlite trend order order by created_at desc, instance_id desc @5",
    "sqlite trend order order by created_at desc, instance_id desc @6",
    "sqlite trend order order by created_at desc, instance_id desc @7",
    "sqlite trend order order by created_at desc, instance_id desc @8",
    "sqlite trend order order by created_at desc, instance_id desc @9",
    "sqlite trend order order by created_at desc, instance_id desc @10",
    "sqlite tally_slice order order by created_at desc, instance_id desc",
    "sqlite tally_slice order order by created_at desc, instance_id desc @2",
    "sqlite tally_slice limit 1",
    "sqlite place_behind order order by created_at desc, instance_id desc",
    "sqlite place_behind limit 1",
    "sqlite lying order order by instance_id, delivery_id @2",
    "sqlite lying comparison size < :bytes",
    "sqlite lying order order by instance_id, delivery_id @3",
    "sqlite inbox_has conjunct instance_id = ?",
    "sqlite last_commits conjunct log.instance_id = json_extract(one.value, '$[0]')",
    "sqlite prune_workers conjunct owner = romancy_workers.token",
    "sqlite find_by_value conjunct x.path = ?",
    "sqlite find_by_values conjunct i.instance_id = x.instance_id",
    "sqlite find_by_values conjunct x.path = ?",
    "sqlite find_by_values conjunct x.value in (select value from json_each(?))",
    "sqlite find_by_values conjunct {conditions}",
    "sqlite find_by_sets conjunct i.index_paths in (select value from json_each(?))",
    "sqlite find_by_sets conjunct {conditions}",
    "sqlite find_by_names conjunct i.workflow_name in (select value from json_each(?))",
    "sqlite find_by_names conjunct {conditions}",
    "sqlite find_by_end conjunct i.status in ('completed', 'failed', 'cancelled')",
    "sqlite find_anywhere conjunct {conditions}",
    "sqlite renew conjunct token = ?",
    "sqlite renew conjunct dead = 0",
    "sqlite due alternative candidate.refused = '[]'",
    "sqlite due order order by candidate.wake_at",
    "sqlite due limit :limit",
    "sqlite next_due conjunct workflow_name = known.value",
    "sqlite next_due conjunct wake_at is not null",
    "sqlite owned order order by instance_id",
    "sqlite mailboxes conjunct inbox.instance_id = instance.instance_id",
    "sqlite mailboxes conjunct instance.owner = :worker",
    "sqlite mailboxes conjunct instance.signals = instance.seen",
    "sqlite living_beat conjunct token = :token",
    "sqlite outbox_insert upsert on conflict do nothing",
    "sqlite outbox_counts conjunct order_key is not null",
    "sqlite outbox_keys conjunct outbox_id in (select value from json_each(:ids))",
    "sqlite lives_with_rows conjunct ids.id is not null",
    "sqlite lives_with_rows conjunct s.workflow_name = i.workflow_name",
    "sqlite lives_with_rows conjunct s.paths = i.index_paths",
    "sqlite lives_with_rows conjunct i.instance_id is null",
    "sqlite lives_with_rows order order by ids.id",
    "sqlite restore_instance conjunct number < 9223372036854775807",
    "sqlite restore_instance comparison number < 9223372036854775807",
    "sqlite restore_instance conjunct life = :life @2",
)


def is_known(mutant: Listed) -> bool:
    """Whether the mutant is on the list."""
    return any(matches(mutant, member) for member in SURVIVORS)
