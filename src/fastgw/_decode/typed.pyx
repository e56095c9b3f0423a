# Part of _decode: `d` as a type of the user's own, by msgspec, and text that is not quite JSON. Takes
# _JSONDecodeError from text.

import re

from .errors import UsageError

# Programs that make up types must not fill the memory.
cdef dict _known_decoders = {}
cdef int MAX_KNOWN_DECODERS = 1024

# What says that data is of another type, and that it is not JSON; msgspec's come with it.
cdef tuple _mismatches = ()
cdef tuple _syntax_errors = (_JSONDecodeError, UnicodeDecodeError)

cdef object _find_place = re.compile(r" - at `\$\.?(.*)`\Z").search
# An escape: a pair of surrogates, one that is alone, or any other.
cdef object _replace_escapes = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[dD][89a-fA-F][0-9a-fA-F]{2}|.)",
    re.DOTALL).sub


cdef object _decoder_of(kind):
    """What makes an object of this type out of JSON text; UsageError when there is none."""
    global _mismatches, _syntax_errors
    try:
        decode = _known_decoders.get(kind)
    except TypeError:
        raise UsageError(f"{kind!r:.100} is not a type to decode into") from None
    if decode is not None:
        return decode
    try:
        import msgspec  # when it is first asked for: an extra
    except ImportError:
        raise UsageError(
            "decoding into a type needs msgspec: pip install 'fastgw[msgspec]'") from None
    _mismatches = (msgspec.ValidationError,)
    _syntax_errors = (_JSONDecodeError, UnicodeDecodeError, msgspec.DecodeError)
    try:
        decode = msgspec.json.Decoder(kind).decode
    except TypeError as error:
        raise UsageError(f"{kind!r:.100} is not a type to decode into: {error}") from error
    if len(_known_decoders) >= MAX_KNOWN_DECODERS:
        _known_decoders.clear()
    _known_decoders[kind] = decode
    return decode


def check_type(kind):
    """
    Make the decoder of a type, for `Event.decode`.

    Raises:
        UsageError: it is not one that msgspec decodes into, or msgspec is not installed.
    """
    _decoder_of(kind)


cdef str _name_of_type(kind):
    name = getattr(kind, "__qualname__", None)
    return name if type(name) is str else f"{kind!r:.100}"


cdef tuple _place_of(error):
    """What msgspec found wrong, and the path to it: "" is `d` itself."""
    cdef str text = str(error)
    place = _find_place(text)
    return (text, "") if place is None else (text[:place.start()], place[1])


cdef bytes _mended(bytes raw):
    """JSON text with U+FFFD for surrogates that are alone, and for bytes that are not UTF-8."""
    cdef str text = _replace_escapes(_mend_escape, raw.decode("utf-8", "replace"))
    return text.encode()


def _mend_escape(match):
    cdef str escape = match[0]
    return escape if len(escape) != len(r"\ud800") else r"\ufffd"
