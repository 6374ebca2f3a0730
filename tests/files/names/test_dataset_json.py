"""nnU-Net's file names and the names of its channels; whole folders are tested in test_cases."""

import time

import pytest

from htcnns.files.names.dataset_json import channel_endings, read_channel, read_channels, read_nnunet
from htcnns.labels import Sequence

T1N, T1C, T2W, T2F = Sequence


@pytest.mark.parametrize(
    ("name", "expected"),
    [("glioma_001_0003", ("glioma_001", 3)), ("BTK_scan_2019", None), ("la_003", None), ("_0000", None)],
    ids=["channel three", "a year", "three digits", "no case"],
)
def test_nnunet_names_end_with_a_channel_number(name: str, expected: tuple[str, int] | None) -> None:
    assert read_nnunet(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("T1", T1N),
        ("T1w", T1N),
        ("T1-weighted", T1N),
        ("mri_t1", T1N),
        ("t1gd", T1C),
        ("T1ce", T1C),
        ("T1-Gd", T1C),
        ("T1-weighted contrast-enhanced", T1C),
        ("T1w post-contrast", T1C),
        ("T2w", T2W),
        ("T2 MRI", T2W),
        ("FLAIR", T2F),
        ("T2-FLAIR", T2F),
        ("ADC", None),
        ("", None),
    ],
)
def test_channels_are_recognised_by_their_common_names(name: str, expected: Sequence | None) -> None:
    assert read_channel(name) == expected


def test_a_lone_number_is_not_a_channel() -> None:
    assert read_channels(["dwi_0012", "x_0001"]) == {}
    assert read_channels(["a_0000", "a_0001", "b_0001"]) == {"a_0000": ("a", 0), "a_0001": ("a", 1)}


def test_the_time_to_read_channels_grows_in_proportion_to_the_cases() -> None:
    """20,000 cases take a fifth of a second; comparing all files with all cases would take twenty seconds."""
    stems = [f"glioma_{case}_{channel:04}" for case in range(20_000) for channel in range(4)]
    began = time.process_time()
    assert len(read_channels(stems, (T1N, T1C, T2W, T2F))) == len(stems)
    assert time.process_time() - began < 5


def test_endings_follow_the_order_of_the_channels() -> None:
    assert channel_endings((T2F, T1N)) == {T2F: "_0000", T1N: "_0001"}
