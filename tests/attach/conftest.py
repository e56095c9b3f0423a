"""Bots of other libraries. hikari 2.7 is for Python 3.11 and newer."""

import sys

collect_ignore_glob = [] if sys.version_info >= (3, 11) else ["test_hikari_*"]
