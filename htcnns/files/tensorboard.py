"""Event files of TensorBoard, where it is installed; they grow during a fit instead of being written whole."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

FOLDER = "tensorboard"

WriteNumber = Callable[[str, float, int], None]


@contextmanager
def event_file(folder: Path, *, after: int) -> Iterator[WriteNumber]:
    """A function that writes a number by name and step to the folder's events; it does nothing without TensorBoard.

    Args:
        after: step that the fit resumes from; later events of an interrupted fit are hidden.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter  # needs tensorboard, which is optional
    except ImportError:
        yield lambda _name, _number, _step: None
        return
    with ExitStack() as stack:
        writers: list[SummaryWriter] = []

        def write(name: str, number: float, step: int) -> None:
            if not writers:  # a fit that is finished already writes no file
                writers.append(stack.enter_context(SummaryWriter(str(folder / FOLDER), purge_step=after + 1)))
            writers[0].add_scalar(name, number, step)

        yield write
