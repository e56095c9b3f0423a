"""
A real network that fails, in Linux network namespaces: a link that goes down, packets that vanish.

The fake gateway lives in one namespace, the client in another, a veth pair between them. Nothing
leaves them: addresses (RFC 2544's test range), links and rules are made here and go with them.
Needs root and `ip`; the rules need `nft` as well.
"""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from deadline import scaled

pytestmark = pytest.mark.kernel

ENDS = Path(__file__).parents[1] / "support" / "netns_ends.py"
SERVICE, CLIENT = "198.18.0.1", "198.18.0.2"


def run(*command: str) -> str:
    """Run a command; what it printed. A failure raises with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


class End:
    """A process in a namespace, and what it says."""

    def __init__(self, namespace: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, sys.executable, str(ENDS), *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.said: list[dict] = []
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def tell(self, line: object) -> None:
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def wait_for(self, timeout_s: float = 30.0, **what: object) -> dict:
        """Wait until it says something that has these fields; None as a value is any."""
        end = time.monotonic() + scaled(timeout_s)
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {what} within {timeout_s} s, only {self.said}") from None
            assert line, f"it ended before it said {what}, after {self.said}"
            said = json.loads(line)
            self.said.append(said)
            if all(k in said and v in (None, said[k]) for k, v in what.items()):
                return said

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stdin.close()
        self.process.stdout.close()


class Network:
    """Two namespaces and the link between them; `close()` leaves nothing."""

    def __init__(self) -> None:
        self.service, self.client = (f"fastgw-{os.getpid()}-{side}" for side in "sc")
        self._undo = ExitStack()

    def open(self) -> None:
        for namespace in (self.service, self.client):
            run("ip", "netns", "add", namespace)
            # Its end of the link goes with it, and so does the other.
            self._undo.callback(run, "ip", "netns", "del", namespace)
        run("ip", "link", "add", "wire", "netns", self.service, "type", "veth",
            "peer", "name", "wire", "netns", self.client)  # fmt: skip
        for namespace, address in ((self.service, SERVICE), (self.client, CLIENT)):
            run("ip", "-n", namespace, "address", "add", f"{address}/30", "dev", "wire")
            for link in ("lo", "wire"):
                run("ip", "-n", namespace, "link", "set", link, "up")

    def close(self) -> None:
        self._undo.close()

    def start(self, namespace: str, *arguments: str) -> End:
        end = End(namespace, *arguments)
        self._undo.callback(end.end)
        return end

    def link(self, state: str) -> None:
        run("ip", "-n", self.service, "link", "set", "wire", state)

    def nft(self, *command: str) -> str:
        return run("ip", "netns", "exec", self.client, "nft", *command)


@pytest.fixture(scope="module")
def allowed() -> None:
    """Skip where namespaces cannot be had, with the reason."""
    if not sys.platform.startswith("linux"):
        pytest.skip("network namespaces are Linux's")
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if shutil.which("ip") is None:
        pytest.skip("there is no `ip` (iproute2)")
    trial = Network()
    try:
        trial.open()
    except OSError as error:
        pytest.skip(f"network namespaces are not allowed here: {error}")
    finally:
        trial.close()


@pytest.fixture
def network(allowed):
    network = Network()
    try:
        network.open()
        yield network
    finally:
        network.close()


@pytest.fixture
def filtered(network):
    """The network, with a table for rules; skipped where there is no nftables."""
    if shutil.which("nft") is None:
        pytest.skip("there is no `nft` (nftables)")
    try:
        network.nft("add table inet fault")
        for hook in ("input", "output"):
            network.nft(f"add chain inet fault {hook} {{ type filter hook {hook} priority 0; }}")
    except OSError as error:
        pytest.skip(f"nftables do not work here: {error}")
    return network


def lost_and_found(network: Network, loop: str, lose, find) -> dict:
    """
    Bring a client up, cut it off until it notices, then mend the wire.

    Returns what the client says in the end, after all that was dispatched has arrived.
    """
    service = network.start(network.service, "serve", SERVICE)
    url = service.wait_for(url=None)["url"]
    client = network.start(network.client, "connect", url, loop)
    client.wait_for(status="ready")
    lose()
    client.wait_for(cause="zombied")
    client.wait_for(cause="connect failed")  # still cut: the next attempts fail as well
    find()
    client.wait_for(status="ready")
    service.tell("stop")
    figures = service.wait_for(sent=None)
    client.tell(figures["sent"])
    end = client.wait_for(seen=None)
    assert end["seen"] == list(range(figures["sent"]))
    assert figures["identifies"] == end["identifies"] == 1
    assert figures["resumes"] >= 1
    return end


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_link_that_was_down_loses_nothing(network, loop):
    """case 18: down for longer than an interval: noticed, resumed, every event once."""
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    end = lost_and_found(network, loop, lambda: network.link("down"), lambda: network.link("up"))
    assert end["reconnects"]["zombied"] >= 1  # once more where a busy machine kept it from beating


@pytest.mark.parametrize("direction", ["input", "output"])
def test_packets_lost_in_one_direction_lose_nothing(filtered, direction):
    """case 18: only what we send, or only what we get, vanishes: half a connection is none."""

    def lose():
        filtered.nft(f"add rule inet fault {direction} meta l4proto tcp counter drop")

    def find():
        rules = filtered.nft("list chain inet fault", direction)
        assert int(re.search(r"packets (\d+)", rules)[1]) > 0
        filtered.nft("flush chain inet fault", direction)

    end = lost_and_found(filtered, "asyncio", lose, find)
    assert end["reconnects"]["zombied"] >= 1
