"""
Where processes and their Redis stand: on loopback, or each in a network namespace of its own.

`Loopback` has one server, and ways to it that can be cut. `Namespaces` needs root, `ip` and `nft`;
it is a bridge with one address for Redis, a master, a replica and three sentinels, and one for the
gateway; each process is behind a link of its own, and packets to and from either address vanish
when that is cut.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from deadline import scaled
from partition import Partition
from redis_server import RedisServer
from sentinels import SENTINEL, Sentinels

import redis

_NUMBERS = itertools.count()  # a link is gone some time after its namespace
RULES = (
    "add table inet cut; add chain inet cut in { type filter hook input priority 0; }; "
    "add chain inet cut out { type filter hook output priority 0; }"
)


def run(*command: str) -> None:
    """Run a command; a failure raises with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=scaled(60.0))
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")


class LoopbackWay:
    """How a process reaches Redis; the gateway cannot be cut off."""

    def __init__(self, server: RedisServer) -> None:
        self._partition = Partition(server.socket)
        self.prefix: list[str] = []

    async def start(self) -> None:
        if not self._partition.port:
            await self._partition.start()

    @property
    def redis(self) -> str:
        return f"redis://127.0.0.1:{self._partition.port}"

    @property
    def is_used(self) -> bool:
        """Whether the process has come so far as to ask Redis."""
        return self._partition.is_used

    def cut(self, what: str) -> None:
        self._partition.cut()

    def mend(self) -> None:
        self._partition.mend()

    async def stop(self) -> None:
        await self._partition.stop()


class Loopback:
    """All on loopback, one server."""

    gateway_host = "127.0.0.1"
    cuts = ("redis",)

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server = RedisServer(folder)
        self.url = self._server.url
        self.fail_over: Callable[[], None] | None = None

    def way(self) -> LoopbackWay:
        """Return a new process's way."""
        return LoopbackWay(self._server)

    def keep(self) -> None:
        """Go back to this, later."""
        with redis.Redis.from_url(self.url) as client:
            client.save()
        shutil.copy(self._folder / "dump.rdb", self._folder / "kept.rdb")

    def go_back(self) -> None:
        """Die, and start with what was kept."""
        self._server.stop()
        shutil.copy(self._folder / "kept.rdb", self._folder / "dump.rdb")
        self._server.start()

    def stop(self) -> None:
        """Leave nothing."""
        self._server.stop()


class NamespaceWay:
    """A network namespace with a link to the bridge."""

    def __init__(self, ground: Namespaces, number: int) -> None:
        self.name = f"{ground.name}-{number}"
        self.prefix = ["ip", "netns", "exec", self.name]
        self.redis = ground.url
        self._ground = ground
        self._address = ground.address(10 + number % 240)
        self._is_made = False

    async def start(self) -> None:
        if self._is_made:
            return
        self._is_made = True
        link, inside = f"v{self.name[2:]}", ["ip", "-n", self.name]
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", link, "type", "veth", "peer", "name", "wire", "netns", self.name)
        run("ip", "link", "set", link, "master", self._ground.name, "up")
        run(*inside, "address", "add", f"{self._address}/24", "dev", "wire")
        for each in ("lo", "wire"):
            run(*inside, "link", "set", each, "up")
        run(*self.prefix, "nft", RULES)

    def cut(self, what: str) -> None:
        """Let packets of `redis`, `gateway` or `both` vanish."""
        of_redis, of_gateway = self._ground.redis_host, self._ground.gateway_host
        both = f"{{ {of_redis}, {of_gateway} }}"
        hosts = {"redis": of_redis, "gateway": of_gateway, "both": both}[what]
        run(
            *self.prefix, "nft",
            f"add rule inet cut in ip saddr {hosts} drop; "
            f"add rule inet cut out ip daddr {hosts} drop",
        )  # fmt: skip

    def mend(self) -> None:
        run(*self.prefix, "nft", "flush table inet cut")

    async def stop(self) -> None:
        if self._is_made:
            self._is_made = False
            await asyncio.to_thread(run, "ip", "netns", "del", self.name)  # its link goes with it


class Namespaces:
    """Each process in a namespace of its own; Redis with sentinels, and the gateway, outside."""

    cuts = ("redis", "gateway", "both")

    def __init__(self, folder: Path, down_after_ms: int = 2_000) -> None:
        self.name = f"fg{os.getpid()}"
        self._subnet = f"198.18.{os.getpid() % 250 + 1}"  # RFC 2544's test range
        self.redis_host, self.gateway_host = self.address(1), self.address(2)
        self._undo = ExitStack()
        try:
            run("ip", "link", "add", self.name, "type", "bridge")
            self._undo.callback(run, "ip", "link", "del", self.name)
            for host in (self.redis_host, self.gateway_host):
                run("ip", "address", "add", f"{host}/24", "dev", self.name)
            run("ip", "link", "set", self.name, "up")
            self._servers = Sentinels(folder, self.redis_host, down_after_ms, keeps="rdb")
            self._undo.callback(self._servers.stop)
            self._servers.start()
        except BaseException:
            self._undo.close()
            raise
        self.url = self._servers.url
        self.keep, self.go_back = self._servers.keep, self._servers.go_back

    def address(self, number: int) -> str:
        """Return an address on the bridge."""
        return f"{self._subnet}.{number}"

    def way(self) -> NamespaceWay:
        """Return a new process's way."""
        return NamespaceWay(self, next(_NUMBERS))

    def fail_over(self) -> None:
        """Kill the master; when the replica has its place, start the dead one as a replica."""
        self._servers.start_again(self._servers.kill_master())

    def stop(self) -> None:
        """Leave nothing."""
        self._undo.close()


def why_no_namespaces() -> str:
    """Return why `Namespaces` cannot be had here; "" when they can."""
    if not sys.platform.startswith("linux"):
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "network namespaces need root"
    if missing := [name for name in ("ip", "nft") if shutil.which(name) is None]:
        return f"there is no {missing[0]}"
    if SENTINEL is None:
        return "there is no redis-sentinel"
    name = f"fgtry{os.getpid()}"
    try:
        run("ip", "link", "add", name, "type", "bridge")
        run("ip", "link", "del", name)
        run("ip", "netns", "add", name)
        try:
            run("ip", "netns", "exec", name, "nft", RULES)
        finally:
            run("ip", "netns", "del", name)
    except OSError as error:
        return f"network namespaces are not allowed here: {error}"
    return ""
