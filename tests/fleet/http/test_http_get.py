"""Reading one HTTP response, in any pieces, whole or cut."""

from __future__ import annotations

import time

import pytest

from fastgw.fleet.http import http_get
from fastgw.fleet.http.http_get import Answer, NotHttp

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-One: 1\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n"
    b"2\r\nhe\r\n003;a=b\r\nllo\r\n0\r\n\r\n"
)
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + PLAIN
NO_REASON = PLAIN.replace(b"200 OK", b"200")


def read(data, size):
    """Feed it in pieces."""
    answer = Answer()
    for at in range(0, len(data), size):
        answer.feed(data[at : at + size])
    return answer


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1_000])
@pytest.mark.parametrize("data", [PLAIN, CHUNKED, INTERIM, NO_REASON])
def test_a_response_in_pieces(data, size):
    """However it is cut, it is the same, and whole at its end, not before."""
    answer = read(data, size)
    assert (answer.status, answer.body, answer.is_whole) == (200, b"hello", True)
    assert answer.has_length
    end = len(data) - (2 if data is CHUNKED else 0)  # the empty line after the last chunk
    for cut in range(end):
        assert not read(data[:cut], size).is_whole


def test_before_its_head_is_whole_nothing_is_known():
    """Neither status nor headers."""
    answer = read(PLAIN[: PLAIN.index(b"hello") - 1], 1)
    assert (answer.status, answer.headers, answer.body) == (0, {}, b"")


@pytest.mark.parametrize("size", [1, 1_000])
def test_a_chunk_says_its_size_in_hexadecimal(size):
    """RFC 9112 7.1, in capitals or not."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"1a\r\n" + b"x" * 26 + b"\r\n1F\r\n" + b"y" * 31 + b"\r\n0\r\n"
    answer = read(head + body, size)
    assert answer.is_whole
    assert answer.body == b"x" * 26 + b"y" * 31


@pytest.mark.parametrize("size", [1, 1_000])
def test_a_response_without_a_length_ends_with_the_connection(size):
    """And says that nobody could notice a cut."""
    answer = read(b"HTTP/1.0 404 Not Found\r\nServer: x\r\n\r\nhello", size)
    assert not answer.is_whole
    answer.end()
    assert (answer.is_whole, answer.status, answer.body) == (True, 404, b"hello")
    assert not answer.has_length


@pytest.mark.parametrize("cut", [0, 3, 12, 30, len(PLAIN) - 1])
def test_a_connection_that_ends_early_makes_nothing_whole(cut):
    """Not in the head, nor in a body with a length."""
    answer = read(PLAIN[:cut], 1_000)
    answer.end()
    assert not answer.is_whole


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_responses_without_a_body(status):
    """Whatever their headers say."""
    assert read(b"HTTP/1.1 " + status + b"\r\nContent-Length: 9\r\n\r\n", 1_000).is_whole


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n", b"\0\0", b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 2OO OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 40_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 40_000,
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [1, 100_000])
def test_what_is_no_response(data, size):
    """Said at once, with what it is."""
    with pytest.raises(NotHttp):
        read(data, size)


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 999999999999\r\n\r\n",
        b"\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nffffffff\r\n",
    ],
)
def test_of_an_endless_body_the_beginning_is_kept(head):
    """An error page of any length costs the same."""
    answer = read(b"HTTP/1.1 200 OK\r\n" + head + b"x" * 300_000, 10_000)
    assert answer.is_whole
    assert set(answer.body) == {ord("x")}
    assert len(answer.body) < 80_000


def test_what_is_as_long_as_it_may_be_is_taken():
    """A head, the line of a chunk's size, a body: one byte more is too much."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for start, line in ((b"", head[:17] + b"X: "), (head, b"1;")):
        line = line.ljust(http_get._MAX_HEAD_BYTES, b"y")
        answer = read(start + line, 100_000)
        assert not answer.is_whole
        with pytest.raises(NotHttp):
            answer.feed(b"y")
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    assert not read(head + b"x" * (http_get._MAX_BODY_BYTES - 1), 100_000).is_whole
    assert read(head + b"x" * http_get._MAX_BODY_BYTES, 100_000).is_whole


def test_bytes_that_drip_cost_linear_time():
    """No byte of a head is searched twice."""

    def cost(size):
        began = time.process_time()
        read(b"HTTP/1.1 200 OK\r\nX: " + b"y" * size, 1)
        return time.process_time() - began

    cost(1_000)
    assert min(cost(24_000) for _ in range(3)) < 40 * min(cost(3_000) for _ in range(3))
