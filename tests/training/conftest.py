"""Fixtures that the tests of fits share."""

import numpy as np
import pytest

from htcnns.training import record


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes fits write a picture of one pixel, since drawing takes longer than their few steps."""
    monkeypatch.setattr(record, "curves_picture", lambda *_, **__: np.zeros((1, 1, 3), np.uint8))
