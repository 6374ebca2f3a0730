"""Patches shown more than once: drawn and varied at full cost, then mirrored otherwise each time they come back.

Source: data echoing (Choi 2019, arXiv 1907.05550), where drawing takes longer than learning.
"""

DISTANCE = 8  # steps between two showings of a patch
STEPS_AHEAD = 4  # that workers may be ahead of each other before a patch is drawn again


def draw_number(step: int, n_echoes: int) -> int:
    """Which draw a step shows: each is shown `n_echoes` times, every DISTANCE steps; one echo is the step itself."""
    block, place = divmod(step, DISTANCE * n_echoes)
    return block * DISTANCE + place % DISTANCE
