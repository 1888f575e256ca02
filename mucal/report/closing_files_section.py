"""What a resonance of recorded pairs that derived nothing says of the calibration."""

from collections.abc import Sequence

from mucal.plot.masses import ClosingShifts, shift_figure
from mucal.report.page import Item, Picture, Section, Table
from mucal.report.run_results import p_text, resonance_name, variable_name
from mucal.theory import RESONANCES


def closing_files_section(found: Sequence[ClosingShifts], calibrating: str) -> Section:
    """Closing resonances before and after the correction; empty without one.

    calibrating : the resonance that gave the table
    """
    if not found:
        return Section(title="Closure", items=())
    items: list[Item] = [
        Table(
            head=["Resonance", "Pairs", "As read [10⁻³]", "Calibrated [10⁻³]", "Statistics", "Table", "Masses", "Pull"],
            rows=[_row(one) for one in found],
            caption=f"Mass relative to its reference, of a resonance that took no part in the table from "
            f"{resonance_name(calibrating)}; errors of the calibrated mass. Muons of all momenta are "
            "corrected, also those beyond the momenta that derived the table.",
        )
    ]
    for one in found:
        flat = "; ".join(
            f"against {variable_name(points.name)} {p_text(points.p_before)} before, {p_text(points.p_after)} after"
            for points in one.series
        )
        items.append(
            Picture(
                figure=shift_figure(one, note=f"{RESONANCES[one.resonance].label}, took no part"),
                caption=f"{resonance_name(one.resonance)}: relative shift of the fitted mass from "
                + ("simulation" if one.beside_simulation else "its line shape")
                + f". Band: errors of the table. No shift anywhere: {flat}.",
            )
        )
    names = ", ".join(resonance_name(one.resonance) for one in found)
    return Section(title=f"Closure: {names} against {resonance_name(calibrating)}", items=tuple(items))


def closing_files_lines(found: Sequence[ClosingShifts]) -> list[str]:
    """The same for a terminal, one line a resonance."""
    return [
        f"{one.resonance} with the calibration: mass shift {1e3 * one.shift[0]:+.3f} +- {1e3 * one.error[0]:.3f} -> "
        f"{1e3 * one.shift[1]:+.3f} +- {1e3 * one.error[1]:.3f} (statistics) +- {1e3 * one.table_error[1]:.3f} (table) "
        f"+- {1e3 * one.mass_error:.3f} (masses) (1e-3), {one.pairs} pairs"
        for one in found
    ]


def closing_files_numbers(found: Sequence[ClosingShifts]) -> dict[str, float]:
    """The same for scripts: name -> number."""
    numbers: dict[str, float] = {}
    for one in found:
        for when, shift, error in zip(("before", "after"), one.shift, one.total_error, strict=True):
            name = f"closing_{one.resonance}_{when}"
            numbers |= {name: float(shift), f"{name}_error": float(error)}
    return numbers


def _row(one: ClosingShifts) -> list[str]:
    before, after = (f"{1e3 * shift:+.3f}" for shift in one.shift)
    return [
        resonance_name(one.resonance), str(one.pairs), f"{before} ± {1e3 * one.error[0]:.3f}",
        f"{after} ± {1e3 * one.total_error[1]:.3f}", f"{1e3 * one.error[1]:.3f}", f"{1e3 * one.table_error[1]:.3f}",
        f"{1e3 * one.mass_error:.3f}", f"{one.shift[1] / one.total_error[1]:+.1f}",
    ]  # fmt: skip
