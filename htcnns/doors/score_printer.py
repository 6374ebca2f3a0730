"""How an evaluation is shown to people: tables on the terminal and in files."""

from dataclasses import dataclass, replace
from pathlib import Path

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from htcnns.doors.terminal import flag, one_line
from htcnns.errors import EXIT_DONE, SettingsError
from htcnns.files.atomic import followed, require_named_place, write_named
from htcnns.files.names.words import stem
from htcnns.files.places import resolved
from htcnns.reports.score_tables import (
    cases_table,
    cohort_table,
    comparison_table,
    evaluation_record,
    ranking_table,
    summary_table,
    worst_table,
)
from htcnns.reports.strict_json import json_text
from htcnns.reports.tables import Table, csv_text, markdown_text, shown_rows, table_records
from htcnns.runs.evaluate import evaluate_folders, require_scorable
from htcnns.scores.evaluation import EvaluateSettings, Evaluation


@dataclass(frozen=True)
class ScoreFiles:
    """Where tables go in addition to the terminal; None writes none."""

    json: Path | None = None
    csv: Path | None = None
    markdown: Path | None = None

    def require_place(self) -> None:
        """Raise OutputError if a file cannot be written, SettingsError if it would replace a mask or another one."""
        asked_for = {setting: path for setting, path in vars(self).items() if path}
        owners: dict[Path, str] = {}
        for setting, path in asked_for.items():
            if stem(path.name) is not None or stem(followed(path).name) is not None:
                raise SettingsError(
                    "is the name of a mask",
                    place=path,
                    setting=setting,
                    expected="that of a table",
                    remedy="Give another name.",
                )
            first = owners.setdefault(resolved(path), setting)
            if first != setting:
                raise SettingsError(
                    f"is also the file for {flag(first)}",
                    place=path,
                    setting=setting,
                    expected="one file for each",
                    remedy="Give another name.",
                )
        for setting, path in asked_for.items():  # last, as it creates folders
            require_named_place(path, setting=setting)


def evaluate_and_print(
    predictions: Path,
    truths: Path,
    settings: EvaluateSettings,
    *,
    others: tuple[Path, ...] = (),
    paired: tuple[Path, Path] | None = None,
    files: ScoreFiles,
) -> int:
    """Score a folder, and others for the ranking; write the files and print the tables; return the exit code.

    Args:
        others: folders of other methods' predictions, ranked together with the first.
        paired: folders of two methods to compare case by case.

    Raises:
        HtcnnsError: as evaluate_folders; a file that cannot be written.
    """
    files.require_place()  # scoring may take an hour
    folders = dict.fromkeys((predictions, *(paired or ()), *others))  # each once, in this order
    for folder in folders:
        require_scorable(folder, truths, settings)  # all of them, before the first is scored
    evaluations = {folder: evaluate_folders(folder, truths, settings) for folder in folders}
    first = evaluations[predictions]
    tables = [cases_table(first), cohort_table(first), worst_table(first), summary_table(first)]
    comparisons: list[Table] = []
    if len(evaluations) > 1:
        evaluations = _with_different_names(evaluations)
        comparisons.append(ranking_table(list(evaluations.values())))
    if paired:
        comparisons.append(comparison_table(evaluations[paired[0]], evaluations[paired[1]]))
    if files.json:
        content = {
            "methods": {evaluation.name: evaluation_record(evaluation) for evaluation in evaluations.values()},
            "comparisons": {table.title: table_records(table) for table in comparisons},
        }
        write_named(files.json, _bytes(json_text(content)))
    if files.csv:
        write_named(files.csv, _bytes(csv_text(tables[0])))
    if files.markdown:
        write_named(files.markdown, _bytes(markdown_text([*tables, *comparisons])))
    _print([*tables, *comparisons], first)
    return EXIT_DONE


def _bytes(text: str) -> bytes:
    """The text in UTF-8; bytes of a file name that are not UTF-8 are kept as they were."""
    return text.encode(errors="surrogateescape")


def _with_different_names(evaluations: dict[Path, Evaluation]) -> dict[Path, Evaluation]:
    """The same evaluations; those whose folders share a name are named by the folders' paths."""
    names = [evaluation.name for evaluation in evaluations.values()]
    return {
        folder: replace(evaluation, name=str(folder)) if names.count(evaluation.name) > 1 else evaluation
        for folder, evaluation in evaluations.items()
    }


def _print(tables: list[Table], evaluation: Evaluation) -> None:
    """Print the tables, then the cautions that a reader must know."""
    console = Console(width=None if Console().is_terminal else 200, highlight=False, emoji=False)
    for table in tables:
        shown = RichTable(*table.names, title=Text(one_line(table.title)), title_justify="left", box=MARKDOWN)
        for row in shown_rows(table):
            shown.add_row(*(Text(one_line(cell)) for cell in row))  # a plain string would be read as markup
        console.print(shown)
    for caution in evaluation.cautions:
        console.print(one_line(caution), markup=False, soft_wrap=True)
