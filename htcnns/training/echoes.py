"""Patches shown more than once: drawn and varied at full cost once, then mirrored differently at each showing.

Source: data echoing (Choi 2019, arXiv 1907.05550), for fits in which drawing takes longer than learning.
"""

DISTANCE = 8  # steps between two showings of a patch
STEPS_AHEAD = 4  # steps that one worker may be ahead of another before a patch has to be drawn again


def draw_number(step: int, n_echoes: int) -> int:
    """Number of the draw that a step shows; each draw is shown `n_echoes` times, DISTANCE steps apart.

    With one echo it is the number of the step.
    """
    block, place = divmod(step, DISTANCE * n_echoes)
    return block * DISTANCE + place % DISTANCE
