# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""
What all floors share: count messages, decompress, do nothing with the text.

After the first message (HELLO) it identifies. When `target` messages are there it calls
`reached(messages, plain_bytes)`, which returns how many more the next part has.
"""

from picows.picows cimport WSFrame, WSListener, WSMsgType, WSTransport


cdef class Base(WSListener):
    def __init__(self, bytes identify not None, long long target, reached not None):
        self._identify = identify
        self._target = target
        self._reached = reached

    cdef Py_ssize_t inflate(self, const char* data, Py_ssize_t size) except -1:
        return size

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        if frame.msg_type != WSMsgType.BINARY and frame.msg_type != WSMsgType.TEXT:
            raise RuntimeError("the floor takes whole text and binary messages only")
        self.plain_bytes += self.inflate(frame.payload_ptr, frame.payload_size)
        self.messages += 1
        if self.messages == 1:
            transport.send(WSMsgType.TEXT, self._identify)
        if self.messages == self._target:
            self._target += <long long>self._reached(self.messages, self.plain_bytes)

    def drain(self, list messages not None):
        """Decompress whole messages without a socket; return how many bytes came out."""
        cdef Py_ssize_t made = 0
        cdef bytes message
        for message in messages:
            made += self.inflate(message, len(message))
        return made


cdef class Empty:
    """A method with the signature of Decoder.feed that does nothing: what any call costs."""

    def feed(self, payload, int opcode, bint fin=True):
        return None
