"""Recently used values are kept up to a limit; older ones are made again."""

import pytest

from htcnns.training.recent import Recent


@pytest.mark.parametrize(("most", "made"), [(0, [1, 2, 1, 3, 1, 2]), (2, [1, 2, 3, 2]), (9, [1, 2, 3])])
def test_recent_values_are_kept_and_older_ones_made_again(most: int, made: list[int]) -> None:
    keys: list[int] = []
    recent: Recent[int] = Recent(most)
    for key in (1, 2, 1, 3, 1, 2):
        assert recent.get(key, lambda key=key: keys.append(key) or 10 * key) == 10 * key
    assert keys == made


def test_sizes_count_and_the_last_value_stays_however_large() -> None:
    recent: Recent[str] = Recent(5, len)
    for word in ("abc", "de"):
        recent.get(word, lambda word=word: word)
    assert recent.size == 5
    recent.get("much too long", lambda: "much too long")
    assert recent.size == 13
    assert recent.get("much too long", lambda: "made again") == "much too long"
