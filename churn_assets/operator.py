"""Who types a command."""

from __future__ import annotations

import getpass
import os
import socket


def operator() -> str:
    """Login name and machine, for histories and receipts; a container may know its user by number only."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = f"uid {os.getuid()}"
    return f"{name}@{socket.gethostname()}"
