"""Streams whose reader has gone, such as that of `head`."""

import os
from typing import IO


def lead_nowhere(stream: IO[str]) -> None:
    """Let whatever the stream still holds or gets go nowhere, so that nothing fails when it is flushed."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
