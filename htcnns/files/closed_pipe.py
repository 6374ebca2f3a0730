"""Streams whose reader has gone, such as that of `head`."""

import os
import select
from typing import IO


def has_no_reader(stream: IO[str]) -> bool:
    """Whether the stream is a pipe that nobody reads any more."""
    poll = select.poll()
    poll.register(stream.fileno(), 0)  # an error is reported whatever is asked for
    return any(event & select.POLLERR for _, event in poll.poll(0))


def lead_nowhere(stream: IO[str]) -> None:
    """Let whatever the stream still holds or gets go nowhere, so that nothing fails when it is flushed."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
