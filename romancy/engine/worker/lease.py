"""Renews one worker's lease by heartbeats, and watches the leases of other workers.

A worker lives as long as its row gets heartbeats. Another worker declares it dead only after watching its heartbeat
stand still for a whole lease while its own heartbeats succeeded. A database outage or a jump of the database's clock
therefore kills no worker. A process of this machine that is certainly gone is taken over without that wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from msgspec.structs import replace

from romancy.engine.clock import boot_time
from romancy.engine.host import same_machine
from romancy.engine.surroundings import here
from romancy.storage.records import NOTICE, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from romancy.engine.clock import DatabaseClock
    from romancy.storage.protocol import Store
    from romancy.storage.records import Peer

__all__ = ["Excluding", "Leases"]

_BEAT_AMONG_OTHERS: Final = 1.5
_PER_PEER: Final = 0.02
"""Seconds between heartbeats for each peer: each heartbeat reads all of them, and none reads more than 50 a second."""
_LONGEST_INTERVAL: Final = 10.0
"""Upper bound on the heartbeat interval.

A heartbeat also discovers peers: a peer on this machine is taken over at once, but only by a worker that knows of it.
"""

_HURRIED: Final = 1.0
_LOOK_AT_SESSION: Final = 1.0
_LATE_LOOKS: Final = 1
"""At how many looks late heartbeats of a dead worker may have moved its beat."""


class Excluding(Protocol):
    """An open session of this worker that excludes all other writers."""

    @property
    def excluding(self) -> bool:
        """Whether the session excludes other writers and is not about to end."""
        ...

    @property
    def renewed(self) -> bool | None:
        """Whether the end of the session renewed this worker's lease; None before the end."""
        ...


class Leases:
    """One worker's own lease, and its view of the others'."""

    def __init__(
        self,
        store: Store,
        clock: DatabaseClock,
        *,
        worker_id: str,
        lease: int,
        codes: tuple[str, ...],
        named: bool = False,
        exclusive: bool = False,
        room: Callable[[], str] = str,
        suspects: Callable[[], Sequence[str]] = tuple,
        heeds: Callable[[list[Peer]], object] = list,
    ) -> None:
        """`exclusive`: an open session on this database keeps other workers from sending heartbeats.

        `room` and `suspects` are what each heartbeat tells peers, beside the versions of the code: how much this worker
        could take, and which instances it tries. `heeds` is told of all notices, whenever there are or were some.
        """
        own = here().host()
        self._store = store
        self._clock = clock
        self._own = own
        self.worker = Worker(
            token=here().token(), worker_id=worker_id, lease=lease, codes=tuple(sorted(codes)), host=own
        )
        self.token = self.worker.token
        """The token of this incarnation."""
        self.peers: list[Peer] = []
        self.notices: list[Peer] = []
        """Rows that are no workers, and say what all workers have to heed."""
        self._heeds = heeds
        self.hurries = False
        """Whether others watch what the heartbeats tell."""
        self._has_looked = False
        self._room = room
        self._suspects = suspects
        self._told = self.worker
        """This worker as its last heartbeat described it."""
        self._named = named
        self._exclusive = exclusive
        self._held: Excluding | None = None
        self._held_at = 0
        self._beaten_at: int | None = None
        self._watched: dict[str, tuple[int, int]] = {}
        self._elders: dict[str, tuple[int, int]] | None = None
        """The workers that registered before this one: the beat last seen, and at how many looks it had moved."""

    @property
    def interval(self) -> float:
        """Seconds between heartbeats: at most a third of a lease, and less while workers on other machines are watched.

        A process of this machine is checked without the database, so it does not shorten the interval. Among many, the
        first of them to look sees a silence about as soon as one that looks often.
        """
        longest = min(self.worker.lease / 3_000_000, _HURRIED if self.hurries else _LONGEST_INTERVAL)
        if any(not same_machine(peer.host, self._own) for peer in self.peers):
            return min(longest, max(_BEAT_AMONG_OTHERS, _PER_PEER * len(self.peers)))
        return longest

    def has_peers(self) -> bool:
        """Whether other live workers could do the same work: they know one of the workflows, in any version."""
        if not self.peers:
            return False
        mine = frozenset(self.worker.codes)
        return any(not peer.dead and not mine.isdisjoint(peer.codes) for peer in self.peers)

    def next_expiry(self) -> float:
        """Seconds until a peer that stays silent from now on can first be declared dead."""
        now = boot_time()
        ends = [self._watched[peer.token][1] + peer.lease - now for peer in self.peers if not peer.dead]
        return min((end for end in ends if end > 0), default=self.worker.lease) / 1_000_000

    def fresh(self) -> bool:
        """Whether the last heartbeat is so recent that no peer can have declared this worker dead."""
        if self._held is not None and self._nobody_can_write():
            return True
        return self._beaten_at is not None and boot_time() - self._beaten_at < self.worker.lease

    def hold(self, session: Excluding) -> None:
        """Record an open session. Until it ends, no peer can declare this worker dead, unless one has already."""
        if self.fresh():
            self._held, self._held_at = session, boot_time()

    def _nobody_can_write(self) -> bool:
        """Whether the recorded session still excludes other writers. Updates the leases if it has ended."""
        now, held = boot_time(), self._held
        if held is None:
            return False
        if held.excluding:
            self._held_at = now
            return True
        renewed = held.renewed
        if renewed is None:
            return True
        self._held = None
        # The peers could not send heartbeats either: earlier observations do not count.
        self._watched = {token: (beat, now) for token, (beat, _) in self._watched.items()}
        if renewed:
            self._beaten_at = max(self._beaten_at or 0, self._held_at)
        return False

    def left(self) -> float:
        """Seconds until this worker may no longer be fresh; 0 when it is not."""
        if self._held is not None and self._nobody_can_write():
            return _LOOK_AT_SESSION
        if self._beaten_at is None:
            return 0.0
        return max(0.0, (self._beaten_at + self.worker.lease - boot_time()) / 1_000_000)

    async def renew_through(self, store: Store) -> bool:
        """Renew the lease over another store, from another thread, while the event loop is blocked.

        False: this incarnation is dead.
        """
        sent = boot_time()
        alive = (await store.heartbeat(self._told)).alive
        if alive:
            self._beaten_at = max(sent, self._beaten_at or 0)
        return alive

    async def renew(self) -> bool:
        """Renew the lease by a heartbeat and look at the peers. False: this worker is dead and must drop everything."""
        sent = boot_time()
        self._tell()
        pulse = await self._store.heartbeat(self._told)
        self._clock.observe(pulse.now)
        if pulse.alive:
            missed = self._beaten_at is None or sent - self._beaten_at > self.worker.lease
            now = boot_time()
            # The cause that delayed this heartbeat has delayed those of the peers, too.
            missed = missed or (self._exclusive and now - sent > self.worker.lease // 4)
            self._nobody_can_write()
            self._beaten_at = max(sent, self._beaten_at or 0)
            self._watch(pulse.peers, now, restart=missed)
            self._look_at_elders(pulse.peers)
        return pulse.alive

    def _look_at_elders(self, peers: list[Peer]) -> None:
        if self._elders is None:
            self._elders = {peer.token: (peer.beat, 0) for peer in peers}
            return
        for peer in peers:
            beat, moves = self._elders.get(peer.token, (peer.beat, 0))
            if beat != peer.beat:
                self._elders[peer.token] = peer.beat, moves + 1

    def _tell(self) -> None:
        room, suspects = self._room(), self._suspects()
        if room or suspects or self._told is not self.worker:
            told = (room, *suspects) if room else suspects
            self._told = replace(self.worker, codes=(*self.worker.codes, *told))

    async def leave(self) -> None:
        """Mark this worker dead, so that others take over from it at once."""
        self._tell()
        await self._store.leave(self._told)

    async def meet(self) -> None:
        """Look at the peers without a heartbeat."""
        census = await self._store.services.reading.census()
        self._watch([peer for peer in census.workers if peer.token != self.token], boot_time(), restart=False)

    def _watch(self, peers: list[Peer], now: int, *, restart: bool) -> None:
        """Record since when each peer's heartbeat stands still. A gap in our own makes earlier observations void.

        A peer may have sent its heartbeat after we asked and before the database answered, so `now` is the time of the
        answer: it counts its lease from then, or from earlier.
        """
        before = {} if restart else self._watched
        self._watched = {}
        notices = [peer for peer in peers if peer.worker_id == NOTICE]
        if notices or self.notices or not self._has_looked:
            self._has_looked = True
            peers = [peer for peer in peers if peer.worker_id != NOTICE]
            self.notices = notices
            self._heeds(notices)
        for peer in peers:
            beat, since = before.get(peer.token, (peer.beat, now))
            self._watched[peer.token] = (peer.beat, since if beat == peer.beat else now)
        self.peers = peers

    def lost(self) -> list[Peer]:
        """The peers that may be taken over now."""
        gone, own = here().certainly_gone, self._own
        return [peer for peer in self.peers if peer.dead or gone(peer.host, own) or self._expired(peer)]

    def rival(self) -> Peer | None:
        """A live worker with the same chosen id that registered before this one.

        One that died elsewhere may have left a heartbeat on its way to the database, which is carried out late. So one
        beat does not show that it lives.
        """
        if not self._named or self._elders is None:
            return None
        for peer in self.peers:
            if peer.worker_id == self.worker.worker_id and not peer.dead and peer.token in self._elders:
                beats = self._elders[peer.token][1] > _LATE_LOOKS
                if not here().certainly_gone(peer.host, self._own) and (beats or same_machine(peer.host, self._own)):
                    return peer
        return None

    def _expired(self, peer: Peer) -> bool:
        _, since = self._watched[peer.token]
        return self._beaten_at is not None and self._beaten_at - since >= peer.lease
