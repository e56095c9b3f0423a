"""The parts of a supervisor, each alone: shards, restarts, files, what a service manager hears."""

from __future__ import annotations

import os
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from gateways import gateway_to
from hypothesis import given
from hypothesis import strategies as st

from fastgw import (
    GatewayInfo,
    Intents,
    MemorySessionStore,
    Placement,
    SQLiteSessionStore,
    run_processes,
)
from fastgw.cli import main
from fastgw.errors import UsageError
from fastgw.fleet.turns.identify import LocalIdentifyQueue
from fastgw.gateway import Gateway
from fastgw.processes import state_dir
from fastgw.processes.counting import Counting
from fastgw.processes.layout import parse_shards, split
from fastgw.processes.restarts import CAP_S, FAILED_STARTS, STABLE_S, Restarts
from fastgw.processes.sd_notify import ServiceManager, without_manager
from fastgw.processes.service import EXTEND_S, ServiceTeller
from fastgw.processes.settings import ProcessOptions
from fastgw.processes.shared import SharedRedis, read_url
from fastgw.processes.start import choose_store
from fastgw.processes.status import ProcessesStatus, WorkerStatus
from fastgw.testing import FakeGateway

pytestmark = pytest.mark.skipif(os.name != "posix", reason="workers need a POSIX system")

# ---------------------------------------------------------------------------- where it runs


@pytest.mark.parametrize("run", ["program", "command"])
def test_a_system_without_posix_signals_is_told(run, monkeypatch, capsys):
    """By `run_processes` and `fastgw run` alike, before anything is started or looked for."""
    monkeypatch.delattr(signal, "SIGHUP")
    if run == "program":
        with pytest.raises(UsageError) as told:
            run_processes("bot:gateway")
        said = str(told.value)
    else:
        assert main(["run", "bot:gateway"]) == 2
        said = capsys.readouterr().err
        assert len(said.splitlines()) == 1
    assert "several processes need a POSIX system; here gateway.run() runs the bot" in said


# ---------------------------------------------------------------------------- shards


@pytest.mark.parametrize(
    ("text", "ids"),
    [("0-3", (0, 1, 2, 3)), ("7", (7,)), ("8, 0-2,1", (0, 1, 2, 8)), ("5-5", (5,))],
)
def test_shards_are_read(text, ids):
    """Ids and ranges, in order, each once."""
    assert parse_shards(text) == ids


@pytest.mark.parametrize("text", ["", "3-1", "a", "0-", "-1", "0-99999999999", "1 2", "0,,1"])
def test_shards_written_otherwise_are_refused(text):
    """Nothing is guessed."""
    with pytest.raises(UsageError, match="does not name shards"):
        parse_shards(text)


@given(st.integers(1, 500), st.integers(1, 64))
def test_shards_are_shared_out_evenly(shards, processes):
    """In order, all of them, and no two processes differ by more than one."""
    parts = split(range(shards), processes)
    assert [shard for part in parts for shard in part] == list(range(shards))
    sizes = {len(part) for part in parts}
    assert max(sizes) - min(sizes) <= 1
    assert len(parts) == min(shards, processes)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"target": "bot"}, "not module:name"),
        ({"target": "bot.py:gateway"}, "names a file"),
        ({"target": "bot:a-b"}, "not module:name"),
        ({"processes": 0}, "not a number of processes"),
        ({"processes": True}, "not a number of processes"),
        ({"shard_count": 0}, "not a number of shards"),
        ({"shard_ids": (0, 1)}, "without shard_count"),
        ({"shard_ids": (0, 8), "shard_count": 8}, "must be ids from 0 to 7"),
        ({"stop_timeout_s": 0}, "not a number of seconds"),
        ({"stop_timeout_s": True}, "not a number of seconds"),
        ({"start_timeout_s": float("inf")}, "start_timeout_s=inf is not a number of seconds"),
    ],
)
def test_bad_options_are_refused(options, says):
    """When they are passed, with what to write instead."""
    with pytest.raises(UsageError, match=says):
        ProcessOptions(**{"target": "bot:gateway", **options})


@pytest.mark.parametrize("options", [{"store": Path("x.sqlite")}, {"keeps_sessions": False}])
def test_what_redis_replaces_is_refused_beside_it(options):
    """A file and a server, or none at all and a server: which it is to be, nobody can know."""
    pytest.importorskip("redis")
    with pytest.raises(UsageError, match="leave --store and --in-memory out"):
        ProcessOptions(target="bot:gateway", redis=SharedRedis("redis://host"), **options)


def test_a_url_that_is_none_is_told_by_the_option():
    """Its name, and what one looks like; redis-py need not be there for that."""
    with pytest.raises(UsageError, match=r"^--redis: 'localhost:1' is no URL such as redis://host"):
        SharedRedis("localhost:1")


def test_the_url_of_a_server_is_read_from_a_file(tmp_path):
    """Its first line; what cannot be read is told, and a URL itself is left alone."""
    (tmp_path / "url").write_text("redis://:secret@host\n\n")
    (tmp_path / "empty").write_text("\n")
    assert read_url("redis://host") == "redis://host"
    assert read_url(f"@{tmp_path / 'url'}") == "redis://:secret@host"
    for name in ("empty", "none"):
        with pytest.raises(UsageError, match="cannot be read from"):
            read_url(f"@{tmp_path / name}")


# ---------------------------------------------------------------------------- placement


def place(gateway, **options):
    gateway.place(Placement(shard_ids=(1, 2), shard_count=4, **options))
    return gateway._fleet._options


def test_a_placement_fills_in_what_was_not_given(tmp_path):
    """Shards, store, queue, and the answer of the API with its time."""
    store, info = SQLiteSessionStore(tmp_path / "s.sqlite"), GatewayInfo("wss://gateway.test")
    options = place(
        Gateway("t", intents=Intents.all()),
        store=store, info=info, asked_at=7.0, api_url="http://api.test",
    )  # fmt: skip
    assert (options.shard_ids, options.shard_count) == ((1, 2), 4)
    assert options.store is store
    assert options.answer == (info, 7.0)
    assert options.api_url == "http://api.test"


def test_a_placement_leaves_what_was_given(tmp_path):
    """A store in memory, for a bot that needs READY each time, is one too."""
    mine = MemorySessionStore()
    info = GatewayInfo("wss://mine.test")
    gateway = Gateway("t", intents=Intents.all(), store=mine, info=info)
    options = place(gateway, store=SQLiteSessionStore(tmp_path / "s.sqlite"))
    assert options.store is mine
    assert options.info is info


def test_a_placement_of_what_all_must_share(tmp_path):
    """A gateway with a store or a queue of its own is refused, whichever of the two it is."""
    for own in ({"store": MemorySessionStore()}, {"identify_queue": LocalIdentifyQueue()}):
        with pytest.raises(UsageError, match="leave store= and identify_queue= out"):
            place(Gateway("t", intents=Intents.all(), **own), is_exclusive=True)


def test_a_gateway_that_publishes_keeps_what_is_handled():
    """An event that is not appended yet comes again to whoever has its shard next."""

    class Publisher:
        name = "none"

        async def open(self, handlers, shards):
            """Want nothing."""

        def end(self):
            """End nothing."""

    stores = {"store": MemorySessionStore(), "publishing_store": MemorySessionStore()}
    plain = place(Gateway("t", intents=Intents.all()), **stores)
    publishing = place(Gateway("t", intents=Intents.all(), publish=Publisher()), **stores)
    assert plain.store is stores["store"]
    assert publishing.store is stores["publishing_store"]


async def test_a_placement_that_cannot_be():
    """Shards of the gateway's own, ids beyond the count, and a gateway that was started."""
    with pytest.raises(UsageError, match="leave shards= and shard_count= out"):
        place(Gateway("t", intents=Intents.all(), shards=[0], shard_count=2))
    gateway = Gateway("t", intents=Intents.all())
    with pytest.raises(UsageError, match="must be ids from 0 to 3"):
        gateway.place(Placement(shard_ids=(4,), shard_count=4))
    await gateway.close()
    with pytest.raises(UsageError, match="before start"):
        place(gateway)


# ---------------------------------------------------------------------------- restarts


def test_one_crash_is_followed_at_once_and_more_by_waits():
    """Doubled up to the cap, and forgotten after a good while."""
    restarts = Restarts(lambda: 1.0)
    waits = [restarts.ended(has_started=True, ran_s=0.1) for _ in range(9)]
    assert waits == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, CAP_S, CAP_S, CAP_S]
    assert restarts.ended(has_started=True, ran_s=STABLE_S) == 0.0
    assert restarts.count == 10


def test_a_start_that_the_system_refused_is_no_restart():
    """It waits as after a crash; the starts that failed before it are in a row with those after."""
    restarts = Restarts(lambda: 1.0)
    assert [restarts.refused() for _ in range(3)] == [0.0, 1.0, 2.0]
    assert restarts.count == 0
    for _ in range(FAILED_STARTS - 1):
        restarts.ended(has_started=False, ran_s=0.0)
        restarts.refused()
    assert restarts.ended(has_started=False, ran_s=0.0) is None


def test_starts_that_fail_in_a_row_are_given_up():
    """A start that works in between begins the count anew; crashes of running ones never end it."""
    restarts = Restarts(lambda: 0.0)
    for _ in range(FAILED_STARTS - 1):
        assert restarts.ended(has_started=False, ran_s=0.0) > 0
    assert restarts.ended(has_started=True, ran_s=0.0) is not None
    for _ in range(FAILED_STARTS - 1):
        assert restarts.ended(has_started=False, ran_s=0.0) > 0
    assert restarts.ended(has_started=False, ran_s=0.0) is None


# ---------------------------------------------------------------------------- where it is kept


@pytest.mark.parametrize(
    ("environment", "path"),
    [
        ({"STATE_DIRECTORY": "{tmp}/a:{tmp}/b", "XDG_STATE_HOME": "{tmp}/x"}, "a/fastgw.sqlite"),
        ({"XDG_STATE_HOME": "{tmp}/x"}, "x/fastgw/77/fastgw.sqlite"),
        ({"XDG_STATE_HOME": "relative"}, "home/.local/state/fastgw/77/fastgw.sqlite"),
        ({}, "home/.local/state/fastgw/77/fastgw.sqlite"),
    ],
)
def test_where_the_store_is(tmp_path, monkeypatch, environment, path):
    """Systemd's directory, else that of XDG with the bot's id; it is made."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    given = {name: value.format(tmp=tmp_path) for name, value in environment.items()}
    found = state_dir.default_store(given, 77)
    assert found == tmp_path / path
    assert found.parent.is_dir()


@pytest.mark.parametrize(
    ("api_url", "folder"),
    [
        ("https://discord.com/api/v10", "77"),
        ("https://Canary.Discord.com/api/v10", "77"),
        ("http://127.0.0.1:41881/api/v10", "127.0.0.1/77"),
        ("http://[::1]:41881/api/v10", "--1/77"),
        ("https://not-discord.com/api/v10", "not-discord.com/77"),
    ],
)
def test_an_api_that_is_not_discords_has_a_file_of_its_own(tmp_path, api_url, folder):
    """One for each host: a fake's identifies do not count as the real bot's."""
    given = {"XDG_STATE_HOME": str(tmp_path)}
    found = state_dir.default_store(given, 77, api_url)
    assert found == tmp_path / "fastgw" / folder / "fastgw.sqlite"


def test_a_units_own_directory_is_taken_for_any_api(tmp_path):
    """Whoever set it for this unit has chosen: a bot behind a proxy of the API keeps its file."""
    given = {"STATE_DIRECTORY": str(tmp_path)}
    found = state_dir.default_store(given, 77, "http://127.0.0.1:41881/api/v10")
    assert found == tmp_path / "fastgw.sqlite"


def test_a_directory_that_cannot_be_made(tmp_path):
    """A file is in its way."""
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be made"):
        state_dir.default_store({"STATE_DIRECTORY": str(tmp_path / "file" / "x")}, None)


def test_a_home_that_nobody_knows(monkeypatch):
    """A user of a container without HOME and without a line in /etc/passwd: what to set instead."""

    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    with pytest.raises(UsageError, match="set STATE_DIRECTORY or XDG_STATE_HOME"):
        state_dir.default_store({}, 7)


@pytest.mark.parametrize(
    ("store", "says"),
    [("missing/fastgw.sqlite", "missing is no directory"), (".", "that is a directory")],
)
def test_a_store_that_can_be_no_file(tmp_path, store, says):
    """It is told before anything is asked or started."""
    options = ProcessOptions(target="bot:gateway", store=tmp_path / store)
    with pytest.raises(UsageError, match=says):
        choose_store(options, 7)


@pytest.mark.parametrize(
    ("mark", "environment", "is_one"),
    [
        (".dockerenv", {}, True),
        ("run/.containerenv", {}, True),
        (None, {"container": "systemd-nspawn"}, True),
        (None, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, True),
        (None, {"container": ""}, False),
    ],
)
def test_a_container_is_known_by_its_marks(tmp_path, mark, environment, is_one):
    """Those of Docker, Podman, systemd and Kubernetes."""
    if mark is not None:
        (tmp_path / mark).parent.mkdir(exist_ok=True)
        (tmp_path / mark).touch()
    assert state_dir.in_container(environment, tmp_path) is is_one


def test_a_store_on_the_containers_own_disk_is_told(tmp_path, monkeypatch):
    """It is gone with the container; a volume is another device, and outside nobody is warned."""
    path, inside = tmp_path / "fastgw.sqlite", {"container": "docker"}
    monkeypatch.setattr(state_dir, "mounted_type", lambda mounts, directory: "ext4")
    assert "mount a volume" in state_dir.fleeting(path, inside, device=lambda path: 1)
    devices = {Path("/"): 1, tmp_path: 2}
    assert state_dir.fleeting(path, inside, device=devices.get) is None
    monkeypatch.setattr(state_dir, "in_container", lambda environment: False)
    assert state_dir.fleeting(path, {}, device=lambda path: 1) is None


def test_a_store_in_memory_is_told(monkeypatch):
    """The next boot finds nothing."""
    monkeypatch.setattr(state_dir, "mounted_type", lambda mounts, directory: "tmpfs")
    assert "in memory" in state_dir.fleeting(Path("/x/fastgw.sqlite"), {})


# ---------------------------------------------------------------------------- the service manager


class Manager:
    """Writes down what it is told."""

    is_there = True

    def __init__(self, watchdog_s=None):
        self.watchdog_s = watchdog_s
        self.heard = []

    def tell(self, **variables):
        variables.pop("STATUS")
        self.heard.append(variables)


def status(ready=0, **changes):
    worker = WorkerStatus(
        index=0, pid=1, phase="running", shard_ids=(0, 1), share=2, ready=ready, restarts=0
    )
    values = {"shard_count": 2, "is_closing": False, "is_rolling": False} | changes
    return ProcessesStatus(workers=(worker,), **values)


def test_a_long_start_asks_for_more_time():
    """A thousand shards take minutes, and systemd waits 90 s."""
    manager = Manager()
    teller = ServiceTeller(manager)
    for now in (0.0, 0.5, 1.0, 2.0):
        teller.tell(status(ready=1), now)
    teller.tell(status(ready=2), 2.5)
    teller.tell(status(ready=1), 4.0)  # a shard reconnects: nothing to tell but the line
    more = {"EXTEND_TIMEOUT_USEC": EXTEND_S * 1_000_000}
    assert manager.heard == [more, more, more, {"READY": 1}, {}]


def test_the_watchdog_hears_it_twice_in_its_time():
    """Also while shards are not READY."""
    manager = Manager(watchdog_s=4.0)
    teller = ServiceTeller(manager)
    for quarter in range(40):
        teller.tell(status(ready=2), quarter / 4)
    assert sum("WATCHDOG" in told for told in manager.heard) == 5


def test_a_rolling_restart_is_a_reload():
    """RELOADING=1 with its time, then READY=1; at the end STOPPING=1, once."""
    manager = Manager()
    teller = ServiceTeller(manager)
    for now, one in enumerate(
        [
            status(ready=2), status(ready=2, is_rolling=True), status(ready=2),
            status(is_closing=True), status(is_closing=True),
        ]
    ):  # fmt: skip
        teller.tell(one, float(now))
    assert manager.heard[:4] == [
        {"READY": 1}, {"RELOADING": 1, "MONOTONIC_USEC": 1_000_000}, {"READY": 1}, {"STOPPING": 1},
    ]  # fmt: skip
    assert all(told == {} for told in manager.heard[4:])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="systemd is Linux's")
@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_the_socket_that_systemd_names(tmp_path, kind):
    """A path, or an abstract address, for which it writes @."""
    path = str(tmp_path / "notify") if kind == "path" else f"@fastgw-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path.replace("@", "\0"))
        environment = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "5"}
        ServiceManager(environment, 5).tell(READY=1, STATUS="all well")
        assert sock.recv(100) == b"READY=1\nSTATUS=all well"
    assert ServiceManager(environment, 5).watchdog_s == 3.0
    assert ServiceManager(environment, 6).watchdog_s is None
    ServiceManager(environment, 5).tell(READY=1)  # it is gone: nothing happens
    assert without_manager(environment | {"HOME": "/home/bot"}) == {"HOME": "/home/bot"}


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_nobody_to_tell(environment):
    """Started by hand, or by a manager over something else than Unix sockets."""
    assert not ServiceManager(environment, 1).is_there


# ---------------------------------------------------------------------------- the status


def test_a_line_of_the_status():
    """What is READY, what it cost, and who is not well."""
    one = status(ready=2).workers[0]
    workers = (one, replace(one, index=1, phase="restarting", ready=0, restarts=3, identifies=4))
    line = replace(status(), workers=workers).as_line()
    assert line == (
        "2 of 4 shards READY in 2 workers, 0 events/s, 4 identifies, 0 resumes, 3 restarts here "
        "since the start, restarting: worker 1"
    )


def test_one_of_a_kind_is_said_in_the_singular():
    """1 restarts is no English."""
    one = replace(status(ready=2).workers[0], identifies=1, resumes=1, restarts=1)
    line = replace(status(), workers=(one,)).as_line()
    assert line.endswith(", 1 identify, 1 resume, 1 restart here since the start")


async def test_what_shards_counted_stays_when_they_leave():
    """One that is handed over, stopped and taken again: no figure falls, and none counts twice."""
    counting = Counting()
    async with FakeGateway(recommended_shards=2, max_concurrency=2) as fake:
        gateway = gateway_to(fake)
        gateway.on_status(lambda change: counting.note(change.shard))

        def totals():
            return counting.totals(gateway.stats().total, gateway.shards)

        async with gateway:
            assert totals() == {"events": 2, "identifies": 2, "resumes": 0}
            await gateway.stop_shard(1)
            assert gateway.stats().total.identifies == 1
            for _ in range(2):
                assert totals() == {"events": 2, "identifies": 2, "resumes": 0}
            await gateway.start_shard(1)
            await gateway.wait_ready()
            assert sum(totals().values()) == 6  # READY by an IDENTIFY, or RESUMED by a RESUME
        assert sum(totals().values()) == 6


def test_a_line_of_a_stand_by():
    """Running without a share is no failure: other machines have all shards."""
    one = replace(status(ready=0).workers[0], share=0, shard_ids=(), identifies=0)
    line = replace(status(), workers=(one,)).as_line()
    assert line.startswith("stand-by in 1 worker, no shards yet, 0 events/s, ")
    starting = replace(status(), workers=(replace(one, phase="starting"),)).as_line()
    assert starting.startswith("no shards yet in 1 worker, 0 events/s, ")
    asking = replace(status(), workers=()).as_line()
    assert asking.startswith("no workers yet, 0 events/s, ")
