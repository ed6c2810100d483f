"""Who runs a command, for the histories that name somebody."""

from __future__ import annotations

import getpass
import os


def user() -> str:
    """The user's name; a container may know no name for the number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
