"""The package as it is imported: public names, version, and what an import costs others."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

import fastgw
import fastgw.testing

# A name that comes, goes or moves is a change for users: say so in CHANGELOG.md, too.
PUBLIC = """
    Cause Event EventName EventStream Gateway GatewayHealth GatewayInfo IdentifyQueue IdentifyTurn
    Intents LocalIdentifyQueue Opcode SessionStartLimit Shard ShardHealth State StatusChange
    Consumer Timeouts
    AuthenticationFailed CertificateRefused ConnectFailed ConnectTimeout ConnectionClosed
    DecodeError DisallowedIntents FastgwError FatalError GatewayInfoError HandshakeRefused
    HandlerFailure IdentifyBudget IdentifyBudgetSpent MemorySessionStore SQLiteIdentifyQueue
    Interrupted SQLiteSessionStore SessionStore
    InvalidApiVersion InvalidIntents InvalidShard MessageTooBig MissingIntentWarning NotAWebSocket
    NotCompressed
    ProtocolError SendQueueFull SessionLost ShardingRequired UsageError WaitFailed
    Placement ProcessesStatus WorkerFailed WorkerStatus run_processes
    BuildInfo DeliveryLimits StartProgress build_info __version__ shard_id_for
    Fields Filter ValueSet field
    MemberRequest MembersChunk MembersRateLimited ProxyRefused ShardNotHere
    ShardNotRunning CommandTimeout
    Attachment attach
    EventStats GatewayStats LatencyStats ShardStats Timing
"""
PUBLIC_TESTING = """
    ChaosPlan ChaosProxy Command Cut Dispatch FakeConnection FakeGateway FakePeer FakeService
    FakeSession Fault Framing Moment Traffic VirtualClock
    Recorded Recording RecordingWriter play replaying_gateway
"""
EXTRAS = ("httpx", "msgspec", "prometheus_client", "redis", "rich", "trustme")


@pytest.mark.parametrize(
    ("module", "names"),
    [
        pytest.param(fastgw, PUBLIC, id="fastgw"),
        pytest.param(fastgw.testing, PUBLIC_TESTING, id="fastgw.testing"),
    ],
)
def test_public_names(module, names):
    """`__all__` is this list, and all of it is there."""
    assert set(module.__all__) == set(names.split())
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_version_is_the_installed_one():
    """`__version__` and the metadata agree."""
    assert fastgw.__version__ == importlib.metadata.version("fastgw")


def modules_after(statement):
    """Return the names of the modules that a fresh interpreter has imported after `statement`."""
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.split())


def test_the_pytest_plugin_imports_nothing_of_fastgw():
    """It loads in every run of everybody who has fastgw, also beside a picows that does not fit."""
    assert not {
        m for m in modules_after("import pytest_fastgw") if m.startswith(("fastgw", "pico"))
    }


def test_pytest_finds_the_plugin():
    """The entry point names the module that stands outside of the package."""
    (found,) = importlib.metadata.entry_points(group="pytest11", name="fastgw")
    assert found.value == "pytest_fastgw"


@pytest.mark.parametrize("module", ["fastgw", "fastgw.testing", "fastgw.cli"])
def test_an_import_needs_no_extra(module):
    """What the extras bring is imported where it is used."""
    roots = {name.partition(".")[0] for name in modules_after(f"import {module}")}
    assert not roots & set(EXTRAS)


# Each costs more than all of what a small bot uses, and most programs need none of it.
NOT_AT_START = (
    "argparse", "ctypes", "difflib", "email", "http", "importlib.metadata", "json",
    "multiprocessing", "pathlib", "queue", "shutil", "sqlite3", "tempfile", "unittest",
    "urllib.request", "uuid", "xml", "zipfile",
    "fastgw.build", "fastgw.cli", "fastgw.connection.tunnel", "fastgw.ext",
    "fastgw.fleet.http.gateway_info", "fastgw.fleet.http.http_get",
    "fastgw.fleet.stores.boot_clock", "fastgw.fleet.stores.sqlite_file",
    "fastgw.fleet.turns.turn_lines", "fastgw.health", "fastgw.metrics", "fastgw.processes",
    "fastgw.testing", "fastgw.types",
)  # fmt: skip


def test_an_import_leaves_out_what_few_programs_use():
    """What the dependencies bring themselves is theirs to leave out."""
    dependencies = "import aiofastnet, orjson, picows, python_socks.async_.asyncio, zlib_ng.zlib_ng"
    ours = modules_after("import fastgw") - modules_after(dependencies)
    rooms = {
        name for module in ours for name in NOT_AT_START if f"{module}.".startswith(f"{name}.")
    }
    assert rooms == set()


# What every gateway makes of its options or in its first moments. Each takes a millisecond to make
# (3.6 million instructions), a named tuple a fifth of that: 19 of them were a third of what fastgw
# added to an import.
MOST_DATACLASSES = 7


def test_an_import_makes_few_dataclasses():
    """Inside of the package a named tuple does as well; so does a class that is imported later."""
    code = (
        "import sys, fastgw; "
        "print(*sorted({str(k) for m, v in list(sys.modules.items()) if m.startswith('fastgw') "
        "for k in vars(v).values() if isinstance(k, type) and k.__module__.startswith('fastgw') "
        "and '__dataclass_params__' in vars(k)}), sep=chr(10))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = done.stdout.splitlines()
    assert len(found) <= MOST_DATACLASSES, found


@pytest.mark.parametrize("name", sorted(fastgw._LATER))
def test_a_name_is_imported_when_it_is_looked_up(name):
    """Nobody can tell such a name from the others: it is found and listed."""
    code = f"import fastgw; assert {name!r} in dir(fastgw); from fastgw import {name}"
    assert f"fastgw.{fastgw._LATER[name]}" in modules_after(code)


def test_a_name_that_is_none_is_refused_as_ever():
    """The text is that of any module."""
    with pytest.raises(AttributeError, match="module 'fastgw' has no attribute 'gatewya'"):
        fastgw.gatewya  # noqa: B018


def test_types_are_imported_by_those_who_use_them():
    """They cost nothing at run time otherwise."""
    assert not {name for name in modules_after("import fastgw") if name.startswith("fastgw.types")}
    assert "fastgw.types.events" in modules_after("from fastgw import types")
