"""The dashboard of examples/grafana: a real Prometheus has data for each of its panels."""

import asyncio
import json
import shutil
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from deadline import scaled, until
from gateways import gateway_to
from ports import keep_port, port_of
from redis_server import RedisServer, needs_redis

pytest.importorskip("redis")

from fastgw import DeliveryLimits, field
from fastgw.redis import Consumer, Publisher
from fastgw.testing import FakeGateway

PATH = Path(__file__).parents[2] / "examples" / "grafana" / "fastgw.json"
PROMETHEUS = shutil.which("prometheus")
CONFIGURATION = """
global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}
scrape_configs:
  - job_name: fastgw
    static_configs: [{{targets: ["127.0.0.1:{port}", "127.0.0.1:{consumer}"]}}]
"""

pytestmark = [
    pytest.mark.prometheus,
    needs_redis,
    pytest.mark.skipif(PROMETHEUS is None, reason="needs Debian's package prometheus"),
    pytest.mark.skipif(not PATH.exists(), reason="the dashboard is beside the source"),
]


def queries():
    """Return all queries of all panels, as Grafana asks them with a scrape every few seconds."""
    panels = json.loads(PATH.read_text().replace("$__rate_interval", "1m"))["panels"]
    return {
        f"{panel['title']} ({target['refId']})": target["expr"]
        for panel in panels
        for target in panel["targets"]
    }


async def query(url, expression):
    """Ask Prometheus; return what it has, numbers alone."""

    def get():
        with urllib.request.urlopen(
            f"{url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}", timeout=20.0
        ) as answer:
            return json.load(answer)["data"]["result"]

    try:
        found = await asyncio.to_thread(get)
    except OSError:
        return []
    return [one for one in found if one["value"][1] != "NaN"]


async def live(fake, gateway):
    """Have every kind of thing happen that a panel shows, again and again."""
    n = 0
    while True:
        for _ in range(40):
            n += 1
            fake.dispatch("MESSAGE_CREATE", {"n": n}, shard_id=n % 2)
            fake.dispatch("TYPING_START", {}, shard_id=n % 2)
        if n % 400 == 0:
            fake.close(4000, shard_id=0)
        await asyncio.sleep(0.1)


async def test_every_panel_has_data(tmp_path):
    """Each query returns something while a fleet and a consumer live through a bit of all."""
    kept = [keep_port() for _ in range(3)]
    ports = [*map(port_of, kept)]
    url = f"http://127.0.0.1:{ports[1]}"
    (tmp_path / "prometheus.yml").write_text(CONFIGURATION.format(port=ports[0], consumer=ports[2]))
    server = RedisServer(tmp_path)
    bot = Consumer(server.url, group="bot", shards=2, metrics=ports[2])
    bot.on("TYPING_START")(lambda event: None)
    async with FakeGateway(recommended_shards=2, heartbeat_interval_ms=1_000) as fake:
        gateway = gateway_to(
            fake, shards=2, metrics=ports[0], limits=DeliveryLimits(running=4), compress="auto",
            publish=Publisher(server.url),
        )  # fmt: skip

        @gateway.on("MESSAGE_CREATE", where=field("n").is_in(range(0, 1_000_000, 3)))
        async def slow(event):
            await asyncio.sleep(0.001)
            raise ValueError("for the panel of failures")

        process = await asyncio.create_subprocess_exec(
            PROMETHEUS, f"--config.file={tmp_path}/prometheus.yml",
            f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{ports[1]}",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        living = None
        try:
            async with bot, gateway:
                living = asyncio.create_task(live(fake, gateway))
                await until(lambda: gateway.stats().total.resumes_won, 60.0)
                missing, end = queries(), time.monotonic() + scaled(60.0)
                while missing:
                    assert time.monotonic() < end, f"no data for {missing}"
                    for title, expression in list(missing.items()):
                        if await query(url, expression):
                            del missing[title]
                    await asyncio.sleep(0.5)
                living.cancel()
        finally:
            if living is not None:
                living.cancel()
            process.kill()
            await process.wait()
            server.stop()
            for one in kept:
                one.close()
