"""Memory, processors and disks: what the kernel's files say, on imitations of them and on this machine."""

import fcntl
import os
import tempfile
from pathlib import Path

import pytest

from htcnns.errors import OutputError
from htcnns.files.surroundings import Memory, disk_of, memory, n_cpus, shared_memory_mib, temporary_folder

MIB = 2**20
MEMINFO = f"MemTotal: 99999999 kB\nMemAvailable: {8000 * 1024} kB\n"


def _kernel(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, Memory(free_mib=None, limit_mib=None)),
        ({"proc/meminfo": MEMINFO}, Memory(free_mib=8000, limit_mib=None)),
        (
            {
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/memory.max": f"{3000 * MIB}\n",
                "sys/fs/cgroup/memory.current": f"{2500 * MIB}\n",
                "sys/fs/cgroup/memory.stat": f"anon 5\ninactive_file {2000 * MIB}\n",
            },
            Memory(free_mib=2500, limit_mib=3000),
        ),
        (
            {
                "proc/self/cgroup": "0::/slurm/job_7/step\n",
                "sys/fs/cgroup/slurm/job_7/step/memory.max": "max\n",
                "sys/fs/cgroup/slurm/job_7/memory.max": f"{2000 * MIB}\n",
            },
            Memory(free_mib=2000, limit_mib=2000),
        ),
        (
            {
                "proc/self/cgroup": "5:memory:/docker/x\n2:cpu,cpuacct:/docker/x\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{1000 * MIB}\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{1200 * MIB}\n",
            },
            Memory(free_mib=0, limit_mib=1000),
        ),
        (
            {"proc/self/cgroup": "5:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"},
            Memory(free_mib=8000, limit_mib=None),
        ),
    ],
    ids=["nothing", "no limit", "version 2", "limit of the job above", "version 1, used up", "version 1, none"],
)
def test_free_memory_is_what_limit_and_machine_leave(tmp_path: Path, files: dict[str, str], found: Memory) -> None:
    has_machine = {"proc/meminfo": MEMINFO} if files else {}
    assert memory(_kernel(tmp_path, has_machine | files)) == found


@pytest.mark.parametrize(
    ("files", "share"),
    [
        ({}, None),
        ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 0.5),
        (
            {
                "proc/self/cgroup": "2:cpu,cpuacct:/x\n",
                "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "25000\n",
                "sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "100000\n",
            },
            0.25,
        ),
        ({"proc/self/cgroup": "2:cpu:/\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n"}, None),
    ],
    ids=["nothing", "no limit", "version 2", "version 1", "version 1, none"],
)
def test_a_processor_quota_is_respected(tmp_path: Path, files: dict[str, str], share: float | None) -> None:
    assert n_cpus(_kernel(tmp_path, files)) == (share or len(os.sched_getaffinity(0)))


def test_a_folder_not_yet_made_has_the_disk_of_its_parent_and_nothing_is_left(tmp_path: Path) -> None:
    disk = disk_of(tmp_path / "a" / "b")
    assert disk.free_mib > 0
    assert disk.has_locks
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    assert not disk_of(tmp_path).has_locks


def test_a_file_cannot_be_the_folder_for_masks(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match="out: cannot be written"):
        disk_of(tmp_path / "out")


def test_no_place_for_temporary_files_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise FileNotFoundError(2, "No usable temporary directory")

    assert temporary_folder().is_dir()
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(OutputError, match=r"no place for temporary files \(No usable.* set TMPDIR"):
        temporary_folder()


def test_shared_memory_has_a_size_or_is_none(tmp_path: Path) -> None:
    assert shared_memory_mib(tmp_path) > 0
    assert shared_memory_mib(tmp_path / "none") is None
