"""The way to Discord as `Gateway` is told it: proxies, headers, paths, TLS."""

import logging
import ssl
import traceback

import pytest
from gateways import gateway_to
from proxies import proxy_server

from fastgw import Gateway, GatewayInfo, GatewayInfoError, Intents, ProxyRefused, UsageError
from fastgw.testing import FakeGateway

SECRET = "hunter2"


@pytest.mark.parametrize("kind", ["http", "socks5"])
@pytest.mark.parametrize("tls", [False, True])
async def test_everything_goes_through_the_proxy(kind, tls):
    """The call of the API, and the connection of every shard."""
    async with FakeGateway(tls=tls, recommended_shards=2) as fake, proxy_server(kind) as proxy:
        async with gateway_to(fake, info=None, api_url=fake.api_url, proxy=proxy.url):
            assert proxy.asked == [("127.0.0.1", fake.port)] * 3
        assert (b"GET /api/v10/gateway/bot" in proxy.passed) == (not tls)


async def test_the_environment_is_obeyed_when_asked_for(monkeypatch):
    """And only then: a program may have its own reasons for these variables."""
    async with FakeGateway() as fake, proxy_server() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "")
        async with gateway_to(fake):
            assert proxy.asked == []
        async with gateway_to(fake, proxy="environment"):
            assert proxy.asked == [("127.0.0.1", fake.port)]
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        async with gateway_to(fake, proxy="environment"):
            assert len(proxy.asked) == 1


async def test_a_proxy_that_refuses_ends_the_start(caplog):
    """It will not change its mind; the password that it refused is nowhere to be read."""
    caplog.set_level(logging.DEBUG)
    async with FakeGateway() as fake, proxy_server("http", "me", "other") as proxy:
        proxy_url = proxy.url.replace("other", SECRET)
        for info in (None, fake.info):
            gateway = gateway_to(fake, info=info, api_url=fake.api_url, proxy=proxy_url)
            with pytest.raises(ProxyRefused, match="HTTP 407") as caught:
                async with gateway:
                    pass
            told = "".join(traceback.format_exception(caught.value))
            assert SECRET not in told + repr(gateway) + repr(gateway.health()) + caplog.text


async def test_headers_go_with_every_request():
    """Of the API and of the websocket; a User-Agent of one's own stands instead of ours."""
    headers = {"X-Own": "1", "user-agent": "DiscordBot (own)"}
    async with FakeGateway() as fake, proxy_server() as proxy:
        options = {"info": None, "api_url": fake.api_url, "proxy": proxy.url}
        async with gateway_to(fake, http_headers=headers, **options):
            (connection,) = fake.connections
            assert connection.headers["x-own"] == "1"
            assert connection.headers["user-agent"] == "DiscordBot (own)"
        assert proxy.passed.count(b"X-Own: 1\r\n") == 2
        assert proxy.passed.count(b"User-Agent: DiscordBot (own)\r\n") == 2


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ("X: 1", "a mapping"),
        ({5: "1"}, "not the name of a header"),
        ({"X Own": "1"}, "not the name of a header"),
        ({"X\r\nOwn": "1"}, "not the name of a header"),
        ({"X-Own": SECRET + "\r\nHost: x"}, "printable ASCII"),
        ({"X-Own": 5}, "printable ASCII"),
        ({"authorization": "Bot x"}, "set by fastgw itself"),
        ({"Host": "x"}, "set by fastgw itself"),
        ({"Sec-WebSocket-Extensions": "permessage-deflate"}, "set by fastgw itself"),
    ],
)
def test_a_header_that_cannot_be(headers, message):
    """It would break the request, or contradict what we say; a value is not shown."""
    with pytest.raises(UsageError, match=message) as caught:
        Gateway("t" * 20, intents=0, http_headers=headers)
    assert SECRET not in str(caught.value)


async def test_a_gateway_behind_a_path():
    """Another server in front of it has the rest of the host; RESUME goes there, too."""
    async with FakeGateway(path="/bots/gateway") as fake, gateway_to(fake) as gateway:
        assert fake.url.endswith("/bots/gateway")
        fake.cut()
        await fake.wait_for(lambda: fake.resumes and fake.is_ready())
        assert gateway.shards[0].resume_url == fake.url


# --- what must not be lost by accident -----------------------------------------------------------


def unverified():
    return ssl._create_unverified_context()


def bare():
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def without_host_name():
    context = ssl.create_default_context()
    context.check_hostname = False
    return context


def optional():
    context = without_host_name()
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


@pytest.mark.parametrize("make", [unverified, without_host_name, optional])
def test_a_context_that_does_not_verify_is_refused(make):
    """Whoever is on the way would have the token."""
    with pytest.raises(UsageError, match="does not verify"):
        Gateway("t" * 20, intents=0, ssl_context=make())


@pytest.mark.parametrize("context", [False, True, "ca.pem"])
def test_what_is_no_context_is_refused(context):
    """`False` switches verification off elsewhere; here it would be no context at all."""
    with pytest.raises(UsageError, match=r"not an ssl\.SSLContext"):
        Gateway("t" * 20, intents=0, ssl_context=context)


@pytest.mark.parametrize("make", [bare, ssl.create_default_context])
def test_a_context_that_verifies_is_taken(make):
    """Whatever it trusts."""
    assert Gateway("t" * 20, intents=0, ssl_context=make())


async def test_the_api_cannot_lead_away_from_tls():
    """The token goes to the URL that it gives."""
    async with FakeGateway(tls=True) as fake:
        fake.answer_api(200, b'{"url": "ws://127.0.0.1:1", "shards": 1}')
        gateway = gateway_to(fake, info=None, api_url=fake.api_url)
        with pytest.raises(GatewayInfoError, match="without TLS"):
            await gateway.start()


@pytest.mark.parametrize(
    "make",
    [
        lambda: GatewayInfo(f"wss://me:{SECRET}@gateway.discord.gg"),
        lambda: GatewayInfo(f"https://me:{SECRET}@gateway.discord.gg"),
        lambda: Gateway("t" * 20, intents=Intents.none(), api_url=f"https://me:{SECRET}@h/api"),
        lambda: Gateway("t" * 20, intents=Intents.none(), api_url=f"ftp://me:{SECRET}@h/api"),
    ],
)
async def test_credentials_in_a_url_are_refused_and_not_shown(make):
    """Nobody would be told them; and everything that shows the URL would."""
    with pytest.raises(UsageError) as caught:
        await make().start()
    assert SECRET not in "".join(traceback.format_exception(caught.value))
