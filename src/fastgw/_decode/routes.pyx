# Part of _decode: the sequence of a session, and who wants which dispatch. Takes _is_plain_name
# from text, the hash of names from scan.pxd, Plan from plan.

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memmove, memset

# Names beyond these are not entered in the table: nothing a peer sends may grow it for ever.
cdef Py_ssize_t MAX_NAMES = 2048
cdef Py_ssize_t MAX_NAME_BYTES = 128
# Nor is one that lies farther than this from where its hash points: names can be chosen to collide.
# With 2,048 of one hash in the table each of their events cost 20 us.
cdef size_t MAX_DISTANCE = 16

# Events that begin a session or end a replay (Discord docs, "Resuming"): never dropped, whatever
# their sequence.
cdef frozenset _SESSION_EVENTS = frozenset((b"READY", b"RESUMED"))
# The guild object itself is `d` (Discord docs, "Gateway Events").
cdef frozenset _GUILD_OBJECT_EVENTS = frozenset((b"GUILD_CREATE", b"GUILD_UPDATE", b"GUILD_DELETE"))


@cython.final
cdef class Sequence:
    """
    The sequence of one session: what a heartbeat and a RESUME carry.

    The protocol owns it and says when a session or a replay begins and ends; the decoder of the
    current connection advances it on every dispatch, wanted or not. It never moves backwards.

    Attributes:
        last: sequence of the newest dispatch of this session, None before the first.
        replaying: between RESUME and RESUMED.
        duplicates: dispatches dropped because they had been received before the drop.
        gaps: runs of sequences that were left out and have not come late since, over all sessions.
        missing: how many sequences these are in all.
        replayed: dispatches accepted during replays.
    """

    def __cinit__(self):
        self._last = -1
        self._floor = -1

    def __init__(self, last=None):
        self.restore(last)

    @property
    def last(self):
        return None if self._last < 0 else self._last

    def clear(self):
        """Forget the sequence: a new session begins. The counters stay."""
        self._last = -1
        self._open_count = 0  # what this session has not brought by now it never will
        self.end_replay()

    def restore(self, last):
        """Continue a stored session whose newest dispatch was `last` (None: it had none)."""
        self._last = -1 if last is None else last
        self._open_count = 0
        self.end_replay()

    def start_replay(self):
        """From here until `end_replay`, drop dispatches up to today's `last` as duplicates."""
        self.replaying = True
        self._floor = self._last

    def end_replay(self):
        """The replay is over: from here on nothing is dropped by sequence."""
        self.replaying = False
        self._floor = -1

    def __repr__(self):
        return f"<Sequence last={self.last}{' replaying' if self.replaying else ''}>"

    cdef bint _accept(self, int64_t sequence) noexcept:
        if sequence <= self._last:
            # Outside a replay an old or repeated sequence is passed on: some servers start at 0
            # or repeat it, and delivery is "never, once or several times" by contract.
            if not self._came_late(sequence) and self.replaying and sequence <= self._floor:
                self.duplicates += 1
                return False
        else:
            if sequence != self._last + 1 and self._last >= 0:
                self._leave_out(self._last + 1, sequence - 1)
            self._last = sequence
        if self.replaying:
            self.replayed += 1
        return True

    cdef void _leave_out(self, int64_t first, int64_t last) noexcept:
        self.gaps += 1
        self.missing += last - first + 1
        if self._open_count == MAX_GAPS:
            memmove(&self._open[0], &self._open[1], (MAX_GAPS - 1) * sizeof(Gap))
            self._open_count -= 1
        self._open[self._open_count].first = first
        self._open[self._open_count].last = last
        self._open_count += 1

    cdef bint _came_late(self, int64_t sequence) noexcept:
        """Fill one place of a gap; say whether there was one."""
        cdef int i
        cdef int64_t first, last
        for i in range(self._open_count):
            if not self._open[i].first <= sequence <= self._open[i].last:
                continue
            first, last = self._open[i].first, self._open[i].last
            self.gaps -= 1
            self.missing -= last - first + 1
            # Out it goes, and what is left on either side comes in as gaps of their own.
            self._open_count -= 1
            memmove(&self._open[i], &self._open[i + 1], (self._open_count - i) * sizeof(Gap))
            if first < sequence:
                self._leave_out(first, sequence - 1)
            if sequence < last:
                self._leave_out(sequence + 1, last)
            return True
        return False


@cython.final
cdef class Route:
    """What is known of one event name: who wants it, and how often it came."""


cdef Route _new_route(bytes key):
    cdef Route route = Route.__new__(Route)
    route.key = key
    route.text = PyBytes_AS_STRING(key)
    route.size = PyBytes_GET_SIZE(key)
    route.name = key.decode()
    route.hash = fgw_hash_name(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
    route.plain = _is_plain_name(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
    route.session_event = key in _SESSION_EVENTS
    route.guild_is_id = key in _GUILD_OBJECT_EVENTS
    return route


@cython.final
cdef class Interests:
    """
    Which dispatches are wanted, by whom, and how many of each name came.

    One table serves all decoders of a gateway. It may change at any time, also from a handler;
    the next message sees the change. Looking a name up makes no Python object.

    Args:
        names: names wanted from the start, without a target.
        internal: names the library itself needs: they stay wanted whatever users forget.
    """

    def __cinit__(self):
        self._routes = []
        self._mask = 255
        self._slots = <void**>PyMem_Malloc((self._mask + 1) * sizeof(void*))
        if self._slots == NULL:
            raise MemoryError
        memset(self._slots, 0, (self._mask + 1) * sizeof(void*))

    def __init__(self, names=(), *, internal=()):
        if isinstance(names, str):
            raise TypeError(f"names are a collection of strings, not the string {names!r}")
        for name in names:
            self.want(name)
        for name in internal:
            self.want(name, internal=True)

    def __dealloc__(self):
        PyMem_Free(self._slots)

    def want(self, str name not None, target=None, *, bint internal=False):
        """
        Want dispatches called `name`.

        Args:
            target: called by the listener with each Event, or None (the event is only returned); or
                a Plan.
            internal: for the library itself; independent of what users want, and permanent.
        """
        cdef Route route = self._route(name.encode(), True)
        if internal:
            route.internal = True
        else:
            route.own = True
            route.own_target = target
        self._refresh(route)

    def forget(self, str name not None):
        """Users no longer want `name` by itself; "everything" and internal wants stay."""
        cdef Route route = self._route(name.encode())
        route.own = False
        route.own_target = None
        self._refresh(route)

    def want_everything(self, target=None):
        """Want every dispatch; names wanted by themselves keep their own target."""
        self._everything = True
        self._everything_target = target
        for route in self._routes:
            self._refresh(route)

    def forget_everything(self):
        """Take `want_everything` back."""
        self._everything = False
        self._everything_target = None
        for route in self._routes:
            self._refresh(route)

    def is_wanted(self, str name not None):
        """Tell whether a dispatch called `name` would be delivered."""
        cdef bytes key = name.encode()
        cdef Route route = self._find(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
        return self._everything if route is None else route.wanted

    def counters(self):
        """
        Count what came, by name, dropped events included.

        Returns:
            {name: (seen, delivered, bytes)}; bytes are of whole decompressed messages. At most
            2048 names are told apart, fewer if a peer chooses names whose hashes collide.
        """
        cdef Route route
        return {
            route.name: (route.seen, route.delivered, route.bytes)
            for route in self._routes if route.seen
        }

    def filtered(self):
        """Count by name what came, and was rejected by every filter of its plan."""
        cdef Route route
        return {route.name: route.filtered for route in self._routes if route.filtered}

    cdef void* _lookup(self, const char* name, Py_ssize_t size) noexcept:
        """A borrowed Route, or NULL."""
        cdef uint64_t wanted_hash = fgw_hash_name(name, size)
        cdef size_t index = <size_t>wanted_hash & self._mask
        cdef size_t distance = 0
        cdef void* slot = self._slots[index]
        while slot != NULL:
            if ((<Route>slot).hash == wanted_hash and (<Route>slot).size == size
                    and fgw_is_same_name((<Route>slot).text, name, size)):
                return slot
            distance += 1
            if distance > self._farthest:
                return NULL
            index = (index + 1) & self._mask
            slot = self._slots[index]
        return NULL

    cdef Route _find(self, const char* name, Py_ssize_t size):
        cdef void* slot = self._lookup(name, size)
        return None if slot == NULL else <Route>slot

    cdef Route _route(self, bytes name, bint keep=False):
        """
        The route of `name`; entered in the table if somebody wants it (`keep`), else only while
        the table is not full, the name not too long and its place not too far: a peer may neither
        grow the table for ever nor make it slow.
        """
        cdef Route route = self._find(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
        if route is None:
            route = _new_route(name)
            self._refresh(route)
            if keep or (len(self._routes) < MAX_NAMES
                        and PyBytes_GET_SIZE(name) <= MAX_NAME_BYTES
                        and self._distance(route) <= MAX_DISTANCE):
                self._insert(route)
        return route

    cdef int _insert(self, Route route) except -1:
        cdef void** slots
        cdef Route other
        if 2 * <size_t>(len(self._routes) + 1) > self._mask:
            slots = <void**>PyMem_Malloc(2 * (self._mask + 1) * sizeof(void*))
            if slots == NULL:
                raise MemoryError
            memset(slots, 0, 2 * (self._mask + 1) * sizeof(void*))
            PyMem_Free(self._slots)
            self._slots = slots
            self._mask = 2 * self._mask + 1
            self._farthest = 0
            for other in self._routes:
                self._place(other)
        self._routes.append(route)
        self._place(route)
        return 0

    cdef size_t _distance(self, Route route) noexcept:
        """How far from where its hash points a new route would find a free slot."""
        cdef size_t distance = 0
        while self._slots[(<size_t>route.hash + distance) & self._mask] != NULL:
            distance += 1
        return distance

    cdef void _place(self, Route route) noexcept:
        cdef size_t distance = self._distance(route)
        self._slots[(<size_t>route.hash + distance) & self._mask] = <void*>route
        self._farthest = max(self._farthest, distance)

    cdef int _refresh(self, Route route) except -1:
        route.wanted = route.own or route.internal or self._everything
        target = route.own_target if route.own else self._everything_target
        route.plan = target if type(target) is Plan else None
        route.target = None if type(target) is Plan else target
        return 0
