"""All settings of a run, checked once."""

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from htcnns.errors import SettingsError, require_known
from htcnns.image.fusion import FUSIONS
from htcnns.image.windows import MIRROR_AXES, mirror_axes
from htcnns.labels import LabelSet, Sequence, default_label_set, label_set
from htcnns.runs.shard import Shard

MOST_MISSING = 1  # sequences that a case may lack if this is allowed
_SECONDS = ("time_limit_s", "watch_s", "until_idle_s")


class EngineName(StrEnum):
    """What segments the cases: this process, or workers on a Ray cluster."""

    LOCAL = "local"
    RAY = "ray"


class OnFailure(StrEnum):
    """What is written for a case that fails."""

    SKIP = "skip"
    EMPTY = "empty"


class OnUnclear(StrEnum):
    """What happens if a case is unclear, such as one with two files for a sequence."""

    STOP = "stop"
    FAIL = "fail"


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """How cases are segmented and what is written; the command line's flags have the same names.

    Attributes:
        weights: folder with a manifest, or the name of a set in the shipped folder; None for the shipped weights.
        members: names from the manifest; empty for all.
        device: auto, cpu, cuda or cuda:n.
        precision: auto, fp32, bf16 or fp16.
        fusion: staple, majority or mean.
        labels: name of a label set; None to choose it by each case's name.
        overlap: overlap between windows as a share of their edge, 0 <= x < 1; 0.6 in HT-CNNs. None lets a member see a
            whole brain at once if it fits the largest window of its manifest, and else overlaps by 0.6.
        mirror: axes to mirror over, letters of "ijk" (left-right, front-back, up-down); "" for none, None for those
            in each member's manifest entry.
        batch: number of windows that go through a network together.
        again: whether cases that already have a mask are segmented again.
        on_failure: skip to write nothing for a case that fails, empty to write an empty mask.
        on_unclear: stop to start nothing while a case is unclear, such as one with two files for a sequence or in a
            folder that cannot be read; fail to let it fail alone.
        allow_missing: whether a case that lacks one sequence is segmented from the other three, with a note.
        report: file for a JSON report of the run if its name ends in .json, else folder for a report and a picture of
            each case; None for none.
        log: file of JSON lines that every event of the run is added to; None for none.
        disagreement: whether a map of where members disagree is written into the folder of reports.
        probabilities: folder for the fused probability map of each region; None for none.
        previews: folder for overlay pictures; None for none.
        short_names: whether the mask of a BraTS2021_00495 that lies flat in the input is named 00495.nii.gz, as in the
            2021 challenge.
        time_limit_s: seconds that reading a case, or running the networks over it, may take before it fails alone; None
            for no limit.
        case_list: file that names the cases, as `files.case_list` reads it; None for every case of the input.
        watch_s: seconds between looks at an input that is still being filled, for cases that are complete and whose
            files have not changed since the previous look; None to look once and end.
        until_idle_s: seconds without anything new after which a watching run ends; None to go on until it is stopped.
        shard: share of the cases that this run segments; None for all.
        engine: local for this process, ray for workers on Ray.
        address: host:port of a Ray cluster, or auto for the one on this machine; None to start one here for this run.
        worker_cpus: CPUs of each worker on Ray; None for two, or one if a machine has no more.
        channels: sequences of nnU-Net's channels 0000, 0001, …; None to read dataset.json.

    Raises:
        SettingsError: an unknown name or a value out of range; the setting is named.
    """

    weights: Path | None = None
    members: tuple[str, ...] = ()
    device: str = "auto"
    precision: str = "auto"
    fusion: str = "staple"
    labels: str | None = None
    overlap: float | None = None
    mirror: str | None = None
    batch: int = 1
    again: bool = False
    on_failure: str = OnFailure.SKIP
    on_unclear: str = OnUnclear.STOP
    allow_missing: bool = False
    report: Path | None = None
    log: Path | None = None
    disagreement: bool = False
    probabilities: Path | None = None
    previews: Path | None = None
    short_names: bool = False
    time_limit_s: float | None = None
    case_list: Path | None = None
    watch_s: float | None = None
    until_idle_s: float | None = None
    shard: Shard | None = None
    engine: str = EngineName.LOCAL
    address: str | None = None
    worker_cpus: int | None = None
    channels: tuple[Sequence, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("weights", "report", "log", "probabilities", "previews", "case_list"):
            self._as_path(name)
        self._require_kinds()
        self._require_cluster()
        require_known(self.fusion, FUSIONS, what="fusion", setting="fusion")
        require_known(self.on_failure, OnFailure, what="choice", setting="on_failure")
        require_known(self.on_unclear, OnUnclear, what="choice", setting="on_unclear")
        if self.labels is not None:
            label_set(self.labels)
        if self.disagreement and self.report_folder is None:
            raise SettingsError(
                "has nowhere to go",
                setting="disagreement",
                found=f"report {self.report}",
                expected="a folder for reports",
                remedy="Name a folder for the reports, or leave it out.",
            )
        if self.overlap is not None and not 0 <= self.overlap < 1:
            raise SettingsError(
                "out of range",
                setting="overlap",
                found=self.overlap,
                expected="0 <= x < 1",
                remedy="Use 0.6, or leave it out.",
            )
        try:
            mirror_axes(self.mirror or "")
        except ValueError as error:
            raise SettingsError(
                "not a choice of axes",
                setting="mirror",
                found=repr(self.mirror),
                expected=f"letters of {MIRROR_AXES}, each once",
                remedy="Use for instance i, or nothing.",
            ) from error
        if self.batch < 1:
            raise SettingsError(
                "too few windows at a time",
                setting="batch",
                found=self.batch,
                expected="at least 1",
                remedy="Use 1, the default.",
            )
        for name in _SECONDS:
            seconds = getattr(self, name)
            if seconds is not None and not 0 < seconds < math.inf:
                raise SettingsError(
                    "out of range",
                    setting=name,
                    found=seconds,
                    expected="seconds above 0",
                    remedy="Use for instance 600, or leave it out.",
                )
        if self.until_idle_s is not None and self.watch_s is None:
            raise SettingsError(
                "has no effect on a run that ends by itself",
                setting="until_idle_s",
                remedy="Leave it out, or let the run watch its input.",
            )

    def _require_cluster(self) -> None:
        """Raise SettingsError if a setting of the cluster is impossible or has no effect."""
        require_known(self.engine, EngineName, what="engine", setting="engine")
        if self.engine == EngineName.LOCAL:
            for name in ("address", "worker_cpus"):
                if getattr(self, name) is not None:
                    raise SettingsError(
                        "has no effect without a cluster", setting=name, remedy="Leave it out, or use engine ray."
                    )
        if self.address is not None and not re.fullmatch(r"auto|[^/\s]+:\d{1,5}", self.address):
            raise SettingsError(
                "not the address of a Ray cluster",
                setting="address",
                found=repr(self.address),
                expected="auto, or host:port of its head",
                remedy="Use for instance 10.0.0.1:6379, or leave it out to start workers here.",
            )
        if self.worker_cpus is not None and self.worker_cpus < 1:
            raise SettingsError(
                "too few CPUs", setting="worker_cpus", found=self.worker_cpus, expected="at least 1", remedy="Use 2."
            )
        if self.engine == EngineName.RAY and self.device.startswith("cuda:"):
            raise SettingsError(
                "Ray gives each worker its GPU",
                setting="device",
                found=self.device,
                expected="auto, cpu or cuda",
                remedy="Use cuda.",
            )

    def _as_path(self, name: str) -> None:
        """Replace a field that is a str by its Path."""
        value = getattr(self, name)
        if isinstance(value, str):
            object.__setattr__(self, name, path_of(value, setting=name))

    def _require_kinds(self) -> None:
        """Raise SettingsError if a value has the wrong type for its setting."""
        kinds: dict[str, tuple[type, ...]] = {"batch": (int,), "members": (tuple, list)}
        optional: dict[str, tuple[type, ...]] = {
            "overlap": (int, float),
            **dict.fromkeys(_SECONDS, (int, float)),
            "shard": (Shard,),
            "worker_cpus": (int,),
        }
        kinds |= {name: wanted for name, wanted in optional.items() if getattr(self, name) is not None}
        for name, wanted in kinds.items():
            value = getattr(self, name)
            if not isinstance(value, wanted) or isinstance(value, bool):
                raise SettingsError(
                    "a value of the wrong type",
                    setting=name,
                    found=repr(value),
                    expected=" or ".join(kind.__name__ for kind in wanted),
                    remedy="Give a value of that type.",
                )

    @property
    def report_file(self) -> Path | None:
        """File for the report of the run; None if none is asked for."""
        return self.report if self.report and self.report.suffix.lower() == ".json" else None

    @property
    def report_folder(self) -> Path | None:
        """Folder for the reports of the cases; None if none are asked for."""
        return self.report if self.report_file is None else None

    @property
    def stops_when_unclear(self) -> bool:
        """Whether nothing is started while a case is unclear; False for a watched input, as cases may become clear."""
        return self.on_unclear == OnUnclear.STOP and self.watch_s is None

    @property
    def most_missing(self) -> int:
        """Number of sequences that a case may lack."""
        return MOST_MISSING if self.allow_missing else 0

    @property
    def keeps_probabilities(self) -> bool:
        """Whether probability maps are written."""
        return self.probabilities is not None

    def numbers_for(self, case_name: str) -> LabelSet:
        """The label set that a case's mask is written in."""
        return label_set(self.labels) if self.labels else default_label_set(case_name)


def path_of(text: str | Path, *, setting: str) -> Path:
    """The path that a text names; raises SettingsError if it is empty, as that would be the current folder."""
    if text == "":
        raise SettingsError(
            "an empty string",
            setting=setting,
            expected="a path",
            remedy="Name a file or folder; . is the current folder.",
        )
    return Path(text)
