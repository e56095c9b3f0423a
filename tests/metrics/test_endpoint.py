"""The endpoint of a gateway: what it serves, when, and what it never tells."""

import json
import re
import socket
import sys
import threading

import pytest
from deadline import until
from gateways import TOKEN, gateway_to

from fastgw import UsageError
from fastgw.testing import FakeGateway


@pytest.fixture
async def fake():
    async with FakeGateway(heartbeat_interval_ms=1_000) as fake:
        yield fake


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture
def url():
    return f"http://127.0.0.1:{free_port()}"


def served(fake, url, **options):
    return gateway_to(fake, metrics=url.removeprefix("http://"), **options)


async def test_the_document(fake, url, ask):
    """How shards and processes are, and what was counted."""
    gateway = served(fake, url)
    got = []
    gateway.on("MESSAGE_CREATE")(got.append)
    async with gateway:
        fake.dispatch("MESSAGE_CREATE", {})
        await until(lambda: got)
        document = await ask.json(f"{url}/stats.json")
    assert document["version"] == 1
    (shard,) = document["shards"]
    assert (shard["shard_id"], shard["status"], shard["is_ready"]) == (0, "ready", True)
    assert document["counts"]["shards"]["0"]["identifies"] == 1
    assert document["counts"]["total"]["dispatches"] == 2
    assert document["counts"]["events"]["MESSAGE_CREATE"]["delivered"] == 1
    assert document["processes"][0]["silent_for_s"] < 10.0
    assert document["identify_budget"]["remaining"] < document["identify_budget"]["total"]


async def test_prometheus_reads_it(fake, url, ask):
    """Its own parser; names and labels by its conventions, and no event beside a shard."""
    from prometheus_client.parser import text_string_to_metric_families

    async with served(fake, url):
        fake.dispatch("TYPING_START", {})
        fake.cut()
        status, text = await ask(f"{url}/metrics")
        while 'fastgw_shard_reconnects_total{cause="connection lost"' not in text:
            status, text = await ask(f"{url}/metrics")
    assert status == 200
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["fastgw_shard_identifies"].samples[0].value == 1.0
    assert families["fastgw_shard_identifies"].type == "counter"
    assert families["fastgw_latency_seconds"].type == "histogram"
    for family in families.values():
        assert re.fullmatch(r"fastgw[a-z_]*", family.name)
        assert family.documentation
        for sample in family.samples:
            assert not {"event", "shard"} <= sample.labels.keys()
            assert family.type != "counter" or sample.name.endswith("_total")


async def test_it_answers_while_the_loop_is_blocked(fake, url, ask):
    """All paths, from a thread of its own; the document tells by how much the loop is late."""
    answers = []

    def look():
        while True:
            document = json.loads(ask.blocking(f"{url}/stats.json")[1])
            if document["processes"][0]["silent_for_s"] > 0.0:
                break
        answers.extend(ask.blocking(f"{url}/{path}")[0] for path in ("metrics", "readyz"))

    async with served(fake, url):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join(60.0)  # in the loop's own thread
    assert answers == [200, 200]


async def test_alive_and_ready(fake, url, ask):
    """Ready once every shard was; a short absence is none, and how long is too long is asked."""
    fake.mute("READY")
    gateway = served(fake, url)
    await gateway.start()
    await until(lambda: fake.identifies)
    assert await ask(f"{url}/healthz") == (200, "ok\n")
    assert await ask(f"{url}/readyz") == (503, "shard 0: has not been READY yet\n")
    fake.unmute("READY")
    fake.cut()
    await gateway.wait_ready(30.0)
    assert await ask(f"{url}/readyz") == (200, "ok\n")
    fake.refuse_upgrade(503, times=None)
    fake.cut()
    await until(lambda: gateway.health().shards[0].away_for_s)
    assert await ask(f"{url}/readyz") == (200, "ok\n")
    status, text = await ask(f"{url}/readyz?away_s=0")
    assert status == 503
    assert text.startswith("shard 0: away for ")
    for no_time in ("soon", "nan"):
        assert (await ask(f"{url}/readyz?away_s={no_time}"))[0] == 400
    await gateway.close()


async def test_nothing_secret_is_served(fake, url, ask):
    """No token, no session, no URL of it, no text of an error."""
    gateway = served(fake, url)
    async with gateway:
        secrets = [TOKEN, gateway.shards[0].session_id, gateway.shards[0].resume_url]
        fake.refuse_upgrade(503, times=None)
        fake.cut()
        await until(lambda: gateway.health().shards[0].last_error)
        secrets.append(str(gateway.health().shards[0].last_error))
        served_text = ""
        for path in ("metrics", "stats.json", "healthz", "readyz?away_s=0", "nothing"):
            served_text += (await ask(f"{url}/{path}"))[1]
    assert all(secrets)
    assert not [secret for secret in secrets if secret in served_text]


async def test_without_prometheus_client(fake, url, ask, monkeypatch, caplog):
    """The rest is served all the same; the extra is named there, and in the log at the start."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.setitem(sys.modules, "prometheus_client.core", None)
    monkeypatch.delitem(sys.modules, "fastgw.metrics.prometheus", raising=False)
    async with served(fake, url):
        assert await ask(f"{url}/metrics") == (501, 'for /metrics: pip install "fastgw[metrics]"\n')
        assert (await ask(f"{url}/stats.json"))[0] == 200
        assert (await ask(f"{url}/healthz"))[0] == 200
        assert (await ask(f"{url}/elsewhere"))[0] == 404
    (warning,) = [record for record in caplog.records if record.name == "fastgw.metrics"]
    assert warning.levelname == "WARNING"
    assert f"{url}/metrics answers 501: pip install 'fastgw[metrics]'" in warning.getMessage()


async def test_with_prometheus_client_nothing_is_warned_of(fake, url, caplog):
    """The line of the start says where, and no more is said."""
    async with served(fake, url):
        pass
    assert not [r for r in caplog.records if r.name == "fastgw.metrics" and r.levelname != "INFO"]


async def test_it_ends_with_the_gateway(fake, url):
    """The port is free again, and the next gateway takes it."""
    for _ in range(2):
        async with served(fake, url):
            pass


async def test_a_port_that_is_taken(fake):
    """The start fails, and says where."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        gateway = gateway_to(fake, metrics=port)
        with pytest.raises(UsageError, match=f"127.0.0.1:{port}.*choose another port"):
            await gateway.start()


@pytest.mark.parametrize("metrics", ["", "nine", ":9100", "host:", "host:99999", True, 1.5, -1])
def test_what_is_no_address(metrics):
    """Refused where it is written."""
    from fastgw.options import check_metrics

    with pytest.raises(UsageError, match=r"127\.0\.0\.1:9100"):
        check_metrics(metrics)


def test_a_port_alone_is_loopback():
    """Nothing is open to others that was not asked for."""
    from fastgw.options import check_metrics

    assert check_metrics(9100) == check_metrics("9100") == ("127.0.0.1", 9100)
    assert check_metrics("0.0.0.0:9100") == ("0.0.0.0", 9100)
    assert check_metrics("[::1]:9100") == ("::1", 9100)


async def test_no_name_server_is_asked(fake, monkeypatch):
    """One that does not answer would hold the loop where the endpoint is for other machines."""
    asked = []
    monkeypatch.setattr(socket, "getfqdn", lambda *names: asked.append(names) or "host")
    async with gateway_to(fake, metrics=f"0.0.0.0:{free_port()}"):
        pass
    assert asked == []
