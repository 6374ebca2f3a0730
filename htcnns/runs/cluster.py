"""Workers on a Ray cluster, or on a Ray of our own on this machine; no other module imports Ray."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from htcnns.errors import EXIT_TERMINATED, DeviceError, SettingsError
from htcnns.files.cluster_surroundings import present_folder, ray_surroundings, require_listener
from htcnns.files.surroundings import n_cpus
from htcnns.runs.crew import Crew, Room
from htcnns.runs.devices import htcnns_version
from htcnns.runs.resources import Resources
from htcnns.runs.settings import RunSettings
from htcnns.runs.watcher import Watcher
from htcnns.runs.worker import Order

WORKER_CPUS = 2  # the times in the README were measured with this
_OBJECTS_BYTES = 2**27  # room for objects sent between processes, which are small
_LOOPBACK = "127.0.0.2"  # Ray replaces 127.0.0.1 and localhost by an address that other machines reach, but not this


def require_ray() -> None:
    """Raise SettingsError if Ray is not installed, without importing it, as it reads its environment when imported."""
    if find_spec("ray") is None:
        raise SettingsError(
            "Ray is not installed",
            setting="engine",
            found="ray",
            expected="local",
            remedy="Install it with pip install 'htcnns[ray]', or use engine local.",
        )


@contextmanager
def start_crew(resources: Resources, *, watcher: Watcher) -> Iterator[Crew]:
    """Workers on the cluster at the settings' address, or on a Ray of our own that ends with them.

    Inside, the first worker has started, unless the watcher has stopped the run before.

    Raises:
        SettingsError: Ray is not installed, or no cluster is at that address.
        DeviceError: the cluster has no room for a worker.
        HtcnnsError: no worker can start.
    """
    settings = resources.settings
    with _connected(settings) as ray:
        order = Order(settings=settings, folder=present_folder(), version=htcnns_version(), method=resources.method)
        crew = Crew(ray, order, _rooms(ray.nodes(), settings))
        crew.wait_for_first(watcher)
        yield crew


@contextmanager
def _connected(settings: RunSettings) -> Iterator[ModuleType]:
    """Ray, connected to the cluster at the settings' address or started for this run; shut down at the end."""
    require_ray()
    if settings.address:
        with _session(settings, {"address": settings.address}) as ray:
            yield ray
        return
    with ray_surroundings() as folder:
        own = {
            "address": "local",
            "num_cpus": max(1, int(n_cpus())),
            "include_dashboard": False,
            "object_store_memory": _OBJECTS_BYTES,
            "_node_ip_address": _LOOPBACK,
            "_temp_dir": str(folder),
        }
        with _session(settings, own) as ray:
            yield ray


@contextmanager
def _session(settings: RunSettings, options: dict[str, Any]) -> Iterator[ModuleType]:
    import ray  # optional

    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        _init(ray, options, settings)
        if is_main:
            signal.signal(signal.SIGTERM, before)  # Ray installs its own handler
        yield ray
    finally:
        ray.shutdown()
        if is_main:
            signal.signal(signal.SIGTERM, before)


def _init(ray: ModuleType, options: dict[str, Any], settings: RunSettings) -> None:
    try:
        if settings.address not in (None, "auto"):
            require_listener(options["address"])
        ray.init(**options, log_to_driver=False, logging_level=logging.CRITICAL)
    except SystemExit:  # raised by Ray on SIGTERM
        raise SystemExit(EXIT_TERMINATED) from None
    except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        if settings.address:
            raise SettingsError(
                f"no usable Ray cluster ({said})",
                setting="address",
                found=settings.address,
                expected="host:port of the head of a running cluster",
                remedy="Check it with `ray status`, or leave it out to start workers here.",
            ) from error
        raise DeviceError(
            f"Ray cannot be started ({said})", setting="engine", remedy="Use engine local, or a shorter TMPDIR."
        ) from error


def _rooms(nodes: list[dict[str, Any]], settings: RunSettings) -> list[Room]:
    """Room for one worker per GPU, or per `worker_cpus` CPUs if there is no GPU or the CPU is asked for.

    Raises:
        DeviceError: there is no GPU though one is asked for, or no CPU.
    """
    has = [
        (int(node["Resources"].get("CPU", 0)), int(node["Resources"].get("GPU", 0))) for node in nodes if node["Alive"]
    ]
    most = settings.worker_cpus or WORKER_CPUS
    by_gpu = [Room(min(most, cpus // gpus), 1) for cpus, gpus in has for _ in range(gpus)]
    by_cpu = [Room(share, 0) for cpus, _ in has if cpus for share in [min(most, cpus)] for _ in range(cpus // share)]
    rooms = by_gpu if settings.device == "cuda" or (settings.device == "auto" and by_gpu) else by_cpu
    if not rooms:
        raise DeviceError(
            "no room for a worker on Ray",
            setting="device",
            found=", ".join(f"a machine with {cpus} CPUs and {gpus} GPUs" for cpus, gpus in has) or "no machine",
            expected="a GPU" if settings.device == "cuda" else "a CPU",
            remedy="Use device auto, or add machines.",
        )
    return rooms
