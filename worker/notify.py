"""Tell the supervisor that this process is ready: systemd's sd_notify protocol, which deploy/local speaks too."""

import os
import socket


def notify_ready() -> None:
    """Send READY=1 to $NOTIFY_SOCKET; nothing to do where no supervisor asks."""
    if address := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
            client.send(b"READY=1")
