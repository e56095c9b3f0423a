"""Where what outlives the processes is kept, and whether it will be there the next time."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import UsageError
from ..fleet.stores.sqlite_file import mounted_type
from ..gateway import API_URL
from ..options import check_api_url

__all__ = ["default_store", "fleeting", "in_container"]

FILE = "fastgw.sqlite"
# Of whose token the bot's id cannot be read.
UNNAMED = "bot"


def default_store(
    environment: Mapping[str, str], bot_id: int | None, api_url: str = API_URL
) -> Path:
    """
    Return the file for sessions and identify turns; its directory is made.

    `$STATE_DIRECTORY` is what systemd made for the unit (systemd.exec(5)); of several, the first.
    Elsewhere an API that is not Discord's has a file of its own for each host: a try-out against a
    fake neither waits for the real bot's turns, nor counts in its budget, nor touches its sessions.

    Raises:
        UsageError: the directory cannot be made, or api_url is none.
    """
    given = environment.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        directory = Path(given)
    else:
        # XDG Base Directory Specification: $HOME/.local/state, and a relative path is ignored.
        state = environment.get("XDG_STATE_HOME", "")
        home = Path(state) if os.path.isabs(state) else _home() / ".local" / "state"
        name = UNNAMED if bot_id is None else str(bot_id)
        directory = home / "fastgw" / _folder_of(api_url) / name
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{directory} cannot be made ({error.strerror}): set STATE_DIRECTORY or "
            f"XDG_STATE_HOME, or name a file with --store"
        ) from error
    return directory / FILE


def _folder_of(api_url: str) -> str:
    """Return where the files of an API's bots are; Discord's stand at the top, as "" says."""
    host = urlsplit(check_api_url(api_url)).hostname or ""
    discord = urlsplit(API_URL).hostname or ""
    if host == discord or host.endswith(f".{discord}"):  # canary., ptb.
        return ""
    return host.replace(":", "-")  # of IPv6: no name of a file on Windows


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:  # no HOME, and a user that /etc/passwd does not know
        raise UsageError(
            "this user has no home directory: set STATE_DIRECTORY or XDG_STATE_HOME, or name a "
            "file with --store"
        ) from error


def device_of(path: Path) -> int:
    """Return the number of the file system that a path is on."""
    return os.stat(path).st_dev


def fleeting(
    path: Path, environment: Mapping[str, str], *, device: Callable[[Path], int] = device_of
) -> str | None:
    """Return why a file will not be there after the next deploy; None when it will."""
    directory = path.parent
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            kind = mounted_type(file.read(), os.path.realpath(directory))
    except OSError:
        kind = None  # not Linux: nobody tells
    if kind in ("tmpfs", "ramfs"):
        return f"{directory} is in memory ({kind})"
    if in_container(environment) and device(directory) == device(Path("/")):
        return f"{directory} is in the container's own file system: mount a volume there"
    return None


def in_container(environment: Mapping[str, str], root: Path = Path("/")) -> bool:
    """Tell whether this is a container, as Docker, Podman, Kubernetes and systemd mark one."""
    marks = (root / ".dockerenv", root / "run" / ".containerenv")
    return (
        any(mark.exists() for mark in marks)
        or "KUBERNETES_SERVICE_HOST" in environment
        or bool(environment.get("container"))
    )
