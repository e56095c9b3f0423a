"""
`fastgw demo`: the whole path on one machine, measured and verified.

A bot that wants two kinds of events out of a large bot's traffic runs here; the fake gateway runs
in a process of its own, so that the figures are the bot's alone. Half-way the connection is cut.
The verdict rests on three independent facts: the sequence had no gap and no duplicate, as many
dispatches arrived as the service sent, and a checksum over what the handlers saw is the service's.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .. import Event, Gateway, GatewayInfo, Intents, LocalIdentifyQueue, State
from ..errors import UsageError
from ..runner import run_on_best_loop
from . import _view
from ._figures import Frame, Summary

if TYPE_CHECKING:
    from ._report import Recorder

__all__ = ["WANTED", "Service", "fingerprint", "run_demo", "watch_bot"]

# What the demo's bot wants; everything else is dropped unparsed.
WANTED = frozenset({"MESSAGE_CREATE", "INTERACTION_CREATE"})
# Discord's identify limit on a smaller scale: so many keys, each free again after that.
IDENTIFY_KEYS = 16
IDENTIFY_EVERY_S = 0.25
# Messages that begin with this are looked into. The others are delivered, but never parsed.
_DECODED_EVERY = 10
# With a report: the guilds of the start, about 20 MB of JSON, each parsed once.
_GUILDS = 300
# With a report: a moment is kept so often, of a long run less often.
_MOMENT_S = 0.05
# Rates are taken over at least this; what a shorter time shows is chance.
_RATE_WINDOW_S = 0.2
# Once the service has stopped sending: so long nothing may arrive before the rest counts as lost.
_REST_S = 15.0

# The other process has nothing to lose; the runner leaves behind what takes 5 s after Ctrl-C.
_END_S = 2.0


def fingerprint(sequence: int, guild_id: int | None) -> int:
    """Mix what identifies an event; both processes xor these over the wanted ones."""
    return hash((sequence, guild_id or 0))  # of integers: the same in every process


class _Bot:
    """The bot: two handlers, and what they saw."""

    def __init__(self, recorder: Recorder | None = None) -> None:
        self.guilds = 0
        self.delivered = 0
        self.decoded = 0
        self.checksum = 0
        self._recorder = recorder

    def on_guild(self, event: Event) -> None:
        self.guilds += "id" in event.data

    def on_message(self, event: Event) -> None:
        self._note(event)
        if self.delivered % _DECODED_EVERY == 0 and "content" in event.data:
            self.decoded += 1

    async def on_interaction(self, event: Event) -> None:
        self._note(event)
        if event.data["type"]:
            self.decoded += 1

    def _note(self, event: Event) -> None:
        self.delivered += 1
        self.checksum ^= fingerprint(event.sequence, event.guild_id)
        if self._recorder is not None:
            self._recorder.waited(time.monotonic() - event.received_at)


class Service(Protocol):
    """Who sends the events; knows the words `start` and `cut`, and answers `stop` and `where`."""

    def tell(self, word: str) -> None:
        """Say a word that has no answer."""

    async def ask(self, word: str) -> dict[str, Any]:
        """Say a word and wait for its answer."""


class _Service:
    """The other process, and the words it understands."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, rate: int, shards: int, guilds: int) -> tuple[_Service, dict[str, Any]]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "fastgw.cli._demo_service",
            str(rate),
            str(shards),
            str(guilds),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Ctrl-C is for the bot; the service ends with its input.
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # Windows
        )
        service = cls(process)
        try:
            return service, await service._answer()
        except BaseException:
            await service.end()
            raise

    def tell(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(word.encode() + b"\n")

    async def ask(self, word: str) -> dict[str, Any]:
        self.tell(word)
        return await self._answer()

    async def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise UsageError("the demo's fake gateway has died; its error stands above")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise UsageError(answer["error"])
        return answer

    async def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._process.wait(), _END_S)
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


async def _demo(
    seconds: float,
    rate: int,
    shards: int,
    show: Callable[[Frame], None],
    recorder: Recorder | None,
) -> Summary:
    guilds = 0 if recorder is None else _GUILDS
    service, facts = await _Service.start(rate, shards, guilds)
    try:
        return await watch_bot(
            service, facts, seconds, show, shards=shards, recorder=recorder, guilds=guilds
        )
    finally:
        await service.end()


async def watch_bot(
    service: Service,
    facts: dict[str, Any],
    seconds: float,
    show: Callable[[Frame], None],
    *,
    shards: int = 1,
    recorder: Recorder | None = None,
    guilds: int = 0,
) -> Summary:
    """Run the bot for so long, and say what it saw and what the service sent."""
    bot = _Bot(recorder)
    gateway = _gateway_of(bot, facts, shards, guilds)
    start = _Meter()
    gateway.on_progress(lambda progress: show(start.frame(_Whole(gateway), bot)))
    async with _recording(recorder, gateway, seconds, shards), gateway:
        await _wait_for_guilds(bot, gateway, guilds)
        meter = _Meter()
        if recorder is not None:
            recorder.traffic_from = recorder.now_s
        sent = await _traffic(
            service, gateway, seconds, lambda: show(meter.frame(_Whole(gateway), bot)), meter
        )
        unseen, health = await _wait_for_rest(service, gateway)
        frame = meter.frame(health, bot)
        show(frame)
        if recorder is not None:
            recorder.end()
    is_whole = (bot.delivered, bot.checksum) == (sent["wanted"], sent["checksum"])
    return _summary(frame, health, unseen, shards=shards, checksum_matches=is_whole)


def _gateway_of(bot: _Bot, facts: dict[str, Any], shards: int, guilds: int) -> Gateway:
    gateway = Gateway(
        "demo-token",
        intents=Intents.all(),
        info=GatewayInfo(facts["url"], shards),
        identify_queue=LocalIdentifyQueue(
            IDENTIFY_KEYS, interval_s=IDENTIFY_EVERY_S, padding_s=(0.02, 0.05), reserve=0
        ),
        ssl_context=ssl.create_default_context(cadata=facts["authority"]),
    )
    gateway.on("MESSAGE_CREATE")(bot.on_message)
    gateway.on("INTERACTION_CREATE")(bot.on_interaction)
    if guilds:
        gateway.on("GUILD_CREATE")(bot.on_guild)
    return gateway


async def _traffic(
    service: Service, gateway: Gateway, seconds: float, show: Callable[[], None], meter: _Meter
) -> dict[str, Any]:
    """Have the service send for so long, with a cut half-way; return what it says it has sent."""
    service.tell("start")
    while meter.elapsed_s < seconds:
        await _pause(gateway, 0.25)
        show()
        if meter.cut_at_s is None and meter.elapsed_s >= seconds / 2:
            service.tell("cut")
            meter.cut_at_s = meter.elapsed_s
    return await service.ask("stop")


def _summary(
    frame: Frame, health: _Whole, unseen: int, *, shards: int, checksum_matches: bool
) -> Summary:
    """Return the figures of the end; `unseen` is what `_wait_for_rest` says."""
    return Summary(
        seconds=frame.elapsed_s,
        events=frame.events,
        events_per_s=frame.events / frame.elapsed_s,
        megabytes=health.bytes_decoded / 1e6,
        compressed_megabytes=health.bytes_received / 1e6,
        dropped=frame.dropped,
        delivered=frame.delivered,
        decoded=frame.decoded,
        identifies=health.identifies,
        resumes=health.resumes_won,
        replayed=health.events_replayed,
        lost=max(health.missing, unseen),
        duplicated=max(health.duplicates, -unseen),
        checksum_matches=checksum_matches,
        cpu_us_per_event=frame.cpu_us_per_event,
        peak_rss_mb=_peak_mb(),
        shards=shards,
        cut_at_s=frame.cut_at_s,
    )


class _Whole:
    """The figures of all shards at one moment: sums, and the longest latency."""

    def __init__(self, gateway: Gateway) -> None:
        health, total = gateway.health(), gateway.stats().total
        shards = health.shards
        self.unhandled = health.unhandled
        self.shards = len(shards)
        self.ready = sum(shard.status is State.READY for shard in shards)
        self.dispatches = total.dispatches
        self.duplicates = total.duplicates
        self.missing = total.missing
        self.bytes_decoded = total.bytes_decoded
        self.bytes_received = total.bytes_received
        self.identifies = total.identifies
        self.resumes_won = total.resumes_won
        self.events_replayed = total.events_replayed
        latencies = [shard.latency_s for shard in shards if shard.latency_s is not None]
        self.latency_s = max(latencies, default=None)
        self.status = shards[0].status.name.lower() if shards else "starting"
        if self.shards > 1:
            self.status = "ready" if self.is_ready else f"{self.ready} of {self.shards} ready"

    @property
    def is_ready(self) -> bool:
        return self.ready == self.shards


@asynccontextmanager
async def _recording(
    recorder: Recorder | None, gateway: Gateway, seconds: float, shards: int
) -> AsyncIterator[None]:
    """Keep a moment of the run now and then, while the block lasts."""
    if recorder is None:
        yield
        return
    # The figures of many shards take time, which the bot would be charged with.
    every_s = max(_MOMENT_S, seconds / 400, shards * 0.0005)

    async def keep() -> None:
        while True:
            recorder.moment(_Whole(gateway).dispatches, _resident_mb())
            await asyncio.sleep(every_s)

    recorder.begin()
    gateway.on_status(recorder.status_changed)
    keeping = asyncio.ensure_future(keep())
    try:
        yield
    finally:
        keeping.cancel()


async def _wait_for_guilds(bot: _Bot, gateway: Gateway, guilds: int) -> None:
    """Wait until the bot has parsed the guilds of its start; they are no part of the traffic."""
    until = time.monotonic() + _REST_S
    while bot.guilds < guilds and time.monotonic() < until:
        await _pause(gateway, 0.02)


async def _wait_for_rest(service: Service, gateway: Gateway) -> tuple[int, _Whole]:
    """
    Wait until the bot has handled all that was sent, as long as something arrives.

    The service is asked each time: a RESUMED, also a late one, is a dispatch like any other.

    Returns:
        How many dispatches the bot lacks (negative: has too many), and the health at that moment.
    """
    seen, until = 0, time.monotonic() + _REST_S
    while True:
        sequence = (await service.ask("where"))["sequence"]
        health = _Whole(gateway)
        # A session begins at 1, so its last sequence is the number of its dispatches.
        unseen = sequence - (health.dispatches - health.duplicates)
        if not unseen and not health.unhandled and health.is_ready:
            return unseen, health
        if health.identifies > health.shards:
            return 0, health  # what the lost session held is not known; its loss says enough
        if health.dispatches > seen:
            seen, until = health.dispatches, time.monotonic() + _REST_S
        elif time.monotonic() >= until:
            return unseen, health
        await _pause(gateway, 0.02)


async def _pause(gateway: Gateway, seconds: float) -> None:
    """Let time pass; raise what the gateway ended with if it has, as by Ctrl-C in a handler."""
    await asyncio.sleep(seconds)
    if all(shard.status is State.STOPPED for shard in gateway.shards):
        await gateway.wait_closed()


class _Meter:
    """
    Turns counters into rates, from the moment it was made.

    Attributes:
        cut_at_s: when the connections were cut, in its seconds; None before.
    """

    def __init__(self) -> None:
        self.cut_at_s: float | None = None
        self._began = self._last_at = time.monotonic()
        self._cpu = time.process_time()
        self._last_events = 0
        self._last_bytes = 0
        self._events_per_s = 0.0
        self._bytes_per_s = 0.0

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._began

    def frame(self, health: _Whole, bot: _Bot) -> Frame:
        events = health.dispatches - bot.guilds
        now = time.monotonic()
        passed = now - self._last_at
        if passed >= _RATE_WINDOW_S:
            self._events_per_s = (events - self._last_events) / passed
            self._bytes_per_s = (health.bytes_decoded - self._last_bytes) / passed
            self._last_at, self._last_events = now, events
            self._last_bytes = health.bytes_decoded
        return Frame(
            elapsed_s=now - self._began,
            status=health.status,
            events=events,
            events_per_s=self._events_per_s,
            megabytes_per_s=self._bytes_per_s / 1e6,
            dropped=events - bot.delivered,
            delivered=bot.delivered,
            decoded=bot.decoded,
            latency_ms=None if health.latency_s is None else health.latency_s * 1e3,
            cpu_us_per_event=(time.process_time() - self._cpu) / max(events, 1) * 1e6,
            rss_mb=_resident_mb(),
            ready=health.ready,
            shards=health.shards,
            cut_at_s=self.cut_at_s,
        )


def _resident_mb() -> float:
    """Resident memory now where the system tells (Linux), else its peak."""
    with suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    return _peak_mb()


def _peak_mb() -> float:
    """The most memory that was resident, in 10^6 bytes; 0.0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def run_demo(
    seconds: float,
    rate: int,
    *,
    shards: int = 1,
    plain: bool,
    as_json: bool,
    report: Path | None = None,
) -> int:
    """Run the demo and show it; returns the exit code: 0 only if everything held, else 1."""
    recorder = None
    if report is not None:
        from . import _report

        _report.check_target(report)
        recorder = _report.Recorder()
    view = _view.choose(plain=plain or as_json, quiet=as_json, seconds=seconds)
    with view:
        summary = run_on_best_loop(_demo(seconds, rate, shards, view.show, recorder))
    if as_json:
        sys.stdout.write(
            json.dumps(asdict(summary) | {"holds": summary.holds, "faults": summary.faults}) + "\n"
        )
    else:
        view.summarise(summary)
    if report is not None and recorder is not None:
        _report.write(report, recorder, summary)
    return 0 if summary.holds else 1
