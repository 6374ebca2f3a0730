"""From a folder of cases with truth to shipped weights: all fits, masks of held-out cases, the table, the manifest.

Every step looks first at what is there already, so a campaign that was cut off goes on where it stood.
"""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from htcnns.errors import InputError, require_known
from htcnns.files.cases import Case, find_cases
from htcnns.files.checkpoints import read_pack, write_pack
from htcnns.files.nifti import read_label_map
from htcnns.files.scans import read_case
from htcnns.files.weights import Member, WeightsFile, digest, save_weights, write_manifest
from htcnns.files.whole import sweep, write_whole
from htcnns.image.postprocess import PostprocessRules
from htcnns.image.preprocess import PreprocessSettings, preprocess
from htcnns.labels import REGIONS, decode, default_label_set, region_mask
from htcnns.networks import SIZES
from htcnns.runs.batch import BatchSettings, Watcher, mask_path, segment_batch
from htcnns.runs.devices import choose_precision
from htcnns.runs.ensemble import load_ensemble
from htcnns.runs.folder import require_writable
from htcnns.scores.metrics import dice
from htcnns.training.folds import FITS, FOLDS, fold_of, run_fit, trained_on
from htcnns.training.loop import Round, StepReport, TrainSettings
from htcnns.training.samples import TrainingCase, Variety
from htcnns.volume import turn

TITLES = {
    "unet": "nnU-Net's plain 3-D U-Net, compact",
    "transbts": "TransBTS, compact",
    "axial_unet": "DeepSCAN: axial-attention U-Net, compact",
}
N_STEPS = {"unet": (1200, 600, 400), "transbts": (1000, 500, 600), "axial_unet": (1000, 500, 600)}  # of each round
OTHER_SCANNERS = Variety(tumour_share=0.5, thick_share=0.25, contrast_share=0.75)  # and more healthy brain
OTHER_HEADS = replace(OTHER_SCANNERS, quench_share=0.35, pose_share=0.5, slopes=(0.5, 1.8))  # and stranger scanners
ROUNDS = (  # their steps are the member's
    Round(0),
    Round(0, learning_rate=7.5e-4, patches=((0.0, 96),), variety=OTHER_SCANNERS),
    Round(0, learning_rate=6e-4, patches=((0.0, 96),), variety=OTHER_HEADS),
)
TABLE = "cross_validation.csv"
FUSED = "fused"


@dataclass(frozen=True)
class Campaign:
    """Where a campaign reads and writes, and its recipe.

    Attributes:
        data: folder of cases, each with its truth.
        work: packs, checkpoints, fits and held-out masks; may be thrown away afterwards.
        weights: the folder that gets weights, manifest and table.
        n_steps: of every fit; None takes N_STEPS. Folds and shipped weights share it.
        device: to train and segment on.
        rules: clean-up of every member.
    """

    data: Path
    work: Path
    weights: Path
    device: torch.device
    rules: PostprocessRules
    n_steps: int | None = None

    def recipe(self, member: str) -> TrainSettings:
        """How each fit of that member is trained."""
        counts = np.array(N_STEPS[member])
        if self.n_steps is not None:  # the same shares of fewer or more steps, rounded up
            counts = np.diff(-(-counts.cumsum() * self.n_steps // counts.sum()), prepend=0)
        rounds = zip(ROUNDS, counts.tolist(), strict=True)
        return TrainSettings(rounds=tuple(replace(each, n_steps=n_steps) for each, n_steps in rounds))


def run_campaign(campaign: Campaign, *, only: Sequence[str] = (), tell: Callable[[str], None]) -> None:
    """Do all that is not done yet.

    Args:
        only: fits such as "unet:fold0"; then only these are trained, so that several processes can share the work.
        tell: gets one line now and then.

    Raises:
        InputError: a case without truth, or that cannot be read.
    """
    cases = find_cases(campaign.data)
    for fit_name in only:
        require_known(fit_name, [f"{member}:{fit}" for member in TITLES for fit in FITS], what="fit", where="--only")
    for folder in (campaign.work, campaign.weights):
        require_writable(folder)
    packed = [_packed(case, campaign.work / "packs" / f"{case.name}.npz") for case in cases]
    for fit_name in FITS:
        for member in TITLES:
            if not only or f"{member}:{fit_name}" in only:
                _train(member, fit_name, packed, campaign, tell)
    if only:
        return
    rows = [row for fold in FOLDS for row in _held_out_rows(fold, cases, campaign, tell)]
    rows.sort(key=lambda row: row["case"])
    write_whole(campaign.weights / TABLE, _as_csv(rows))
    _ship(cases, rows, campaign)
    tell(", ".join(f"{key} {_mean(rows, key):.3f}" for key in rows[0] if key.startswith(FUSED)))


def _packed(case: Case, path: Path) -> TrainingCase:
    """The prepared case, from its pack if there is one."""
    if not path.exists():
        if case.truth is None:
            raise InputError(f"{case.name}: no truth; expected {case.name}-seg.nii.gz beside the scans. Add it.")
        volume = read_case(case)
        prepared = preprocess(volume.array, volume.affine, PreprocessSettings(window=(1, 1, 1)))
        undo = prepared.undo
        if undo.resampled:
            raise InputError(
                f"{case.name}: voxels are not 1 mm; training takes cases of 1 mm. Resample case and truth."
            )
        truth = turn(_truth(case), undo.order, undo.flips)[undo.box]
        write_pack(path, prepared.array, np.ascontiguousarray(truth))
    return TrainingCase(case.name, *read_pack(path))


def _truth(case: Case) -> np.ndarray:
    """The case's truth as Label values."""
    assert case.truth is not None
    return decode(read_label_map(case.truth).array, default_label_set(case.name), where=str(case.truth))


def _train(
    member: str, fit_name: str, cases: list[TrainingCase], campaign: Campaign, tell: Callable[[str], None]
) -> None:
    """One fit; a finished one takes no step, but its checkpoint is held against the recipe and the cases."""
    path = _weights_path(member, fit_name, campaign)
    recipe = campaign.recipe(member)
    losses: list[float] = []

    def on_step(report: StepReport) -> None:
        losses.append(report.loss)
        if (report.step + 1) % recipe.n_between == 0:
            recent = losses[-recipe.n_between :]
            loss = sum(recent) / len(recent)
            tell(f"{member} {fit_name}: step {report.step + 1}, loss {loss:.3f}, {report.seconds:.2f} s a step")

    network = run_fit(member, fit_name, cases, recipe, folder=path.parent, device=campaign.device, on_step=on_step)
    save_weights(path, network)


def _weights_path(member: str, fit_name: str, campaign: Campaign) -> Path:
    return campaign.work / "fits" / f"{member}-{fit_name}.safetensors"


def _held_out_rows(
    fold: str, cases: tuple[Case, ...], campaign: Campaign, tell: Callable[[str], None]
) -> list[dict[str, str | float]]:
    """Segment the cases that a fold holds out, with each of its members alone and fused, and score them."""
    held_out = fold_of([case.name for case in cases])
    mine = tuple(case for case in cases if held_out[case.name] == fold)
    members = tuple(_member(name, fold, cases, campaign) for name in TITLES)
    precision = choose_precision("auto", campaign.device)
    rows: list[dict[str, str | float]] = [{"case": case.name, "fold": fold} for case in mine]
    for voice, voices in {FUSED: members, **{member.name: (member,) for member in members}}.items():
        output = campaign.work / "masks" / voice
        output.mkdir(parents=True, exist_ok=True)
        sweep(output)
        made_by = "".join(f"{file.path.name} {file.sha256}\n" for each in voices for file in each.files).encode()
        stamp = output / f".{fold}.txt"  # masks of other weights are made again
        if not stamp.exists() or stamp.read_bytes() != made_by:
            for case in mine:
                mask_path(case, output, BatchSettings()).unlink(missing_ok=True)
            write_whole(stamp, made_by)
        ensemble = load_ensemble(voices, device=campaign.device, precision=precision)
        outcomes = segment_batch(mine, output, ensemble, BatchSettings(), watcher=Watcher())
        for case, row, outcome in zip(mine, rows, outcomes, strict=True):
            if outcome.mask is None:
                raise InputError(outcome.error)
            row.update(_dice_row(voice, case, outcome.mask))
            tell(f"{fold} {voice} {case.name}: " + " ".join(f"{row[f'{voice} {region.name}']}" for region in REGIONS))
    return rows


def _dice_row(voice: str, case: Case, mask: Path) -> dict[str, float]:
    """Whole-mask Dice of each region; both empty scores 1, one empty 0."""
    truth = _truth(case)
    prediction = decode(read_label_map(mask).array, default_label_set(case.name), where=str(mask))
    return {
        f"{voice} {region.name}": round(dice(region_mask(prediction, region), region_mask(truth, region)), 4)
        for region in REGIONS
    }


def _member(name: str, fit_name: str, cases: tuple[Case, ...], campaign: Campaign) -> Member:
    """The member whose weights a fit gave, still in the work folder."""
    path = _weights_path(name, fit_name, campaign)
    names = [case.name for case in cases]
    return Member(
        name=name,
        title=TITLES[name],
        network=name,
        size=SIZES[name]["compact"],
        files=(WeightsFile(path, digest(path)),),
        rules=campaign.rules,
        trained_on={
            "cases": trained_on(fit_name, names),
            "steps": campaign.recipe(name).n_steps,
            "source": "BraTS 2018, 2021 and 2023 training cases (Menze 2015, Bakas 2017, Baid 2021)",
        },
    )


def _ship(cases: tuple[Case, ...], rows: list[dict[str, str | float]], campaign: Campaign) -> None:
    """Copy the fits on all cases into the weights folder and describe them there."""
    shipped = []
    for name in TITLES:
        member = _member(name, "all", cases, campaign)
        path = campaign.weights / f"{name}.safetensors"
        write_whole(path, member.files[0].path.read_bytes())
        scores = {f"cross-validated Dice {r.name}": round(_mean(rows, f"{name} {r.name}"), 4) for r in REGIONS}
        shipped.append(replace(member, files=(WeightsFile(path, member.files[0].sha256),), scores=scores))
    write_manifest(campaign.weights, tuple(shipped))


def _mean(rows: list[dict[str, str | float]], key: str) -> float:
    return float(np.mean([row[key] for row in rows]))


def _as_csv(rows: list[dict[str, str | float]]) -> bytes:
    """The table with a last row of means."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    writer.writerow({"case": "mean", "fold": "", **{key: f"{_mean(rows, key):.4f}" for key in list(rows[0])[2:]}})
    return text.getvalue().encode()
