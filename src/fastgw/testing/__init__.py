"""
A Discord gateway for tests: `FakeGateway` on loopback, `FakePeer` without IO, synthetic `traffic`.

    async with FakeGateway() as fake:
        fake.dispatch("MESSAGE_CREATE", {"content": "hi", "channel_id": "1"})

Nothing here needs the internet or a token. See the submodules for what each part can do.
"""
