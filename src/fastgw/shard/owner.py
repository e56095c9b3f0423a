"""
The one task of a shard that connects: one attempt after another, each when it is due.

Theory. Only this task begins an attempt, so two causes at once can never make two connections. An
attempt that identifies takes its turn before the socket is opened: a socket that waits for its turn
for minutes would be closed by the service. A bug of ours on the way costs a wait, not the shard.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

from ..errors import FastgwError, FatalError
from ..log import careful_logger
from ..protocol.signals import Cause, Outcome
from ..words import Action
from .link import HeldTurn
from .reconnect import is_permanent

if TYPE_CHECKING:
    from ..protocol.session import Plan
    from .link import ShardSetup
    from .ports import ShardHost
    from .reconnect import ReconnectPolicy

__all__ = ["Attempts", "Owner"]

log = careful_logger("fastgw.shard")


class Attempts(Protocol):
    """What an owner asks of the shard whose attempts it begins. `now` is monotonic seconds."""

    @property
    def is_stopped(self) -> bool:
        """Whether there is to be no further attempt."""

    def plan(self, now: float) -> Plan:
        """Return where to connect next, and whether to resume."""

    async def attempt(self, plan: Plan, turn: HeldTurn | None) -> tuple[Outcome, int]:
        """Make one connection and see it through to its end; how, and how many messages it had."""

    def queue_failed(self, error: Exception) -> None:
        """The identify queue raised: somebody else's, away for a while."""

    def failed(self, bug: Exception) -> None:
        """A step of ours raised."""

    def stopped(self, error: FastgwError | None) -> None:
        """No attempt follows; called once. error is None when the stop was asked for."""


class Owner:
    """
    Makes the attempts of one shard.

    Args:
        shard: whose.
        shard_id: its id, for the identify queue and the log.
        setup: has the identify gate and the compression.
        policy: says when the next attempt is due.
        host: knows whether anything has ever worked.
    """

    __slots__ = ("_held_until", "_host", "_id", "_policy", "_setup", "_shard", "_task")

    def __init__(
        self,
        shard: Attempts,
        shard_id: int,
        setup: ShardSetup,
        policy: ReconnectPolicy,
        host: ShardHost,
    ) -> None:
        self._shard = shard
        self._id = shard_id
        self._setup = setup
        self._policy = policy
        self._host = host
        self._task: asyncio.Task[None] | None = None
        self._held_until = 0.0

    def start(self) -> None:
        """Begin, and go on until the shard is stopped or refused for good."""
        self._task = asyncio.get_running_loop().create_task(
            self._run(), name=f"fastgw shard {self._id}"
        )

    def hold_until(self, at: float) -> None:
        """Begin no attempt before `at`, in monotonic seconds."""
        self._held_until = at

    async def stop(self, patience_s: float) -> None:
        """
        Return when it has ended; cancel it when it has not after `patience_s`.

        With 0 it is cancelled at once: then it waits for a time or a turn, and holds no socket.
        """
        if (task := self._task) is None:
            return
        if patience_s > 0:
            await asyncio.wait((task,), timeout=patience_s)
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))

    async def _run(self) -> None:
        error: FastgwError | None = None
        try:
            error = await self._keep_connected()
        except FatalError as refused:  # the gate is shut: nobody may identify any more
            error = refused
        except asyncio.CancelledError:
            pass  # stop() cancels, and a loop that ends; nobody awaits this task for its result
        finally:
            self._shard.stopped(error)

    async def _keep_connected(self) -> FastgwError | None:
        """Attempt after attempt; return the error that ends it, None for a stop."""
        while not self._shard.is_stopped:  # the stop may have come in any await below
            if (wait_s := self._held_until - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
                continue
            try:
                ended = await self._attempt_when_due()
            except FatalError:
                raise
            except Exception as bug:
                self._shard.failed(bug)
                continue
            if ended is None:
                continue  # the session may have grown too old meanwhile: plan again
            outcome, messages = ended
            if outcome.action is Action.STOP:
                return outcome.error if isinstance(outcome.error, FastgwError) else None
            if self._setup.compression.does_without(outcome.error, messages):
                continue
            # Before anything ever worked, a wrong certificate or no websocket at all is a mistake
            # in the configuration. Later it is a bad moment of the network, and passes.
            if not self._host.was_ready and is_permanent(outcome.error):
                assert isinstance(outcome.error, FastgwError)
                return outcome.error
        return None

    async def _attempt_when_due(self) -> tuple[Outcome, int] | None:
        """Make one attempt, if it is time and there is a turn; wait for the time otherwise."""
        now = time.monotonic()
        plan = self._shard.plan(now)
        attempt_at = self._policy.attempt_at(resume=plan.resume)
        if attempt_at > now:
            await asyncio.sleep(attempt_at - now)
            return None
        try:
            turn = None if plan.resume else HeldTurn(await self._setup.gate.acquire(self._id))
        except FatalError:
            raise
        except Exception as error:  # a queue of the user's, away for a while: ask again
            log.warning(
                "shard %d: the identify queue failed",
                self._id,
                exc_info=error,
                extra={"shard_id": self._id, "cause": Cause.CONNECT_FAILED.value},
            )
            self._shard.queue_failed(error)
            failed = Outcome(Action.IDENTIFY, cause=Cause.CONNECT_FAILED, error=error)
            self._policy.connection_ended(failed, time.monotonic())
            return None
        try:
            return await self._shard.attempt(plan, turn)
        finally:
            if turn is not None:
                turn.release()
