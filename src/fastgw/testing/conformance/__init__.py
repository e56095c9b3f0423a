"""
Suites that every implementation of a port must pass: ours, and yours.

    class TestMyStore(SessionStoreSuite):
        def make_store(self):
            return MyStore("somewhere, the same at every call")

They are plain pytest classes without plugins: each test makes its own event loop. Where an
implementation cannot have something, its suite says which attribute tells so.
"""
