"""Streams whose reader has gone, such as a pipe into `head`."""

import os
import select
from typing import IO


def has_no_reader(stream: IO[str]) -> bool:
    """Whether the stream is a pipe that nobody reads any more."""
    poll = select.poll()
    poll.register(stream.fileno(), 0)  # POLLERR is reported whatever events are asked for
    return any(event & select.POLLERR for _, event in poll.poll(0))


def lead_nowhere(stream: IO[str]) -> None:
    """Redirect the stream to the null device, so that flushing it or writing to it no longer fails."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
