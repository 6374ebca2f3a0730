"""In a comparison of cohorts a member sees each case as it does when it segments."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from htcnns.files.cases import find_cases
from htcnns.files.manifest import read_manifest
from htcnns.image.member_input import Preprocessing
from htcnns.runs.cohort_comparison import _of_bottleneck
from htcnns.runs.ensemble import start_ensemble


def test_a_member_sees_the_case_as_it_does_when_it_segments(
    tmp_path: Path, make_case: Callable[..., Path], tiny_weights: Path
) -> None:
    make_case(tmp_path, "P1")
    [case] = find_cases(tmp_path)
    plain = read_manifest(tiny_weights)[0]
    rows = []
    for preprocessing in (Preprocessing(), Preprocessing(clip=(0.2, 0.8)), Preprocessing(resize=(32, 32, 32))):
        member = replace(plain, preprocessing=preprocessing)
        ensemble = start_ensemble((member,), device="cpu", precision="fp32")
        rows += list(_of_bottleneck(case, member, ensemble))
    assert len({row.shape for row in rows}) == 1
    assert not any(np.allclose(rows[0], other, atol=1e-6) for other in rows[1:])
