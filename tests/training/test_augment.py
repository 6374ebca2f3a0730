"""The settings of augmentation: what they refuse."""

import pytest

from htcnns.errors import SettingsError
from htcnns.training.augment import Augmentation


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tumour_share": 1.2}, "tumour_share: impossible value; found 1.2, expected a fraction from 0 to 1"),
        ({"drop_share": -0.1}, "drop_share: impossible value; found -0.1"),
        ({"slopes": (1.5, 0.5)}, r"slopes: impossible value; found \(1.5, 0.5\), expected two positive numbers"),
        ({"slopes": (0.0, 0.5)}, "slopes: impossible value"),
        ({"largest_zoom": 0.9}, "largest_zoom: impossible value; found 0.9, expected a factor of at least 1"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(change: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Augmentation(**change)
