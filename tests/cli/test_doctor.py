"""`fastgw doctor` against a fake gateway: each verdict, and what is said with it."""

from __future__ import annotations

import json

import pytest
from command import BOT_ID, TOKEN, fastgw
from proxies import proxy_server

from fastgw import Intents
from fastgw.cli import _checks
from fastgw.fleet.http.gateway_info import SessionStartLimit
from fastgw.testing import FakeGateway

pytestmark = pytest.mark.one_loop  # the command runs in a process of its own


async def doctor(fake, **environment):
    """Return the checks by name, and the exit code."""
    done = await fastgw("doctor", "--json", "--api-url", fake.api_url, **environment)
    assert TOKEN not in done.stdout + done.stderr
    assert done.stderr == ""
    return {check["name"]: check for check in json.loads(done.stdout)["checks"]}, done.returncode


async def test_a_bot_that_can_run_passes():
    """Token, budget, shards and intents as the API says them; the exit code is 0."""
    async with FakeGateway(token=TOKEN, recommended_shards=7, max_concurrency=2) as fake:
        checks, code = await doctor(fake)
        assert (code, fake.identifies, fake.connections) == (0, [], [])
    assert checks["token"]["found"] == f"accepted by the API, of bot {BOT_ID}"
    assert checks["identifies"]["found"].startswith("1000 of 1000 left")
    assert checks["shards"]["found"].startswith("7 recommended, 2 identify at once")
    assert checks["privileged intents"]["found"].startswith("all enabled")
    for name in ("token", "clock", "identifies", "orjson"):
        assert checks[name]["verdict"] == "ok"
    assert checks["gateway: DNS"]["verdict"] == "ok"
    assert checks["API: TLS"]["verdict"] == "skip"


async def test_intents_that_are_not_enabled_are_named():
    """The application's flags say which; the advice says where to enable the others."""
    allowed = Intents.all() & ~Intents.MESSAGE_CONTENT & ~Intents.GUILD_MEMBERS
    async with FakeGateway(allowed_intents=allowed) as fake:
        checks, _ = await doctor(fake)
    assert checks["privileged intents"]["found"] == "enabled: GUILD_PRESENCES"
    advice = checks["privileged intents"]["advice"]
    assert "GUILD_MEMBERS, MESSAGE_CONTENT is closed with 4014" in advice


async def test_a_refused_token_fails_and_is_not_shown():
    """HTTP 401: what depends on the token is skipped, and the exit code is 1."""
    async with FakeGateway(token="another") as fake:
        checks, code = await doctor(fake)
    assert code == 1
    assert checks["token"]["verdict"] == "fail"
    assert "HTTP 401" in checks["token"]["found"]
    assert {checks[name]["verdict"] for name in ("identifies", "shards", "clock")} == {"skip"}


async def test_an_api_that_tells_the_token_is_not_repeated():
    """What the API says may hold the token; what is shown of it does not."""
    async with FakeGateway() as fake:
        fake.answer_api(400, b'{"message": "bad %s"}' % TOKEN.encode(), times=None)
        checks, code = await doctor(fake)
    assert code == 1
    assert "bad <token>" in checks["API"]["found"]


async def test_no_token_is_said_in_a_screen_of_80_columns():
    """Without a terminal: plain lines, none of them too long, the exit code 1."""
    async with FakeGateway() as fake:
        done = await fastgw("doctor", "--api-url", fake.api_url, token=None)
    assert done.returncode == 1
    assert "fail  token" in done.stdout
    assert "token=" not in done.stdout  # no command has such an argument
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert done.stdout.endswith("1 failed, 0 warned\n") or "warned" in done.stdout


async def test_a_wrong_clock_is_noticed():
    """By the Date of the API's answer."""
    async with FakeGateway() as fake:
        body = json.dumps({"url": fake.url, "shards": 1}).encode()
        fake.answer_api(200, body, headers={"Date": "Wed, 21 Oct 2015 07:28:00 GMT"})
        checks, _ = await doctor(fake)
    assert checks["clock"]["verdict"] == "warn"
    assert "ahead of the API's" in checks["clock"]["found"]


async def test_a_host_without_address_is_a_failure_of_dns():
    """The name is said, and nothing hangs."""
    done = await fastgw("doctor", "--json", "--api-url", "http://nowhere.invalid/api/v10")
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 1
    assert checks["API: DNS"]["verdict"] == "fail"
    assert "nowhere.invalid" in checks["API: DNS"]["found"]


@pytest.mark.parametrize(("scheme", "name"), [("http", "API"), ("https", "API: TLS")])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
async def test_nobody_on_this_machine_is_no_matter_of_the_network(scheme, name, host):
    """What to do is to start what should listen there: neither firewall nor Discord's status."""
    done = await fastgw("doctor", "--json", "--api-url", f"{scheme}://{host}:1/api/v10")
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert (done.returncode, checks[name]["verdict"]) == (1, "fail")
    for check in (checks[name], checks["API"]):
        assert check["advice"].startswith("nothing listens there, on this machine: start it")


async def test_another_api_is_not_said_to_be_discord():
    """An answer of the fake that is none has nothing to do with Discord's status."""
    async with FakeGateway() as fake:
        fake.answer_api(500, b"", times=None)
        checks, _ = await doctor(fake)
    assert checks["API"]["advice"] == "see what it says; --api-url is not Discord's"


async def test_a_certificate_of_nobody_is_refused():
    """The fake's own authority is not one of the system's."""
    async with FakeGateway(tls=True) as fake:
        checks, code = await doctor(fake)
    assert (code, checks["API: TLS"]["verdict"]) == (1, "fail")
    assert "is refused" in checks["API: TLS"]["found"]


@pytest.mark.parametrize("url", ["discord", "http://[::1"])
async def test_a_url_that_is_none_cannot_run(url):
    """One line, exit code 2."""
    done = await fastgw("doctor", "--api-url", url)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("fastgw: ")


@pytest.mark.parametrize("kind", ["http", "socks5"])
async def test_a_proxy_leads_to_the_api(kind):
    """`--proxy`, as the gateway has it: its own name is looked up, its password is not shown."""
    async with proxy_server(kind, "me", "secret") as proxy, FakeGateway(token=TOKEN) as fake:
        done = await fastgw(
            "doctor", "--json", "--api-url", fake.api_url.replace("127.0.0.1", "localhost"),
            "--proxy", proxy.url,
        )  # fmt: skip
        checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
        assert [host for host, _ in proxy.asked] == ["localhost"] * 2  # the two calls of the API
    assert checks["token"]["verdict"] == "ok"
    assert checks["API: DNS"]["found"].startswith("127.0.0.1: 1 address in")
    assert checks["API: DNS"]["found"].endswith("; the proxy resolves localhost")
    assert "secret" not in done.stdout + done.stderr


async def test_tls_begins_behind_the_proxy():
    """The certificate is that of the host, whatever the proxy is."""
    async with proxy_server() as proxy, FakeGateway(tls=True) as fake:
        done = await fastgw("doctor", "--json", "--api-url", fake.api_url, "--proxy", proxy.url)
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert "is refused" in checks["API: TLS"]["found"]
    assert proxy.asked


async def test_a_proxy_that_refuses_is_told():
    """What it answered, and what to look at."""
    async with proxy_server() as proxy, FakeGateway(tls=True) as fake:
        proxy.status = 403
        done = await fastgw("doctor", "--json", "--api-url", fake.api_url, "--proxy", proxy.url)
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 1
    assert "answered HTTP 403" in checks["API: TLS"]["found"]
    assert checks["API: TLS"]["advice"].startswith("check the proxy")
    assert "answered HTTP 403" in checks["API"]["found"]


async def test_a_proxy_that_is_none_is_refused_without_its_password():
    """By the parser: exit code 2, and what it must look like."""
    done = await fastgw("doctor", "--proxy", "ftp://me:secret@proxy")
    assert done.returncode == 2
    assert "it must be http" in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    ("remaining", "shards", "verdict"),
    [(1_000, 16, "ok"), (60, 16, "warn"), (50, 1, "fail"), (0, 1, "fail")],
)
def test_the_budget_is_judged_by_what_a_start_needs(remaining, shards, verdict):
    """Enough for all shards above the reserve, too few for them, none."""
    check = _checks._identifies(SessionStartLimit(1_000, remaining, 3_600.0, 1), shards)
    assert check.verdict.value == verdict


def test_descriptors_are_counted_for_all_shards(monkeypatch):
    """Each connection twice, while it is replaced."""
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, 4_096))
    assert _checks._descriptors(400).verdict.value == "ok"
    short = _checks._descriptors(1_000)
    assert (short.verdict.value, "ulimit -n 2128" in short.advice) == ("fail", True)


def test_descriptors_are_counted_for_the_process_that_needs_most(monkeypatch):
    """Of several processes each has a part of the shards; the supervisor has all workers."""
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, 4_096))
    shared = _checks._descriptors(1_000, processes=4)
    assert (shared.verdict.value, shared.found) == (
        "ok", "1024 allowed, 628 are enough for one of 4 processes with 250 shards",
    )  # fmt: skip
    crowded = _checks._descriptors(1_000, processes=500)
    assert crowded.verdict.value == "fail"
    assert "the supervisor of 500 processes needs 2128" in crowded.found
    assert _checks._descriptors(2, processes=500).found.endswith(
        "136 are enough for the supervisor of 2 processes"
    )
