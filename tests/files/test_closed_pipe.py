"""Pipes with and without a reader."""

import os
from pathlib import Path

from htcnns.files.closed_pipe import has_no_reader, lead_nowhere


def test_a_pipe_has_no_reader_once_its_other_end_is_closed() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        found = [has_no_reader(stream)]
        os.close(reader)
        found.append(has_no_reader(stream))
        lead_nowhere(stream)
        stream.write("into nothing")
    assert found == [False, True]


def test_a_file_never_loses_its_reader(tmp_path: Path) -> None:
    with (tmp_path / "lines").open("w") as stream:
        assert not has_no_reader(stream)
