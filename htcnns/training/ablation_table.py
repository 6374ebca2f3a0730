"""An ablation as tables: for people, means with intervals beside what each row costs; for programs, every number."""

from htcnns.reports.tables import Cell, Heading, Table
from htcnns.training.ablation import Ablation
from htcnns.training.mean_columns import KINDS, RECORD, every_mean, mean_columns, over_cases, steps_text
from htcnns.volume import Shape, size_text


def ablation_tables(ablation: Ablation, window: Shape) -> tuple[Table, ...]:
    """Tables for whole masks and for lesions: parameters, GMAC, Dice and HD95 per region in each row of the ablation.

    Args:
        window: window on which the GMAC were counted; papers often report the same number as GFLOPs.
    """
    first = ablation.rows[0].evaluation
    tables = []
    for kind in KINDS:
        if means := mean_columns(first, kind):
            rows: list[tuple[Cell, ...]] = [
                (
                    row.name,
                    f"{row.cost.n_parameters / 1e6:.3f}",
                    f"{row.cost.n_macs / 1e9:.2f}",
                    steps_text(row.steps),
                    row.n_fits,
                    *(column.text(row.evaluation) for column in means),
                )
                for row in ablation.rows
            ]
            columns = ("row", "parameters, M", f"GMAC at {size_text(window)}", "steps", "fits")
            headings = (*columns, *(column.heading for column in means))
            tables.append(Table(f"Ablation, {kind}: {over_cases(first)}", tuple(map(Heading, headings)), tuple(rows)))
    return tuple(tables)


def ablation_record(ablation: Ablation) -> Table:
    """One row for each mean in the tables, unrounded."""
    rows = [
        (row.name, row.cost.n_parameters, row.cost.n_macs, row.n_fits, *row.steps, *cells)
        for row in ablation.rows
        for cells in every_mean(row.evaluation)
    ]
    columns = ("row", "n_parameters", "n_macs", "n_fits", "fewest_steps", "most_steps", *RECORD)
    return Table("Ablation", tuple(map(Heading, columns)), tuple(rows))
