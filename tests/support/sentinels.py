"""Two redis-servers and the three sentinels that look after them, as examples/sentinel has them."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from deadline import scaled
from ports import keep_port, port_of

import redis

EXAMPLES = Path(__file__).parents[2] / "examples" / "sentinel"
SENTINEL = shutil.which("redis-sentinel")
needs_sentinel = pytest.mark.skipif(SENTINEL is None, reason="there is no redis-sentinel")
PASSWORD, SENTINEL_PASSWORD = "of-the-server", "of-the-sentinels"


class Sentinels:
    """
    A master, a replica and three sentinels; `url` is theirs.

    Args:
        folder: for what they keep.
        host: where they listen.
        down_after_ms: until a master that does not answer is down.
        keeps: "aof" as the example does, or "rdb" for `keep` and `go_back`.
    """

    def __init__(
        self, folder: Path, host: str = "127.0.0.1", down_after_ms: int = 1_000, keeps: str = "aof"
    ) -> None:
        self.host = host
        self._folder = folder
        self._down_after_ms = down_after_ms
        self._kept = [keep_port(host) for _ in range(5)]  # until all listen
        *self.ports, one, two, three = map(port_of, self._kept)
        self._sentinel_ports = (one, two, three)
        self._keeps = keeps
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        hosts = ",".join(f"{host}:{port}" for port in self._sentinel_ports)
        self.shown = f"redis+sentinel://{hosts}/mymaster/0"
        self.url = self.shown.replace("//", f"//:{PASSWORD}@") + (
            f"?sentinel_password={SENTINEL_PASSWORD}"
        )

    def start(self) -> None:
        """Start all of it, and wait until each sentinel knows the others and the replica."""
        self._start_server(self.ports[0], None)
        self._start_server(self.ports[1], self.ports[0])
        for port in self._sentinel_ports:
            self._start_sentinel(port)
        self._until(lambda: all(map(self._is_complete, self._sentinel_ports)), "sentinels see all")
        self._until(lambda: self._is_replica(self.ports[1]), "a replica")
        self._let_ports_go()

    def stop(self) -> None:
        """Kill all of it."""
        self._let_ports_go()
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()
        self._processes.clear()

    def master(self) -> int:
        """Return the port of the server that the first sentinel has for the master."""
        with self._sentinel(self._sentinel_ports[0]) as sentinel:
            return int(sentinel.sentinel_get_master_addr_by_name("mymaster")[1])

    def kill_master(self) -> int:
        """Kill the master, wait until the replica has its place, and return the dead one's port."""
        return self.fail_over(lambda port: self.signal(port, signal.SIGKILL))

    def demote_master(self) -> int:
        """Make the replica the master as an operator does; return the port of the former one."""
        with self._sentinel(self._sentinel_ports[0]) as sentinel:
            return self.fail_over(lambda port: sentinel.sentinel_failover("mymaster"))

    def fail_over(self, do: Callable[[int], object]) -> int:
        """Do something to the master, wait until there is another, and return the former's port."""
        former = self.master()
        (replica,) = set(self.ports) - {former}
        self._until(lambda: self._is_replica(replica), "a replica")
        do(former)
        self._until(lambda: self.master() != former, "another master")
        return former

    def wait_for_master(self) -> None:
        """Wait until every sentinel has a master that it hears from, as busy machines are slow."""

        def hears(port: int) -> bool:
            with self._sentinel(port) as sentinel:
                return str(sentinel.sentinel_masters()["mymaster"]["flags"]) == "master"

        self._until(lambda: all(map(hears, self._sentinel_ports)), "a master that is up")

    def signal(self, port: int, number: int) -> None:
        """Send a signal to a server."""
        self._processes[port].send_signal(number)
        if number == signal.SIGKILL:
            self._processes[port].wait()

    def start_again(self, port: int) -> None:
        """Start a dead server as a replica, and wait until it has everything."""
        self._start_server(port, self.master())
        self._until(lambda: self._is_replica(port), "a replica")

    def keep(self) -> None:
        """Go back to this, later."""
        with self.server(self.master()) as client:
            client.save()
        shutil.copy(self._folder / f"{self.master()}.rdb", self._folder / "kept.rdb")

    def go_back(self) -> None:
        """Kill the master, and start it with what was kept, before it counts as down."""
        master = self.master()
        self.signal(master, signal.SIGKILL)
        shutil.copy(self._folder / "kept.rdb", self._folder / f"{master}.rdb")
        self._start_server(master, None)

    def server(self, port: int) -> redis.Redis:
        """Return a way to one server."""
        return redis.Redis(self.host, port, password=PASSWORD, decode_responses=True)

    def _let_ports_go(self) -> None:
        for kept in self._kept:
            kept.close()

    def _sentinel(self, port: int) -> redis.Redis:
        return redis.Redis(
            self.host, port, password=SENTINEL_PASSWORD, decode_responses=True, protocol=2
        )

    def _is_complete(self, port: int) -> bool:
        with self._sentinel(port) as sentinel:
            try:
                seen = sentinel.sentinel_masters()["mymaster"]
            except redis.RedisError:
                return False
            return seen["num-slaves"] == 1 and seen["num-other-sentinels"] == 2

    def _is_replica(self, port: int) -> bool:
        with self.server(port) as client:
            return bool(client.info("replication").get("master_link_status") == "up")

    def _start_server(self, port: int, master: int | None) -> None:
        lines = self._example("redis.conf", port)
        if master is not None:
            lines.append(f"replicaof {self.host} {master}")
        self._run(port, "redis-server", [*lines, "save ''", "repl-diskless-sync-delay 0"])

        def answers() -> bool:
            with self.server(port) as client:
                try:
                    return bool(client.ping())
                except redis.RedisError:
                    return False

        self._until(answers, "a server that answers")

    def _start_sentinel(self, port: int) -> None:
        lines = self._example("sentinel.conf", port)
        self._run(port, str(SENTINEL), lines)

    def _example(self, name: str, port: int) -> list[str]:
        """Return the lines of an example, for this place, without what passwords say."""
        text = (EXAMPLES / name).read_text()
        changes = {
            "change-me-too": SENTINEL_PASSWORD, "change-me": PASSWORD,
            "/var/lib/redis": str(self._folder), "port 6379": f"port {port}",
            "port 26379": f"port {port}\nbind {self.host}",
            "redis-1.internal 6379": f"{self.host} {self.ports[0]}",
            "mymaster 5000": f"mymaster {self._down_after_ms}",
            "mymaster 60000": "mymaster 10000",
        }  # fmt: skip
        for old, new in changes.items():
            text = text.replace(old, new)
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        if self._keeps == "rdb":
            lines = [line for line in lines if line != "appendonly yes"]
        own = [f"appenddirname aof-{port}", f"dbfilename {port}.rdb", f"bind {self.host}"]
        return lines + (own if name == "redis.conf" else [])

    def _run(self, port: int, program: str, lines: list[str]) -> None:
        path = self._folder / f"{port}.conf"  # a sentinel writes to it
        path.write_text("\n".join(lines) + "\n")
        self._processes[port] = subprocess.Popen([program, str(path)], stdout=subprocess.DEVNULL)

    def _until(self, condition, what: str) -> None:  # type: ignore[no-untyped-def]
        end = time.monotonic() + scaled(180.0)
        while not condition():
            assert time.monotonic() < end, f"not in time: {what}\n{self._said()}"
            time.sleep(0.02)

    def _said(self) -> str:
        """Return how each server sees itself."""
        lines = [f"the master is {self.master()}"]
        for port in self.ports:
            try:
                with self.server(port) as client:
                    lines.append(f"{port}: {client.info('replication')}")
            except redis.RedisError as error:  # noqa: PERF203 - two servers
                lines.append(f"{port}: {error}")
        return "\n".join(lines)
