"""
What a gateway received, in a file, and how a fake gateway sends it again.

Begin with `file`, which has the format; `redact` says what is replaced before it is written.
"""
