"""What this machine, or the share of it that a container or a job has, offers a run; folders are tested by writing."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from htcnns.errors import OutputError
from htcnns.files.atomic import require_writable

_ROOT = Path("/")
_NO_LIMIT = 2**60  # bytes; version 1 of cgroups writes a number near 2**63 where there is no limit
_MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Main memory in MiB.

    Attributes:
        free_mib: memory available to a new process within the limit; None where unknown.
        limit_mib: memory limit of the control group; None without one.
    """

    free_mib: float | None
    limit_mib: float | None


@dataclass(frozen=True, kw_only=True)
class Disk:
    """The disk of a folder that files are to be written to.

    Attributes:
        free_mib: free space that this user may fill.
        has_locks: whether file locks work, by which two runs show each other which cases they are working on.
    """

    free_mib: float
    has_locks: bool


def memory(root: Path = _ROOT) -> Memory:
    """Main memory, read from the kernel's files below `root`."""
    limits = [limit for folder in _groups(root) if (limit := _limit(folder))]
    free = [limit - used for limit, used in limits]
    if available := _available(root):
        free.append(available)
    return Memory(
        free_mib=max(0.0, min(free) / _MIB) if free else None,
        limit_mib=min(limit for limit, _ in limits) / _MIB if limits else None,
    )


def n_cpus(root: Path = _ROOT) -> float:
    """Number of processors that this process may use within the share of its control group."""
    shares = [share for folder in _groups(root) if (share := _cpu_share(folder))]
    return min([float(len(os.sched_getaffinity(0))), *shares])


def shared_memory_mib(folder: Path = Path("/dev/shm")) -> float | None:
    """Size of the shared memory; None where there is none."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return None
    return status.f_blocks * status.f_frsize / _MIB


def user() -> int:
    """Id of the user who would own the files that are written."""
    return os.geteuid()


def temporary_folder() -> Path:
    """The folder for temporary files, tested by writing one.

    Raises:
        OutputError: there is no writable one.
    """
    try:
        with tempfile.TemporaryFile() as file:
            file.write(b"\0")
            file.flush()
    except OSError as error:
        raise OutputError(
            f"no place for temporary files ({error.strerror or error})",
            expected="a writable folder",
            remedy="Mount a writable /tmp, or set TMPDIR.",
        ) from error
    return Path(tempfile.gettempdir())


def disk_of(folder: Path) -> Disk:
    """The disk of a folder, or of its nearest existing parent if it is yet to be made; tested by writing a file.

    Raises:
        OutputError: the folder cannot be written.
    """
    there = folder
    while not os.path.lexists(there):
        there = there.parent
    require_writable(there)
    status = os.statvfs(there)
    return Disk(free_mib=status.f_bavail * status.f_frsize / _MIB, has_locks=_has_locks(there))


def has_nvidia_driver() -> bool:
    """Whether an NVIDIA driver is loaded and its device is visible."""
    return os.path.exists("/dev/nvidiactl")


def _has_locks(folder: Path) -> bool:
    """Whether a second lock on one file is refused."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".htcnns-0-", suffix=".part") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with open(file.name, "rb") as again:
                fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return False


def _groups(root: Path) -> Iterator[Path]:
    """Folders of the control groups of this process, from its own up to the outermost visible one."""
    text = _read(root / "proc/self/cgroup") or "0::/"
    for line in text.splitlines():
        _, kinds, path = line.split(":", 2)
        kind = next((kind for kind in ("memory", "cpu") if kind in kinds.split(",")), "")
        if kind or not kinds:
            top = root / "sys/fs/cgroup" / kind
            inner = top / path.lstrip("/")
            yield from (folder for folder in (inner, *inner.parents) if folder.is_relative_to(top))


def _limit(group: Path) -> tuple[int, int] | None:
    """Memory limit of a group and its use without caches that are freed on demand, in bytes; None without a limit."""
    for limit_name, used_name, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        limit = _number(_read(group / limit_name))
        if limit is not None and limit < _NO_LIMIT:
            used = _number(_read(group / used_name)) or 0
            rows = (line.split() for line in (_read(group / "memory.stat") or "").splitlines())
            caches = {row[0]: int(row[1]) for row in rows if len(row) == 2}
            return limit, used - caches.get(cache, 0)
    return None


def _cpu_share(group: Path) -> float | None:
    quota, period = (_read(group / "cpu.max") or "").split() or ("", "")
    if not quota:
        quota, period = _read(group / "cpu.cfs_quota_us") or "", _read(group / "cpu.cfs_period_us") or ""
    number, of = _number(quota), _number(period)
    return number / of if number and of and number > 0 else None


def _available(root: Path) -> int | None:
    rows = (line.split() for line in (_read(root / "proc/meminfo") or "").splitlines())
    return next((int(row[1]) * 1024 for row in rows if row[:1] == ["MemAvailable:"]), None)


def _number(text: str | None) -> int | None:
    """The text as a number; None where it is "max", empty or missing."""
    try:
        return int(text or "")
    except ValueError:
        return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
