"""The workers of a run on Ray: which worker has which case, and what happens to the cases of a lost worker."""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from htcnns.errors import DeviceError, HtcnnsError, OutputError
from htcnns.files.outputs import CaseOutputs
from htcnns.reports.outcome import Outcome
from htcnns.runs.batch import Worked, failed_case
from htcnns.runs.devices import KEEP_FREED
from htcnns.runs.ensemble import Stopped
from htcnns.runs.resources import Resources
from htcnns.runs.watcher import Watcher
from htcnns.runs.worker import Order, Station, Worker

N_AT_ONCE = 2  # cases per worker: one in the networks, one being read
N_ATTEMPTS = 3  # workers tried on one case, or in a row until one starts
_LOOK_S = 0.2  # between two checks whether the watcher stops the run
_STOP_S = 30.0  # allowed to workers for ending their cases between two windows
_PATIENCE_S = 300.0  # without any worker
_LOST = object()  # stands for the answer to a case whose worker was lost


@dataclass(frozen=True)
class Room:
    """The share of a machine that one worker gets."""

    cpus: int
    gpus: int


@dataclass(frozen=True)
class _Task:
    """A case that a worker has, and the time when it was handed out."""

    outputs: CaseOutputs
    began: float


@dataclass
class _Seat:
    """Room for a worker, and the worker in it.

    Attributes:
        starting: Ray's reference to the result of the worker's start; None once it has started.
        station: what the worker computes on; None until it has started.
        tasks: the worker's cases, by Ray's reference to the result of each.
        n_ended: number of workers in a row that have ended here before they started.
    """

    room: Room
    worker: Any = None
    starting: Any = None
    station: Station | None = None
    tasks: dict[Any, _Task] = field(default_factory=dict)
    n_ended: int = 0


class Crew:
    """The workers of one run; changes with every call."""

    def __init__(self, ray: ModuleType, order: Order, rooms: Iterable[Room]) -> None:
        self._ray = ray
        self._order = order
        self._n_lost: dict[str, int] = {}  # number of workers lost on a case, by its name
        self._elsewhere: set[str] = set()  # names of cases that another run had when a worker tried
        self._last_seen = time.monotonic()  # when there last was a worker
        self._seats = [_Seat(room) for room in rooms]
        for seat in self._seats:
            self._hire(seat)

    @property
    def stations(self) -> list[Station]:
        """What the workers that have started compute on."""
        return [seat.station for seat in self._seats if seat.station]

    @property
    def n_workers(self) -> int:
        """The number of workers, including those that have not started yet."""
        return len(self._seats)

    def wait_for_first(self, watcher: Watcher) -> None:
        """Return once a worker has started, or the watcher has stopped the run; raises as `runs.cluster.start_crew`."""
        while not self.stations and not watcher.should_stop():
            list(self._returned(watcher))  # empty, as no worker has a case

    def segment(self, resources: Resources, cases: list[CaseOutputs], *, watcher: Watcher) -> Worked:
        """As `runs.batch.segment_here`, but in the order in which cases are finished.

        A case whose worker or machine is lost is tried again, alone on its worker, as it may be the cause; after three
        lost workers it fails.

        Args:
            resources: resources of this process, for the reports of cases that fail this way.
        """
        waiting = deque(cases)
        try:
            while waiting or any(seat.tasks for seat in self._seats):
                if watcher.should_stop():
                    waiting.clear()
                    self._stop()
                self._hand_out(waiting, watcher)
                for task, answer in self._returned(watcher):
                    if answer is _LOST:
                        if failed := self._after_loss(task, resources, watcher):
                            yield task.outputs, failed
                        else:
                            waiting.appendleft(task.outputs)
                    elif isinstance(answer, OutputError):
                        raise answer
                    elif not isinstance(answer, Stopped):
                        self._remember(task, is_elsewhere=answer is None)
                        yield task.outputs, answer
            if watcher.should_stop():
                raise Stopped
        finally:
            self._finish()

    def _hand_out(self, waiting: deque[CaseOutputs], watcher: Watcher) -> None:
        """Hand cases to workers that have room for them; removes these from `waiting`."""
        while waiting and (seat := self._free_seat(waiting[0])):
            outputs = waiting.popleft()
            if outputs.case.name not in self._elsewhere:  # else its start was reported before
                watcher.on_start(outputs.case.name)
            seat.tasks[seat.worker.segment.remote(outputs)] = _Task(outputs, time.monotonic())

    def _remember(self, task: _Task, *, is_elsewhere: bool) -> None:
        """Note whether another run had the case, as its next start, which waits for that run, is not reported again."""
        name = task.outputs.case.name
        self._elsewhere = self._elsewhere | {name} if is_elsewhere else self._elsewhere - {name}

    def _free_seat(self, outputs: CaseOutputs) -> _Seat | None:
        """The worker with the fewest cases that has room for this one; None if no worker has."""
        free = [seat for seat in self._seats if seat.station and len(seat.tasks) < self._most(seat, outputs)]
        return min(free, key=lambda seat: len(seat.tasks), default=None)

    def _most(self, seat: _Seat, outputs: CaseOutputs) -> int:
        """The number of cases that a worker may have, this one included."""
        names = (outputs.case.name, *(task.outputs.case.name for task in seat.tasks.values()))
        return 1 if any(name in self._n_lost for name in names) else N_AT_ONCE

    def _returned(self, watcher: Watcher) -> Iterator[tuple[_Task, Any]]:
        """Yield the workers' answers to their cases after a short wait; _LOST for each case of a lost worker."""
        seats = {answer: seat for seat in self._seats for answer in (*seat.tasks, seat.starting) if answer}
        done, _ = self._ray.wait(list(seats), timeout=_LOOK_S)
        for answer in done:
            yield from self._answered(seats[answer], answer, watcher)
        if self.stations:
            self._last_seen = time.monotonic()
        elif time.monotonic() - self._last_seen > _PATIENCE_S:
            raise DeviceError(
                f"no worker on Ray for {_PATIENCE_S:.0f} s",
                found=f"room for {len(self._seats)} when the run began",
                expected="room that no other job takes",
                remedy="Check the cluster with `ray status`, and run again.",
            )

    def _answered(self, seat: _Seat, answer: Any, watcher: Watcher) -> Iterator[tuple[_Task, Any]]:
        try:
            found = self._ray.get(answer)
        except self._ray.exceptions.RayTaskError:  # a bug of ours in a worker
            raise
        except self._ray.exceptions.RayError as error:
            yield from self._replaced(seat, error, watcher)
            return
        if answer in seat.tasks:
            yield seat.tasks.pop(answer), found
        elif isinstance(found, HtcnnsError):
            self._give_up(seat, found, watcher)
        else:
            seat.starting, seat.station, seat.n_ended = None, found, 0

    def _replaced(self, seat: _Seat, reason: Exception, watcher: Watcher) -> Iterator[tuple[_Task, Any]]:
        """Replace a lost worker, or give up its seat after too many, and yield _LOST for each of its cases."""
        lost, seat.tasks = list(seat.tasks.values()), {}
        with suppress(self._ray.exceptions.RayError):
            self._ray.kill(seat.worker)  # it may only have been unreachable
        if not seat.station:
            seat.n_ended += 1
        if seat.n_ended < N_ATTEMPTS:
            self._hire(seat)
        else:
            error = DeviceError(
                "workers on Ray ended before they had started",
                found=f"{seat.n_ended} in a row, the last by: {str(reason).strip().splitlines()[-1].strip()}",
                remedy="Install the same htcnns on every machine, and give each worker enough memory.",
            )
            self._give_up(seat, error, watcher)
        yield from ((task, _LOST) for task in lost)

    def _give_up(self, seat: _Seat, error: HtcnnsError, watcher: Watcher) -> None:
        """Continue without this worker; raises the error if it was the last one."""
        self._seats.remove(seat)
        if not self._seats:
            raise error
        watcher.on_pending(f"lost a worker: {error}")

    def _after_loss(self, task: _Task, resources: Resources, watcher: Watcher) -> Outcome | None:
        """The failure of a case on which too many workers were lost; None if it is to be tried again."""
        name = task.outputs.case.name
        self._n_lost[name] = self._n_lost.get(name, 0) + 1
        if self._n_lost[name] < N_ATTEMPTS:
            watcher.on_pending(f"{name}: its worker has ended; the case will be done again")
            return None
        error = DeviceError(
            "workers ended while segmenting it",
            found=f"{N_ATTEMPTS} in a row",
            remedy="Give each worker more memory, or leave the case out.",
        )
        return failed_case(task.outputs, error, resources=resources, seconds=time.monotonic() - task.began)

    def _hire(self, seat: _Seat) -> None:
        """Ask Ray for a worker; if its machine has gone, the request stays pending without harm."""
        options = {
            "num_cpus": seat.room.cpus,
            "num_gpus": seat.room.gpus,
            "max_concurrency": N_AT_ONCE + 1,
            "runtime_env": {"env_vars": dict(KEEP_FREED)},  # a worker has threads before it could set this itself
        }
        seat.worker = self._ray.remote(Worker).options(**options).remote(self._order)
        seat.starting, seat.station = seat.worker.start.remote(), None

    def _stop(self) -> None:
        for seat in self._seats:
            if seat.tasks:
                seat.worker.stop.remote()

    def _finish(self) -> None:
        """Stop cases that are still in progress, as after an error, and wait a while for them to end."""
        self._stop()
        if left := [answer for seat in self._seats for answer in seat.tasks]:
            self._ray.wait(left, num_returns=len(left), timeout=_STOP_S)
