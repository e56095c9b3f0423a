"""`FakeGateway(host=...)`: wherever it listens, its URLs lead there."""

from __future__ import annotations

import socket

import pytest
from gateways import gateway_to

from fastgw.errors import UsageError
from fastgw.testing import ChaosProxy, FakeGateway, Framing


def hosts() -> list[str]:
    """Return what can be listened on here."""
    found = ["127.0.0.1", "0.0.0.0", "", "localhost"]
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return found  # a kernel without IPv6
    return [*found, "::1", "::"]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("host", hosts())
async def test_the_urls_lead_to_the_gateway(host, tls):
    """Names, both families, all addresses: websocket and API are found there."""
    fake = FakeGateway(host=host, tls=tls)
    async with fake, gateway_to(fake, info=None, api_url=fake.api_url):
        assert fake.api_requests == 1
        assert len(fake.identifies) == 1


@pytest.mark.parametrize("host", hosts())
async def test_a_proxy_finds_the_gateway_behind_it(host):
    """It forwards to where the gateway listens, not to 127.0.0.1 alone."""
    async with FakeGateway(host=host) as fake, ChaosProxy(fake) as proxy:
        gateway = gateway_to(fake, info=proxy.info)
        async with gateway:
            assert proxy.relays_total == 1


@pytest.mark.parametrize(
    ("host", "url"),
    [("::1", "ws://[::1]:0"), ("::", "ws://[::1]:0"), ("0.0.0.0", "ws://127.0.0.1:0"),
     ("localhost", "ws://localhost:0")],
)  # fmt: skip
def test_an_ipv6_address_stands_in_brackets(host, url):
    """RFC 3986 3.2.2; to listen everywhere is to be found on loopback."""
    assert FakeGateway(host=host).url == url


@pytest.mark.parametrize(
    "options",
    [
        *[{"host": host} for host in (5, None, True, b"127.0.0.1", ["::1"])],
        *[{"port": port} for port in (-1, 65_536, "80", None, True, 1.5)],
        *[{"path": path} for path in ("", "x", 5, None, b"/", "/a b", "/?v=10", "/#x")],
        *[{"framing": framing} for framing in (5, "x", Framing)],
        *[{"service": service} for service in (5, "x", FakeGateway)],
    ],
    ids=str,
)
def test_where_nothing_could_listen_is_refused(options):
    """By the constructor; what listens there says nothing at all, or something about sockets."""
    with pytest.raises(UsageError):
        FakeGateway(**options)
