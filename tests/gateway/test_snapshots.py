"""
Figures are asked for from any thread, while the loop's own thread changes what they are made of.

Here that one gets its turn between any two lines of the question: whatever dict, set, deque or list
the gateway holds loses an item, and has it back at the next line.
"""

import asyncio
import sys
import threading
from collections import deque

from deadline import scaled, until
from gateways import gateway_to, no_jitter

from fastgw import DeliveryLimits
from fastgw.metrics.document import document_of

KINDS = (dict, set, deque, list)


def containers(root):
    """Return what changes and may be walked over, in what a gateway is made of."""
    found, seen, pending = [], set(), [root]
    while pending:
        thing = pending.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, KINDS):
            found.append(thing)
            pending += [*thing, *thing.values()] if isinstance(thing, dict) else thing
        elif isinstance(thing, tuple):
            pending += thing
        elif type(thing).__module__.startswith("fastgw") and not isinstance(thing, type):
            for name in dir(thing):
                if name[:2] != "__":
                    try:
                        pending.append(getattr(thing, name))
                    except Exception:  # a property that holds nothing now
                        continue
    return [thing for thing in found if thing]


class Shaken:
    """
    One container that changes at each line of the package that runs.

    Args:
        begins_with: how many lines it is left alone before: whole at odd ones, or at even ones.
    """

    def __init__(self, container, begins_with):
        self.container = container
        self.put_back = None
        self.left_alone = begins_with

    def shake(self, *_):
        """Take an item out, or put it back."""
        if self.left_alone:
            self.left_alone -= 1
            return self.shake
        held, self.put_back = self.put_back, None
        if held is not None:
            held()
        elif self.container:
            self.put_back = self.take()
        return self.shake

    def take(self):
        """Take the last item out; return what puts it back."""
        container = self.container
        if isinstance(container, dict):
            key, value = container.popitem()
            return lambda: container.__setitem__(key, value)
        item = container.pop()
        return lambda: container.add(item) if isinstance(container, set) else container.append(item)

    def trace(self, frame, event, _):
        """Trace the package's own functions."""
        return self.shake if "fastgw" in frame.f_code.co_filename else None


def asked_in_thread(ask, shaken):
    """Ask in a thread of its own while that container changes; return what was raised."""
    raised = []

    def run():
        sys.settrace(shaken.trace)
        try:
            ask()
        except Exception as error:
            raised.append(error)
        finally:
            sys.settrace(None)
            if shaken.put_back is not None:
                shaken.put_back()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(scaled(10.0))
    return raised


async def test_whatever_changes_meanwhile(fake):
    """None of it raises, and none of it counts what is not there."""
    limits = DeliveryLimits(shard_bytes=20_000)
    async with gateway_to(fake, shards=2, random=no_jitter, limits=limits) as gateway:
        release = asyncio.Event()

        @gateway.on("MESSAGE_CREATE", bound=1)
        async def slow(event):
            await release.wait()

        @gateway.on("MESSAGE_CREATE", bound=1, policy="drop_newest")
        async def dropping(event):
            await release.wait()

        @gateway.on("TYPING_START")
        def failing(event):
            raise ValueError

        stream = gateway.events("MESSAGE_CREATE")
        fake.cut(shard_id=1)
        await until(lambda: gateway.stats().total.resumes_won, 10.0)
        fake.dispatch("TYPING_START", {})
        await until(lambda: gateway.stats().handler_failures)
        for _ in range(4):
            fake.dispatch("MESSAGE_CREATE", {"content": 8_000 * "x"})
        await until(lambda: gateway.health().reading_held_by)
        fake.refuse_upgrade(503, times=None)
        fake.cut(shard_id=1)
        await until(lambda: gateway.health().shards[1].away_for_s is not None)
        commands = [(3, None), (4, {"guild_id": "1"}), (8, None)]
        waiting = [asyncio.ensure_future(gateway.shards[1].send(*each)) for each in commands]
        await until(lambda: gateway.health().shards[1].commands_waiting == len(commands))

        def ask():
            health, stats = gateway.health(), gateway.stats()
            document_of(health, stats, shard_count=2)
            for shard in gateway.shards:
                assert shard.latency is None or shard.latency >= 0.0
                assert repr((shard, shard.send_room, shard.session_id, shard.resume_url))

        found = containers(gateway)
        assert len(found) > 20
        faults = [
            (type(container), list(container)[:3], error)
            for container in found
            for begins_with in (0, 1)
            for error in asked_in_thread(ask, Shaken(container, begins_with))
        ]
        assert faults == []
        release.set()
        for each in waiting:
            each.cancel()
        await stream.aclose()
