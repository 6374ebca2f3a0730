"""Which worker has which case, and what becomes of the cases of a lost worker, with a stand-in for Ray."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from htcnns.errors import DeviceError, SettingsError, WeightsError
from htcnns.files.cases import find_cases
from htcnns.files.outputs import CaseOutputs
from htcnns.labels import GLIOMA
from htcnns.reports.outcome import Outcome, State
from htcnns.runs import cluster
from htcnns.runs.crew import Crew, Room
from htcnns.runs.devices import KEEP_FREED
from htcnns.runs.ensemble import Ensemble, Stopped
from htcnns.runs.plan import outputs_of
from htcnns.runs.resources import Resources
from htcnns.runs.settings import RunSettings
from htcnns.runs.watcher import Watcher
from htcnns.runs.worker import Station

NAMES = tuple(f"BraTS-GLI-{number:05d}-000" for number in range(5))


class StandIn:
    """As much of Ray as a crew needs; a call is answered when it is waited for, the oldest first.

    Attributes:
        deadly: names of cases over which workers die, and how often they still will.
        elsewhere: names of cases that another run has claimed, and for how many more calls.
        starts: what workers return or raise in turn when they start; a station after that.
    """

    class RayError(Exception):
        pass

    class RayTaskError(RayError):
        pass

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self) -> None:
        self.deadly: dict[str, int] = {}
        self.elsewhere: dict[str, int] = {}
        self.options_given: list[dict[str, Any]] = []
        self.starts: list[Any] = []
        self.most_at_once = 0
        self.n_at_work = 0

    def remote(self, _: type) -> "StandIn":
        return self

    def options(self, **options: object) -> SimpleNamespace:
        self.options_given.append(options)
        return SimpleNamespace(remote=lambda _: self._worker())

    def wait(self, answers: list[Callable], *, timeout: float, num_returns: int = 1) -> tuple[list, list]:  # noqa: ARG002
        return answers[:num_returns], answers[num_returns:]

    def get(self, answer: Callable[[], object]) -> object:
        return answer()

    def kill(self, worker: SimpleNamespace) -> None:
        worker.is_alive = False

    def _worker(self) -> SimpleNamespace:
        def start() -> Callable:
            return lambda: self._started()

        def segment(outputs: CaseOutputs) -> Callable:
            self.n_at_work += 1
            self.most_at_once = max(self.most_at_once, self.n_at_work)
            return lambda: self._segmented(outputs)

        methods = {"start": start, "segment": segment, "stop": bool}
        return SimpleNamespace(**{name: SimpleNamespace(remote=method) for name, method in methods.items()})

    def _started(self) -> object:
        found = self.starts.pop(0) if self.starts else Station(machine="m", device="cpu", precision="fp32", note="")
        if isinstance(found, self.RayError):
            raise found
        return found

    def _segmented(self, outputs: CaseOutputs) -> Outcome | None:
        self.n_at_work -= 1
        name = outputs.case.name
        if self.deadly.get(name, 0):
            self.deadly[name] -= 1
            raise self.RayError("it died")
        if self.elsewhere.get(name, 0):
            self.elsewhere[name] -= 1
            return None
        return Outcome(case=name, state=State.DONE)


@pytest.fixture
def ray() -> StandIn:
    return StandIn()


@pytest.fixture
def resources(ensemble_of: Callable[..., Ensemble], pointwise: Callable[..., Any]) -> Resources:
    return Resources(ensemble_of([pointwise()]), RunSettings())


@pytest.fixture
def cases(tmp_path: Path, make_case: Callable[..., Path]) -> list[CaseOutputs]:
    for name in NAMES:
        make_case(tmp_path / "in", name)
    return [outputs_of(case, tmp_path / "out", RunSettings(), GLIOMA) for case in find_cases(tmp_path / "in")]


def _states(crew: Crew, resources: Resources, cases: list[CaseOutputs], watcher: Watcher) -> dict[str, State]:
    return {outcome.case: outcome.state for _, outcome in crew.segment(resources, cases, watcher=watcher)}


def test_no_worker_ever_has_more_than_two_cases(ray: StandIn, resources: Resources, cases: list[CaseOutputs]) -> None:
    crew = Crew(ray, None, [Room(1, 0)] * 2)
    assert _states(crew, resources, cases, Watcher()) == dict.fromkeys(NAMES, State.DONE)
    assert ray.most_at_once <= 4


def test_workers_get_their_room_and_keep_freed_memory_from_the_start(ray: StandIn) -> None:
    Crew(ray, None, [Room(3, 0), Room(2, 1)])
    rooms = [(given["num_cpus"], given["num_gpus"]) for given in ray.options_given]
    assert rooms == [(3, 0), (2, 1)]
    assert [given["runtime_env"] for given in ray.options_given] == [{"env_vars": dict(KEEP_FREED)}] * 2


@pytest.mark.parametrize(("n_ends", "state"), [(2, State.DONE), (3, State.FAILED)])
def test_a_case_is_retried_until_three_workers_have_died_over_it(
    ray: StandIn, resources: Resources, cases: list[CaseOutputs], n_ends: int, state: State
) -> None:
    ray.deadly, told = {NAMES[1]: n_ends}, []
    crew = Crew(ray, None, [Room(1, 0)])
    outcomes = _states(crew, resources, cases, Watcher(on_pending=told.append))
    assert outcomes == dict.fromkeys(NAMES, State.DONE) | {NAMES[1]: state}
    assert sum(sentence.startswith(NAMES[1]) for sentence in told) == 2


def test_a_case_claimed_by_another_run_is_reported_once_until_it_is_done(
    ray: StandIn, resources: Resources, cases: list[CaseOutputs]
) -> None:
    ray.elsewhere = {NAMES[0]: 2}
    told: list[str] = []
    crew, watcher = Crew(ray, None, [Room(1, 0)]), Watcher(on_start=told.append)
    for _ in range(3):
        list(crew.segment(resources, cases[:1], watcher=watcher))
    assert told == [NAMES[0]]
    list(crew.segment(resources, cases[:1], watcher=watcher))  # a later look, at which its files have changed
    assert told == [NAMES[0]] * 2


def test_a_lost_worker_is_reported_and_losing_the_last_ends_the_run(ray: StandIn) -> None:
    told: list[str] = []
    ray.starts = [WeightsError("no weights here"), WeightsError("none here either")]
    with pytest.raises(WeightsError, match="none here either"):
        Crew(ray, None, [Room(1, 0)] * 2).wait_for_first(Watcher(on_pending=told.append))
    assert told == ["lost a worker: no weights here."]


def test_workers_that_end_before_they_start_are_given_up_after_three(ray: StandIn) -> None:
    ray.starts = [StandIn.RayError("No module named 'htcnns'")] * 3
    with pytest.raises(DeviceError, match=r"found 3 in a row, the last by: No module named 'htcnns'"):
        Crew(ray, None, [Room(1, 0)]).wait_for_first(Watcher())


def test_a_stop_ends_the_crew_without_the_waiting_cases(
    ray: StandIn, resources: Resources, cases: list[CaseOutputs]
) -> None:
    done: list[str] = []
    watcher = Watcher(on_start=done.append, should_stop=lambda: bool(done))
    worked = Crew(ray, None, [Room(1, 0)]).segment(resources, cases, watcher=watcher)
    with pytest.raises(Stopped):
        list(worked)
    assert done == list(NAMES[:2])  # those that the worker was given at first


@pytest.mark.parametrize(
    ("device", "machines", "rooms"),
    [
        ("auto", [(8, 2), (4, 0)], [Room(2, 1)] * 2),
        ("auto", [(5, 0), (1, 0)], [Room(2, 0), Room(2, 0), Room(1, 0)]),
        ("cpu", [(2, 1)], [Room(2, 0)]),
    ],
    ids=["a worker per GPU", "a worker per two CPUs", "the CPU is asked for"],
)
def test_there_is_room_for_one_worker_per_gpu_or_per_two_cpus(
    device: str, machines: list[tuple[int, int]], rooms: list[Room]
) -> None:
    nodes = [{"Alive": True, "Resources": {"CPU": float(cpus), "GPU": float(gpus)}} for cpus, gpus in machines]
    assert cluster._rooms(nodes, RunSettings(engine="ray", device=device)) == rooms


def test_asking_for_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(DeviceError, match="no room for a worker on Ray"):
        cluster._rooms([{"Alive": True, "Resources": {"CPU": 2.0}}], RunSettings(engine="ray", device="cuda"))


def test_without_ray_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda _: None)
    with pytest.raises(
        SettingsError, match=r"engine: Ray is not installed; .* Install it with pip install 'htcnns\[ray\]'"
    ):
        cluster.require_ray()
