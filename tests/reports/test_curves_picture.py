"""The picture of curves: lines lie where their values are, and odd values are drawn too."""

import numpy as np
import pytest

from htcnns.reports.curves import COLOURS, PANEL, WIDTH, Line, Panel, curves_picture

LOSS = Panel("loss", [Line("", [(50, 1.0), (100, 0.5), (150, 0.25)])])


def drawn(picture: np.ndarray, colour: str) -> np.ndarray:
    """(n, 2) row and column of the pixels of exactly that colour."""
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return np.argwhere((picture == rgb).all(axis=2))


def test_every_panel_adds_its_height() -> None:
    one, two = (curves_picture([LOSS] * n, title="unet", n_steps=200) for n in (1, 2))
    assert one.dtype == np.uint8
    assert one.shape == (PANEL, WIDTH, 3)
    assert two.shape == (2 * PANEL, WIDTH, 3)


def test_a_curve_that_falls_falls_in_the_picture() -> None:
    places = drawn(curves_picture([LOSS], title="unet", n_steps=2000), COLOURS[0])
    line = places[places[:, 1] < WIDTH / 2]  # the legend lies on the right, where nothing else is
    left, right = line[line[:, 1].argmin()], line[line[:, 1].argmax()]
    assert left[0] < right[0] - 50
    assert 20 < right[1] - left[1] < 0.1 * WIDTH


def test_a_higher_value_is_drawn_higher() -> None:
    lines = [Line("WT", [(n, 0.9) for n in range(20)]), Line("TC", [(n, 0.3) for n in range(20)])]
    picture = curves_picture([Panel("Dice", lines, span=(0, 1))], title="", n_steps=20)
    high, low = (np.median(drawn(picture, colour)[:, 0]) for colour in COLOURS[:2])
    assert low - high > 0.4 * 0.6 * PANEL


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "points",
    [[], [(1, 0.5)], [(1, 0.0), (2, 0.0)], [(1, 5e-5), (2, 5e-5)], [(1, 1e6), (2, 1.0)], [(1, 0.1), (2, float("nan"))]],
    ids=["none", "one", "zeros", "all_the_same", "large", "nan"],
)
@pytest.mark.parametrize("span", [None, (0, 1)], ids=["free", "fixed"])
def test_odd_values_are_drawn_without_a_warning(
    points: list[tuple[float, float]], span: tuple[float, float] | None
) -> None:
    assert curves_picture([Panel("x", [Line("", points)], span)], title="", n_steps=2).any()
