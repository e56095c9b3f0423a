"""
The ledger of a shard: its deliveries that are not finished.

A delivery is one event on its way to one subscription: it waits for its turn, its coroutine runs,
or an iterator holds it. What a sync handler got is finished when the call returns and never stands
here. What reads the ledger: the bounds on memory (bytes), the drain at the close, health, and the
store that keeps how far a session was handled (sequences).

Who opens a delivery closes it, once: with `done` when it is handled, which is also when its handler
failed or a policy dropped it; with `abandon` when we ended it ourselves before it was.

Compiled because every event of an async handler that waits, and of an iterator, passes here:
bench/test_handlers.py, "waits once": 2.2 of create_task, and 2.6 in plain Python.
"""

cimport cython

from .._decode cimport Event

from time import monotonic

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX

# What a delivery holds beside the bytes of its message: event, entries in tables, a coroutine.
OVERHEAD_BYTES = 512
cdef Py_ssize_t _OVERHEAD_BYTES = OVERHEAD_BYTES

cdef enum:
    TIMED_EVERY = 64                # deliveries; a power of two


@cython.final
@cython.freelist(64)
cdef class Delivery:
    """
    One event on its way to one party.

    Args:
        holder: the party that has to finish it.
        origin: the event, or as much of one as was made: something with its `name`, `sequence`,
            `shard_id`, `received_at` and `message_bytes`. Without a ledger it is anything, such as
            a StatusChange.
        arguments: what the party is given: the event itself, or what was made of it.
        ledger: where it stands while it is open; None for what is no event.
        drops: the holder drops events rather than let reading stop for it.

    Attributes:
        sequence: the event's; -1 when it is not one of the current session.
        size: bytes that it holds while it is open.
    """

    def __init__(self, holder, origin, tuple arguments not None, Ledger ledger, bint drops=False):
        self.holder = holder
        self.origin = origin
        self.arguments = arguments
        self.ledger = ledger
        self.drops = drops
        if ledger is None:
            self.sequence = -1
        elif type(origin) is Event:
            self.sequence = (<Event>origin).sequence
            self.size = len((<Event>origin)._message) + _OVERHEAD_BYTES
        else:
            self.sequence = origin.sequence
            self.size = origin.message_bytes + _OVERHEAD_BYTES

    cpdef int open(self) except -1:
        """Enter it in its ledger."""
        if self.ledger is not None:
            self.ledger.deliveries.add(self)
            self.ledger.bytes += self.size
            self.ledger.book.bytes += self.size
            if self.drops:
                self.ledger.dropping_bytes += self.size
                self.ledger.book.dropping_bytes += self.size
            self.ledger.book._opened += 1
            if self.ledger.book._opened & (TIMED_EVERY - 1) == 0:
                self._timed_at = monotonic()
            self.ledger._rose()
        return 0

    cpdef int begin(self) except -1:
        """Note that its handler begins, after it has waited."""
        if self._timed_at and self.ledger.book.waited is not None:
            now = monotonic()
            self.ledger.book.waited(now - self._timed_at)
            self._timed_at = now
        return 0

    cpdef int done(self) except -1:
        """Strike it out: it is handled."""
        if self.ledger is not None:
            self.ledger.deliveries.discard(self)
            self._free()
            if self._timed_at and self.ledger.book.took is not None:
                self.ledger.book.took(monotonic() - self._timed_at)
            self.ledger._fell()
        return 0

    cpdef int abandon(self) except -1:
        """Free what it holds, and leave it unhandled: the close cut it short."""
        self.arguments = ()
        if self.ledger is not None:
            self._free()
            self.size = 0
            self.ledger._fell()
        return 0

    cdef int _free(self) except -1:
        self.ledger.bytes -= self.size
        self.ledger.book.bytes -= self.size
        if self.drops:
            self.ledger.dropping_bytes -= self.size
            self.ledger.book.dropping_bytes -= self.size
        return 0


@cython.final
cdef class Ledger:
    """
    The open deliveries of one shard; made by Ledgers.

    Attributes:
        book: all ledgers of the gateway.
        shard_id: whose it is.
        deliveries: what is open.
        bytes: what they hold together.
        dropping_bytes: what of it those hold who drop events.
        rise_at, fall_at: above the one all bytes, and at or below the other those of parties that
            do not drop, `crossed` of the book is called.
        on_hold: called with True when the shard must not read any more, with False when it may.
    """

    def __init__(self, Ledgers book not None, int shard_id):
        self.book = book
        self.shard_id = shard_id
        self.deliveries = set()
        self.rise_at = book.first_rise_at
        self.fall_at = -1

    def session_began(self):
        """Forget sequences: what is open belongs to a session that is over."""
        cdef Delivery delivery
        for delivery in self.deliveries:
            delivery.sequence = -1

    def handled(self, received):
        """
        Return the highest sequence up to which every event of this session is handled.

        Args:
            received: the session's last sequence received; None before the first.
        Cost: O(open deliveries); for once a second.
        """
        cdef Delivery delivery
        cdef int64_t highest
        if received is None:
            return None
        highest = received
        for delivery in self.deliveries:
            if 0 <= delivery.sequence <= highest:
                highest = delivery.sequence - 1
        return highest

    cdef int _rose(self) except -1:
        if self.bytes > self.rise_at or self.book.bytes > self.book.rise_at:
            self.book.crossed(self)
        return 0

    cdef int _fell(self) except -1:
        if (self.bytes - self.dropping_bytes <= self.fall_at
                or self.book.bytes - self.book.dropping_bytes <= self.book.fall_at):
            self.book.crossed(self)
        return 0


@cython.final
cdef class Ledgers:
    """
    The ledgers of all shards of a gateway.

    A ledger lives as long as the gateway, through all sessions.

    Attributes:
        bytes: what all open deliveries hold together.
        dropping_bytes, rise_at, fall_at: as of a ledger, for these bytes.
        first_rise_at: the `rise_at` of a ledger that is made from now on.
        crossed: called with the ledger whose change crossed a number, its own or this one's.
        waited, took: called for one delivery in 64 with the seconds that it waited, if it did, and
            with those from then on until it was done.
    """

    def __cinit__(self):
        self._by_shard = {}
        self.rise_at = self.first_rise_at = PY_SSIZE_T_MAX
        self.fall_at = -1

    def __getitem__(self, int shard_id):
        """The ledger of a shard, made when it is first asked for."""
        ledger = self._by_shard.get(shard_id)
        if ledger is None:
            ledger = self._by_shard[shard_id] = Ledger(self, shard_id)
        return ledger

    def __iter__(self):
        return iter(self._by_shard.values())
