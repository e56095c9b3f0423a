# Part of _decode: what is done with the events of one name. Takes Fields, _values_at and _PathTree
# from fields, _Tests from filters, _require and _refuses from early, _new_event from event.

cimport cython
from cpython.mem cimport PyMem_Free
from cpython.ref cimport PyObject
from libc.stdint cimport int32_t, int64_t

from .errors import DecodeError

cdef extern from *:
    """
    #define fgw_items(values) (((PyTupleObject*)(values))->ob_item)
    """
    PyObject** fgw_items(object values)

cdef extern from "Python.h":
    object PyObject_Vectorcall(object function, PyObject** arguments, size_t count, PyObject* names)


@cython.final
cdef class _Step:
    """One subscription in a plan."""


@cython.final
cdef class _Walk:
    """What one walk over `d` finds for the steps of a plan, and what they do with it."""

    def __cinit__(self, tuple subscriptions, object reports, tuple guild_keys):
        cdef _Step step
        self.tree = _PathTree()
        self.tests = _Tests(self.tree, guild_keys)
        self.steps = []
        for subscription in subscriptions:
            step = _Step.__new__(_Step)
            step.reports = reports
            step.subscription = subscription
            step.target = subscription.target
            step.handler = subscription.handler
            step.once = subscription.once
            step.spread = subscription.target is subscription.handler
            if isinstance(subscription.form, Fields):
                step.fields = subscription.form
            else:
                step.kind = subscription.form
            step.missing = subscription.missing
            step.test = -1
            if subscription.where is not None:
                step.test = self.tests._add(subscription.where.spec)
            if step.fields is not None:
                step.nodes = self.tree._nodes_of(step.fields._keys)
            self.steps.append(step)
        if len(subscriptions) == 1 and (<_Step>self.steps[0]).test >= 0:
            _require(self.tests, (<_Step>self.steps[0]).test)

    cdef object _found(self, _Step step, const fgw_span* spans, const char* end):
        """
        What a step is called with, by the spans of a walk: values, or itself for the event; None if
        it is not called, _BAD where somebody has to parse.
        """
        cdef int holds
        cdef tuple values
        if step.test >= 0:
            holds = self.tests._holds(step.test, spans)
            if holds != True:
                return None if holds == False else _BAD
        if step.fields is None:
            return step
        values = _values_at(spans, step.nodes, step.missing, end)
        return _BAD if values is None else values

    cdef object _parsed(self, _Step step, Event event):
        """The same by the event's data, or the DecodeError that it raises."""
        try:
            if step.test >= 0 and not self.tests._holds_parsed(step.test, event.data):
                return None
            if step.fields is None:
                return step
            return step.fields._index(event.data, step.missing)
        except DecodeError as error:
            return error


@cython.final
cdef class Plan:
    """
    Who is called for the events of one name: for which of them, and with what.

    One walk over `d` finds the values that all of them need; then each filter is asked, then each
    form is made. What every filter rejects makes no object. Nobody is called before everything is
    made: the text stands in a borrowed buffer.

    Args:
        subscriptions: in the order of their calls, each with `target`, `handler`, `once`, `where`
            (None, or an object whose `spec` is the filter), `form` (None for the Event, Fields, or
            a type to decode into) and `missing` (what stands for values that are not there). A
            target that is the handler itself takes the values of its fields as arguments, or the
            object; another one, which starts a task or keeps the event, takes a Reading or the
            Event.
        reports: is told how they fared: `failed(what, handler, error)`, `returned(what, handler,
            result)` of a result that is not None; `spend(subscription)` says whether one with
            `once` may be called. `what` is the Event or the Reading.
    """

    def __init__(self, subscriptions, reports):
        subscriptions = tuple(subscriptions)
        self._walk = _Walk(subscriptions, reports, ("guild_id",))
        self._guild_walk = _Walk(subscriptions, reports, ("id",))

    cdef object _prepare(self, Route route, const fgw_dispatch* dispatch, bytes owner):
        """
        Ask the filters, and make what those are called with that want the event.

        Returns:
            Calls; the Event, if nobody is called and the library needs it; or None.
        """
        cdef _Walk walk = self._guild_walk if route.guild_is_id else self._walk
        cdef const char* end = dispatch.message + dispatch.end
        cdef fgw_span some[STACK_NODES]
        cdef fgw_check check
        cdef fgw_span* spans
        cdef Event event = None
        cdef _Step step
        cdef object made
        cdef Calls calls = None
        check.refuses = _refuses
        check.context = <void*>walk.tests
        check.is_refused = False
        spans = walk.tree._walk(dispatch.message + dispatch.start, end, some, &check)
        if route.internal:
            event = _new_event(route, dispatch, owner)
        if check.is_refused:
            route.filtered += 1
            return event
        try:
            for step in walk.steps:
                made = _BAD if spans == NULL else walk._found(step, spans, end)
                if made is _BAD:
                    if event is None:
                        event = _new_event(route, dispatch, owner)
                    made = walk._parsed(step, event)
                if made is None:
                    continue
                if made is step:
                    if event is None:
                        event = _new_event(route, dispatch, owner)
                    made = event
                if calls is None:
                    calls = _new_calls(route, dispatch)
                    calls._step, calls._made = step, made
                else:
                    if calls._more is None:
                        calls._more = []
                    calls._more.append((step, made))
        finally:
            if spans != some:
                PyMem_Free(spans)
        if calls is None:
            route.filtered += 1
            return event if route.internal else None
        calls.event = event
        return calls


cdef Calls _new_calls(Route route, const fgw_dispatch* dispatch):
    cdef Calls calls = Calls.__new__(Calls)
    calls.route = route
    calls._sequence = dispatch.sequence
    calls._shard_id = dispatch.shard_id
    calls._received_at = dispatch.received_at
    calls._message_bytes = dispatch.size
    return calls


@cython.final
@cython.freelist(8)
@cython.no_gc
cdef class Calls:
    """The calls that one event leads to, for the listener to make once it holds no buffer."""

    def __init__(self):
        raise TypeError("calls come from a Decoder whose interests have a Plan")

    def make(self):
        """Make them, in order. What handlers raise is reported, and goes no further."""
        if self._step is not None:
            self.run()

    cdef int run(self) except -1:
        cdef object step, made
        self._call(self._step, self._made)
        if self._more is not None:
            for step, made in self._more:
                self._call(<_Step>step, made)
        return 0

    cdef int _call(self, _Step step, object made) except -1:
        cdef object what = made, result
        if type(made) is not tuple and type(made) is not Event:
            step.reports.failed(self.event, step.handler, made)  # nobody is called, nothing is spent
            return 0
        # A target that starts a task decodes as that begins: here only to see whether it fits.
        if step.kind is not None and (step.spread or step.once):
            try:
                made = (<Event>what).decode(step.kind)
            except BaseException as error:
                step.reports.failed(what, step.handler, error)
                return 0
            if not step.spread:
                made = what
        if step.once and not step.reports.spend(step.subscription):
            return 0
        try:
            if step.fields is None:
                result = step.target(made)
            elif step.spread:
                result = PyObject_Vectorcall(
                    step.target, fgw_items(made), len(<tuple>made), NULL)
            else:
                what = self._reading(step, made)
                result = step.target(what)
        except BaseException as error:
            if type(what) is tuple:
                what = self._reading(step, made)
            step.reports.failed(what, step.handler, error)
        else:
            if result is not None:
                if type(what) is tuple:
                    what = self._reading(step, made)
                step.reports.returned(what, step.handler, result)
        return 0

    cdef object _reading(self, _Step step, tuple values):
        cdef Reading reading = Reading.__new__(Reading)
        reading.name = self.route.name
        reading.sequence = self._sequence
        reading.shard_id = self._shard_id
        reading.received_at = self._received_at
        reading.message_bytes = self._message_bytes
        reading.fields = step.fields
        reading.values = values
        return reading


@cython.final
cdef class Reading:
    """
    The values that were read of one event for a handler with `fields=`, where no Event was made.

    Attributes:
        name, sequence, shard_id, received_at: as of an Event.
        message_bytes: size of the message it came in.
        fields: which paths.
        values: one a path.
    """

    def __init__(self):
        raise TypeError("readings come from a Decoder")

    def __repr__(self):
        return f"<Reading of {_shown(self.name)} sequence={self.sequence} shard_id={self.shard_id}>"
