"""The memory that training on a thousand packed cases of real size takes."""

import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from prepared import make_card

from htcnns.files.prepared_cases import prepared_case, prepared_path, read_cards, write_prepared
from htcnns.labels import Label

SHAPE = (140, 170, 140)  # the box of a brain at 1 mm
N_CASES = 1000
N_DRAWN = 320  # would take more than 4 GiB if all of them stayed in memory
MOST_BYTES = 4 * 2**30
RECIPE = f"""
name = "long"
title = "many cases are drawn, little is computed"
precision = "fp32"
batch = 8
window = [32, 32, 32]

[[members]]
name = "unet"
title = "U-Net"
network = "unet"
size = {{channels = [2, 4], n_convs = [1, 1]}}

[[members.rounds]]
steps = {N_DRAWN // 8}
patches = [[0.0, [16, 16, 32]]]
"""
PROGRAM = """
import resource, sys
from htcnns.doors.cli import main
code = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
sys.exit(code)
"""


def write_copies(folder: Path, n_cases: int) -> int:
    """Writes one case of real size under `n_cases` names; returns the bytes that its arrays take in memory.

    Its intensities are in steps, so that each file is small; once read, the case is as large as any brain.
    """
    i, j, k = np.indices(SHAPE, np.float32)
    head = np.stack([np.round(i / 20) + factor * np.round((j + k) / 30) + 1 for factor in (1, 2, 3, 4)])
    truth = np.zeros(SHAPE, np.uint8)
    truth[50:90, 60:100, 50:90] = Label.ED
    truth[60:80, 70:90, 60:80] = Label.ET
    case = prepared_case(make_card("one", shape=SHAPE), head, truth)
    folder.mkdir()
    one = folder.parent / "one.npz"
    with (
        zipfile.ZipFile(write_prepared(folder.parent, case)) as whole,
        zipfile.ZipFile(one, "w", zipfile.ZIP_DEFLATED) as rest,
    ):
        entry = json.loads(np.load(io.BytesIO(whole.read("card.npy"))).tobytes())
        for name in set(whole.namelist()) - {"card.npy"}:
            rest.writestr(name, whole.read(name))
    for number in range(n_cases):
        name = f"case-{number:04d}"
        card = json.dumps(entry | {"name": name, "patients": [name]}).encode()
        stream = io.BytesIO()
        np.save(stream, np.frombuffer(card, np.uint8))
        shutil.copy(one, prepared_path(folder, name))
        with zipfile.ZipFile(prepared_path(folder, name), "a") as copy:
            copy.writestr("card.npy", stream.getvalue())
    return case.n_bytes


@pytest.mark.slow
def test_training_on_a_thousand_cases_stays_below_four_gib(tmp_path: Path) -> None:
    n_bytes = write_copies(tmp_path / "packs", N_CASES)
    assert len({card.name for card in read_cards(tmp_path / "packs").values()}) == N_CASES
    assert N_DRAWN * n_bytes > MOST_BYTES
    (tmp_path / "long.toml").write_text(RECIPE)
    folders = ("--work", tmp_path / "work", "--out", tmp_path / "weights")
    flags = ("--recipe", tmp_path / "long.toml", *folders, "--source", "one phantom", "--device", "cpu")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "train", str(tmp_path / "packs"), *map(str, flags), "--workers", "2"],
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout.splitlines()[-1]) < MOST_BYTES
