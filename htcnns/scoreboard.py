"""How an evaluation speaks to people: tables on the terminal and in files."""

from dataclasses import dataclass, replace
from pathlib import Path

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from htcnns.errors import EXIT_DONE, SettingsError
from htcnns.files.naming import stem
from htcnns.files.tables import Table, csv_text, json_text, markdown_text, shown_rows
from htcnns.files.whole import require_no_folder, require_writable, write_whole
from htcnns.runs.evaluate import EvaluateSettings, Evaluation, evaluate_folders
from htcnns.runs.score_tables import (
    cases_table,
    cohort_table,
    comparison_table,
    evaluation_json,
    ranking_table,
    summary_table,
    table_records,
    worst_table,
)
from htcnns.terminal import one_line


@dataclass(frozen=True)
class ScoreFiles:
    """Where tables go besides the terminal; None writes none."""

    json: Path | None = None
    csv: Path | None = None
    markdown: Path | None = None

    def require_place(self) -> None:
        """Raise OutputError where one cannot be written, SettingsError where it would replace a mask or another."""
        asked_for = {f"--{name}": path for name, path in vars(self).items() if path}
        owners: dict[Path, str] = {}
        for flag, path in asked_for.items():
            if stem(path.name) is not None:
                raise SettingsError(f"{flag}: {path} is the name of a mask; expected one of a table. Give another.")
            first = owners.setdefault(path.resolve(), flag)
            if first != flag:
                raise SettingsError(f"{flag}: {path} is what {first} writes, too; expected two files. Give another.")
        for flag, path in asked_for.items():  # last, as it makes folders
            require_no_folder(path, flag=flag)
            require_writable(path.parent)


def evaluate_and_tell(
    predictions: Path,
    truths: Path,
    settings: EvaluateSettings,
    *,
    others: tuple[Path, ...] = (),
    paired: tuple[Path, Path] | None = None,
    files: ScoreFiles,
) -> int:
    """Score a folder, and others for the ranking; print the tables and write the files; the exit code.

    Args:
        others: further methods' predictions, ranked together with the first.
        paired: two methods to tell apart case by case.

    Raises:
        HtcnnsError: as evaluate_folders; a file that cannot be written.
    """
    files.require_place()  # scoring may take an hour
    folders = dict.fromkeys((predictions, *(paired or ()), *others))  # each once, in this order
    evaluations = {folder: evaluate_folders(folder, truths, settings) for folder in folders}
    first = evaluations[predictions]
    tables = [cases_table(first), cohort_table(first), worst_table(first), summary_table(first)]
    if len(evaluations) > 1:
        evaluations = _told_apart(evaluations)
        tables.append(ranking_table(list(evaluations.values())))
    if paired:
        tables.append(comparison_table(evaluations[paired[0]], evaluations[paired[1]]))
    _print(tables, first)
    if files.json:
        content: dict[str, object] = {
            "methods": {evaluation.name: evaluation_json(evaluation) for evaluation in evaluations.values()},
            "comparisons": {table.title: table_records(table) for table in tables[4:]},
        }
        write_whole(files.json, _bytes(json_text(content)))
    if files.csv:
        write_whole(files.csv, _bytes(csv_text(tables[0])))
    if files.markdown:
        write_whole(files.markdown, _bytes(markdown_text(tables)))
    return EXIT_DONE


def _bytes(text: str) -> bytes:
    """UTF-8; bytes of a file name that are none stay what they were."""
    return text.encode(errors="surrogateescape")


def _told_apart(evaluations: dict[Path, Evaluation]) -> dict[Path, Evaluation]:
    """The same with names that differ: folders of one name are called by their path."""
    names = [evaluation.name for evaluation in evaluations.values()]
    return {
        folder: replace(evaluation, name=str(folder)) if names.count(evaluation.name) > 1 else evaluation
        for folder, evaluation in evaluations.items()
    }


def _print(tables: list[Table], evaluation: Evaluation) -> None:
    """The tables, then what a reader must know of them."""
    console = Console(width=None if Console().is_terminal else 200, highlight=False)
    for table in tables:
        shown = RichTable(*table.columns, title=table.title, title_justify="left", box=MARKDOWN)
        for row in shown_rows(table):
            shown.add_row(*(Text(one_line(cell)) for cell in row))  # a plain string would be read as markup
        console.print(shown)
    for caution in evaluation.cautions:
        console.print(one_line(caution), markup=False, soft_wrap=True)
