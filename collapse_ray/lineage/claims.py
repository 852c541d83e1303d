"""Two processes of a cluster never compute the same artifact of a store at once. A Ray seam."""

import asyncio
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayActorError

from collapse_ray.artifact.store import Store
from collapse_ray.train.shared_actors import shared_actor, store_key

WAIT_S = 1.0
"""A process asks again after this time, and looks into the store in between."""
PING_S = 0.2
"""A holder that has not answered by then is busy: what has died says so at once."""
GRACE_S = 3.0
"""A restarted actor grants nothing for as long: holders that live tell it again what they hold."""
LOOK_S = 1.0
"""How often it looks whether it is needed."""
BURY_S = 30.0
"""How often it looks whether those who hold something live."""
LINGER_S = 5.0
"""An actor of which nobody holds or asks anything for so long ends."""
START_S = 60.0
"""One that has ended is replaced within this time."""
MAX_CALLS = 100_000
"""Each process that computes has a call under way; at Ray's default of 1,000 nobody else would be heard."""


@dataclass(frozen=True)
class Holder:
    """A process that may compute: an identifier, and the actor that it is, by which its end is seen."""

    id: str
    actor: Any


@ray.remote(  # pyright: ignore[reportCallIssue] - its stub lacks max_concurrency
    num_cpus=0, max_restarts=-1, max_task_retries=3, max_concurrency=MAX_CALLS
)
class ClaimsActor:
    """Who computes what. Every method may be repeated.

    It keeps nothing on disk: while a process computes, its call of `hold` is under way, and Ray makes it again when
    this actor was restarted. It ends when nobody computes: the next who asks starts another.
    """

    def __init__(self) -> None:
        self._held: dict[str, Holder] = {}
        self._freed: dict[str, asyncio.Event] = {}
        self._pings: dict[str, asyncio.Task[bool]] = {}
        self._restarted = ray.get_runtime_context().was_current_actor_reconstructed
        self._asked_s = time.monotonic()
        self._tending: asyncio.Task[None] | None = None
        self._ending = False

    async def take(self, key: str, holder: Holder) -> bool:
        """Grants `key`, at once or within `WAIT_S`; False while another living process holds it."""
        self._asked_s = time.monotonic()
        self._be_tended()
        if self._ending:
            await asyncio.Event().wait()  # for its end, of which the caller hears
        if self._restarted:
            await asyncio.sleep(GRACE_S)
            self._restarted = False
        if not await self._is_free(key, holder):
            try:
                await asyncio.wait_for(self._freed.setdefault(key, asyncio.Event()).wait(), WAIT_S)
            except TimeoutError:
                return False
        if not await self._is_free(key, holder):
            return False
        self._held[key] = holder
        return True

    async def hold(self, key: str, holder: Holder) -> None:
        """Under way for as long as `holder` computes what it was granted."""
        self._held[key] = holder
        self._be_tended()
        while self._held.get(key) == holder:
            await self._freed.setdefault(key, asyncio.Event()).wait()

    async def release(self, key: str, holder: Holder) -> None:
        """Nobody computes it any more, if `holder` did."""
        if self._held.get(key) == holder:
            self._free(key)

    async def held(self) -> dict[str, str]:
        """What is being computed: fingerprint -> holder."""
        return {key: holder.id for key, holder in self._held.items()}

    def _be_tended(self) -> None:
        if self._tending is None or (self._tending.done() and not self._ending):
            self._tending = asyncio.ensure_future(self._tend())

    async def _tend(self) -> None:
        """Forgets what the dead held, and ends the actor when nobody needs it any more."""
        buried_s = time.monotonic()
        while self._held or time.monotonic() - self._asked_s < LINGER_S:
            await asyncio.sleep(LOOK_S)
            if time.monotonic() - buried_s > BURY_S:
                buried_s = time.monotonic()
                for key, holder in list(self._held.items()):
                    if not await self._lives(holder) and self._held.get(key) == holder:
                        self._free(key)
        self._ending = True
        ray.kill(ray.get_runtime_context().current_actor, no_restart=True)

    def _free(self, key: str) -> None:
        del self._held[key]
        self._freed.pop(key, asyncio.Event()).set()

    async def _is_free(self, key: str, holder: Holder) -> bool:
        other = self._held.get(key)
        if other is None or other == holder:
            return True
        if await self._lives(other):
            return False
        if self._held.get(key) == other:  # others looked, too
            self._free(key)
        return key not in self._held

    async def _lives(self, holder: Holder) -> bool:
        """Whether a holder's process lives: a busy one does not answer, a dead one's call fails."""
        if holder.id not in self._pings:
            self._pings[holder.id] = asyncio.ensure_future(_answers(holder.actor))
        ping = self._pings[holder.id]
        done, _ = await asyncio.wait([ping], timeout=PING_S)
        if done:
            self._pings.pop(holder.id, None)
        return not done or ping.result()


async def _answers(actor: Any) -> bool:
    try:
        await actor.__ray_ready__.remote()
    except RayActorError:
        return False
    return True


@dataclass
class RayClaims:
    """This process's claims on artifacts of a store; its twin without Ray is `lineage.publisher.NoClaims`.

    The process must be that of an actor. Pickled, it becomes the claims of the process that it comes to.

    Args:
        name: of the actor that all jobs ask which work in this store.
    """

    name: str
    _actor: Any = field(default=None, init=False)
    _holder: Holder | None = field(default=None, init=False)
    _holding: dict[str, Any] = field(default_factory=dict, init=False)

    def take(self, key: str) -> bool:
        until_s = time.monotonic() + START_S
        while True:
            try:
                if self._actor is None:
                    self._actor = shared_actor(ClaimsActor, self.name).remote()
                granted: Any = ray.get(self._actor.take.remote(key, self._me))
                break
            except RayActorError:  # it had ended
                self._actor = None
                if time.monotonic() > until_s:
                    raise
                time.sleep(PING_S)
        if granted:
            self._holding[key] = self._actor.hold.remote(key, self._me)
        return granted

    def release(self, key: str) -> None:
        self._holding.pop(key, None)
        if self._actor is not None:
            self._actor.release.remote(key, self._me)

    @property
    def _me(self) -> Holder:
        if self._holder is None:
            self._holder = Holder(uuid.uuid4().hex, ray.get_runtime_context().current_actor)
        return self._holder

    def __reduce__(self) -> tuple[type["RayClaims"], tuple[str]]:
        return RayClaims, (self.name,)


def claims_on(store: Store) -> RayClaims:
    """The claims on the artifacts of a store, of all jobs of this cluster."""
    return RayClaims(f"collapse-claims-{store_key(store)}")
