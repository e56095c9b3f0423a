"""run(): the main program, in a process of its own, ended by signals."""

import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest
from deadline import scaled

from fastgw.errors import UsageError
from fastgw.runner import run_until_closed

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")

PROGRAM = """
import asyncio, logging, os, sys, threading, time

if {without_uvloop}:
    sys.modules["uvloop"] = None

from fastgw.gateway import Gateway
from fastgw.testing import FakeGateway
from fastgw.words import Intents

started = threading.Event()
shared = {{}}

def serve():
    async def main():
        async with FakeGateway() as fake:
            shared.update(fake=fake, loop=asyncio.get_running_loop(), stop=asyncio.Event())
            started.set()
            await shared["stop"].wait()
            shared["sessions"] = dict(fake.service.sessions)
    asyncio.run(main())

server = threading.Thread(target=serve)
server.start()
started.wait()

def say(*words):
    print(*words, flush=True)

def in_server(function, *arguments):
    shared["loop"].call_soon_threadsafe(function, *arguments)

gateway = Gateway("not.a.token", intents=Intents.all(), info=shared["fake"].info, {arguments})

@gateway.on("READY")
def ready(event):
    say("ready", type(asyncio.get_running_loop()).__module__)
    for _ in range({events}):
        in_server(shared["fake"].dispatch, "MESSAGE_CREATE", {{}})

{handlers}

try:
    gateway.run({run})
except BaseException as error:
    say("raised", type(error).__name__, error)
{at_error}
else:
    say("returned")
in_server(shared["stop"].set)
server.join()
say("sessions left", len(shared["sessions"]))
"""


class Program:
    """A bot in a process of its own."""

    def __init__(
        self, handlers="", arguments="", *, run="", events=1, at_error="", without_uvloop=False
    ):
        text = PROGRAM.format(
            handlers=textwrap.dedent(handlers), arguments=arguments, run=run, events=events,
            at_error=at_error, without_uvloop=without_uvloop,
        )  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", text],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.guard = threading.Timer(scaled(30.0), self.process.kill)
        self.guard.start()
        self.said = ""

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.guard.cancel()
        self.process.kill()
        self.process.stdout.close()
        self.process.wait()

    def until(self, text):
        """Read its output until this appears."""
        while text not in self.said:
            line = self.process.stdout.readline()
            assert line, f"it ended without {text!r}:\n{self.said}"
            self.said += line

    def end(self):
        """Read to the end; return all it said."""
        self.said += self.process.stdout.read()
        self.process.wait()
        return self.said


@pytest.mark.parametrize("without_uvloop", [False, True])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(number, without_uvloop):
    """The session ends with 1000, run() returns, the process says 0."""
    if not without_uvloop:
        pytest.importorskip("uvloop")
    with Program(without_uvloop=without_uvloop) as program:
        program.until("ready")
        program.process.send_signal(number)
        said = program.end()
    assert ("ready asyncio" if without_uvloop else "ready uvloop") in said
    assert "returned" in said
    assert "sessions left 0" in said
    assert "closing" not in said  # nobody waits
    assert program.process.returncode == 0


WAITING = """
@gateway.on("MESSAGE_CREATE")
async def handler(event):
    say("handling")
    await asyncio.sleep({seconds})
    say("handled")
"""


@pytest.mark.parametrize("without_uvloop", [False, True])
def test_running_handlers_are_waited_for(without_uvloop):
    """As long as drain_s allows."""
    program = Program(WAITING.format(seconds=0.3), "drain_s=20.0", without_uvloop=without_uvloop)
    with program:
        program.until("handling")
        program.process.send_signal(signal.SIGTERM)
        said = program.end()
    assert said.index("handled") < said.index("returned")


@pytest.mark.parametrize("without_uvloop", [False, True])
@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, "KeyboardInterrupt"), (signal.SIGTERM, "SystemExit 143")]
)
def test_a_second_signal_forces(number, raised, without_uvloop):
    """It does not wait for handlers that take their time."""
    program = Program(WAITING.format(seconds=60), "drain_s=60.0", without_uvloop=without_uvloop)
    with program:
        program.until("handling")
        program.process.send_signal(number)
        threading.Event().wait(0.3)  # or the system may deliver the two as one
        program.process.send_signal(number)
        said = program.end()
    assert f"raised {raised}" in said
    assert "handled" not in said


@pytest.mark.parametrize(
    ("number", "another"),
    [(signal.SIGINT, "Ctrl-C again"), (signal.SIGTERM, "a second signal")],
)
def test_who_waits_for_handlers_is_told(number, another):
    """Without any logging set up: how long it may take, for what, and how to end it at once."""
    with Program(WAITING.format(seconds=60), "drain_s=60.0") as program:
        program.until("handling")
        program.process.send_signal(number)
        program.until(f"closing: up to 60 s for 1 handler; {another} ends at once")
        program.process.send_signal(number)
        program.end()


@pytest.mark.parametrize("without_uvloop", [False, True])
@pytest.mark.parametrize("kind", ["async", "sync"])
def test_a_second_signal_shows_no_frames_of_ours(kind, without_uvloop):
    """The traceback is that of the call of run(), not of what the signal met inside."""
    handlers = WAITING.format(seconds=60) if kind == "async" else BLOCKING["sync"]
    after = "    import traceback\n    traceback.print_exception(error)\n"
    with Program(
        handlers, "drain_s=60.0", at_error=after, without_uvloop=without_uvloop
    ) as program:
        program.until("handling")
        program.process.send_signal(signal.SIGINT)
        threading.Event().wait(0.3)
        program.process.send_signal(signal.SIGINT)
        said = program.end()
    assert "raised KeyboardInterrupt" in said
    assert said.count("  File ") == 3  # the program, Gateway.run, the runner


REFUSING = """
from fastgw.testing import Moment
refuse = lambda peer: peer.close(4004, "Authentication failed.")
shared["fake"].instead_of(Moment.IDENTIFY, refuse, times=None)
"""


@pytest.mark.parametrize("without_uvloop", [False, True])
def test_a_refused_token_shows_no_frames_of_ours(without_uvloop):
    """What to do stands below the line of the program that called run()."""
    after = "    import traceback\n    traceback.print_exception(error)\n"
    with Program(REFUSING, at_error=after, without_uvloop=without_uvloop) as program:
        said = program.end()
    assert "raised AuthenticationFailed close code 4004: the token was refused" in said
    assert said.count("  File ") == 2  # the program, Gateway.run


def test_it_says_that_the_bot_is_up():
    """One line, without any logging set up; a newcomer sees nothing else until an event comes."""
    with Program(events=0) as program:
        program.until("the bot is up: its shard is READY")
        program.process.send_signal(signal.SIGINT)
        assert program.end().count("the bot is up") == 1


@pytest.mark.parametrize(("level", "times"), [("INFO", 1), ("WARNING", 0)])
def test_whoever_sets_up_logging_has_a_record_of_it(level, times):
    """And only that: at its level."""
    with Program(f"logging.basicConfig(level=logging.{level})", "shards=3", events=0) as program:
        for _ in range(3):
            program.until("ready uvloop")
            program.said = program.said.replace("ready uvloop", "one is there")
        program.process.send_signal(signal.SIGINT)
        said = program.end()
    assert said.count("INFO:fastgw.gateway:the bot is up: all 3 shards are READY") == times
    assert said.count("the bot is up") == times


BLOCKING = {
    "sync": """
    @gateway.on("MESSAGE_CREATE")
    def handler(event):
        say("handling")
        time.sleep(60)
    """,
    "sync, twice": """
    def handler(event):
        say("handling")
        time.sleep(60)

    @gateway.on("MESSAGE_CREATE")
    def another(event):
        say("handling")
        time.sleep(60)

    gateway.on("MESSAGE_CREATE")(handler)
    """,
    "sync, of fields": """
    @gateway.on("MESSAGE_CREATE", where=None)
    def handler(event):
        say("handling")
        time.sleep(60)
    """,
    "sync, which catches everything": """
    @gateway.on("MESSAGE_CREATE")
    def handler(event):
        say("handling")
        try:
            time.sleep(60)
        except:
            pass
    """,
    "async": """
    @gateway.on("MESSAGE_CREATE", bound=1)
    async def handler(event):
        say("handling")
        time.sleep(60)
    """,
    "async, which catches everything": """
    @gateway.on("MESSAGE_CREATE", bound=1)
    async def handler(event):
        await asyncio.sleep(0)
        say("handling")
        try:
            time.sleep(60)
        except:
            pass
    """,
    "iterator": """
    async def own():
        async for event in gateway.events("MESSAGE_CREATE"):
            say("handling")
            time.sleep(60)

    @gateway.on("READY")
    def begin(event):
        shared["task"] = asyncio.create_task(own())
    """,
}


@pytest.mark.parametrize("without_uvloop", [False, True])
@pytest.mark.parametrize("handlers", BLOCKING.values(), ids=BLOCKING)
def test_a_second_signal_gets_through_a_blocked_loop(handlers, without_uvloop):
    """case 56: a handler that blocks the loop cannot hold the process, however many events wait."""
    with Program(handlers, events=20, without_uvloop=without_uvloop) as program:
        program.until("handling")
        program.process.send_signal(signal.SIGINT)
        threading.Event().wait(0.3)
        program.process.send_signal(signal.SIGINT)
        said = program.end()
    assert "raised KeyboardInterrupt" in said
    assert said.count("handling") == 1


STUBBORN = {
    "handler": """
    @gateway.on("MESSAGE_CREATE")
    async def handler(event):
        say("handling")
        while True:
            try:
                await asyncio.sleep(60)
            except:
                pass
    """,
    "task": """
    async def own():
        say("handling")
        while True:
            try:
                await asyncio.sleep(60)
            except:
                pass

    @gateway.on("MESSAGE_CREATE")
    def begin(event):
        shared["task"] = asyncio.create_task(own())
    """,
    "generator": """
    async def generate():
        say("handling")
        try:
            yield
        finally:
            while True:
                try:
                    await asyncio.sleep(60)
                except:
                    pass

    @gateway.on("MESSAGE_CREATE")
    async def begin(event):
        shared["generator"] = generator = generate()
        await anext(generator)
    """,
    "thread": """
    import atexit
    leave = threading.Event()
    threading._register_atexit(leave.set)

    @gateway.on("MESSAGE_CREATE")
    async def handler(event):
        say("handling")
        await asyncio.to_thread(leave.wait)
    """,
}


@pytest.mark.parametrize("without_uvloop", [False, True])
@pytest.mark.parametrize("handlers", STUBBORN.values(), ids=STUBBORN)
def test_what_does_not_end_is_left_behind(handlers, without_uvloop):
    """case 57: run() returns although something swallows its cancellation, and says what."""
    before = "import fastgw.runner\nfastgw.runner.PATIENCE_S = 0.2\n"
    with Program(
        before + textwrap.dedent(handlers), run="drain_s=0.1", without_uvloop=without_uvloop
    ) as program:
        program.until("handling")
        program.process.send_signal(signal.SIGTERM)
        said = program.end()
    assert "returned" in said
    assert "is left behind" in said
    assert "sessions left 0" in said


def test_run_may_say_drain_s():
    """It takes the place of the constructor's, whatever ends it."""
    handlers = """
    @gateway.on("MESSAGE_CREATE")
    async def handler(event):
        say("handling")
        await asyncio.sleep(60)
    """
    with Program(handlers, "drain_s=60.0", run="drain_s=0.1") as program:
        program.until("handling")
        program.process.send_signal(signal.SIGTERM)
        said = program.end()
    assert "cancelled after 0.1 s of grace" in said
    assert "returned" in said


EXITS = {
    "sync": """
    @gateway.on("MESSAGE_CREATE")
    def handler(event):
        sys.exit(7)
    """,
    "async": """
    @gateway.on("MESSAGE_CREATE")
    async def handler(event):
        sys.exit(7)
    """,
    "async, after an await": """
    @gateway.on("MESSAGE_CREATE")
    async def handler(event):
        await asyncio.sleep(0.01)
        sys.exit(7)
    """,
    "a task of the program's own": """
    async def own():
        await asyncio.sleep(0.01)
        sys.exit(7)

    @gateway.on("MESSAGE_CREATE")
    def handler(event):
        shared["task"] = asyncio.create_task(own())
    """,
    "iterator": """
    async def own():
        async for event in gateway.events("MESSAGE_CREATE"):
            sys.exit(7)

    @gateway.on("READY")
    def begin(event):
        shared["task"] = asyncio.create_task(own())
    """,
}


@pytest.mark.parametrize("without_uvloop", [False, True])
@pytest.mark.parametrize("handlers", EXITS.values(), ids=EXITS)
def test_a_handler_may_exit(handlers, without_uvloop):
    """case 58: sys.exit() anywhere ends the session first, and reaches the caller of run()."""
    with Program(handlers, without_uvloop=without_uvloop) as program:
        said = program.end()
    assert "raised SystemExit 7" in said
    assert "sessions left 0" in said


def test_others_are_waited_for_when_a_handler_exits():
    """The close is that of a signal: running handlers have their grace."""
    handlers = """
    @gateway.on("MESSAGE_CREATE")
    async def slow(event):
        await asyncio.sleep(0.2)
        say("handled")

    @gateway.on("MESSAGE_CREATE")
    async def quits(event):
        await asyncio.sleep(0.01)
        sys.exit(7)
    """
    with Program(handlers, "drain_s=20.0") as program:
        said = program.end()
    assert said.index("handled") < said.index("raised SystemExit 7")


def test_run_raises_what_stopped_it():
    """A fatal close is the error of run()."""
    handlers = """
    @gateway.on("MESSAGE_CREATE")
    def handler(event):
        in_server(shared["fake"].close, 4004)
    """
    with Program(handlers) as program:
        said = program.end()
    assert "raised AuthenticationFailed" in said


class _Runnable:
    """A gateway without network."""

    def __init__(self):
        self.calls = []

    async def start(self):
        self.calls.append("start")

    async def wait_closed(self):
        self.calls.append("wait_closed")

    async def close(self):
        self.calls.append("close")


def test_run_works_outside_the_main_thread():
    """Python allows signal handlers in the main thread only: elsewhere it does without."""
    gateway = _Runnable()
    thread = threading.Thread(target=run_until_closed, args=(gateway,))
    thread.start()
    thread.join()
    assert gateway.calls == ["start", "wait_closed"]


def test_signal_handlers_are_put_back():
    """What the program had before is there again."""
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    run_until_closed(_Runnable())
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


async def test_not_inside_a_loop():
    """It would block it."""
    with pytest.raises(UsageError, match="await start"):
        run_until_closed(_Runnable())
