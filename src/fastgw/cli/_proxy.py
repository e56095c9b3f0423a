"""`--proxy`, of the programs that ask the API."""

from __future__ import annotations

import argparse

from ..errors import UsageError
from ..options import check_proxy

__all__ = ["add_proxy"]


def add_proxy(parser: argparse.ArgumentParser, what: str = "what leads to Discord") -> None:
    """Add it; a password does not have to stand where `ps` shows it."""
    parser.add_argument(
        "--proxy", type=_proxy, metavar="URL",
        help=f"{what}, as Gateway(proxy=) has it: http://host:port, socks5://host:port, or "
        "`environment` for HTTPS_PROXY and its like",
    )  # fmt: skip


def _proxy(text: str) -> str:
    try:
        check_proxy(text)
    except UsageError as error:  # which does not repeat the text: it may hold a password
        raise argparse.ArgumentTypeError(str(error)) from None
    return text
