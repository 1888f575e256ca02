"""How a run ended: in a sentence, in numbers, and as `result.json` for scripts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from scipy.special import chdtrc

from mucal import __version__
from mucal.errors import MucalError
from mucal.globalcor import recovery_of_kind
from mucal.massfit import Status as Fit
from mucal.report import TrackResults, UncertaintyModel, p_text
from mucal.report.closure_section import (
    HEAD,
    MASS_HEAD,
    mass_rows,
    parameter_rows,
    plain_table,
    plain_text,
    prior_note,
    split_lines,
)
from mucal.report.closure_section import KINDS as CLOSURE_KINDS
from mucal.scale import ScaleTable
from mucal.workflow.chain import Chain
from mucal.workflow.config import General

Ending = Literal["ok", "not_certified", "failed", "interrupted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended.

    status   : "ok", "not_certified" (finished, but not fit to be exported), "failed" or "interrupted"
    reason   : why it is not "ok"
    where    : places of the reason
    headline : name -> number, what a script wants to know
    lines    : the same for people
    notes    : what a reader should know
    files    : what was written, relative to the folder
    """

    status: Ending
    reason: str = ""
    where: Mapping[str, str] = field(default_factory=dict)
    headline: Mapping[str, float | int | str | None] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "status": self.status,
            "reason": self.reason,
            "where": dict(self.where),
            "mucal": __version__,
            "headline": {name: _finite(value) for name, value in self.headline.items()},
            "notes": list(self.notes),
            "files": list(self.files),
        }

    def json(self) -> str:
        """The text of `result.json`."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def failed(error: BaseException) -> Outcome:
    """The outcome of a run that an error ended."""
    if _is_interrupt(error):
        return Outcome(status="interrupted", reason="interrupted; the same command with --resume goes on")
    if isinstance(error, MucalError):
        return Outcome(status="failed", reason=error.what, where=error.where)
    return Outcome(status="failed", reason=f"{type(error).__name__}: {error}")


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether an error is a KeyboardInterrupt, or what compiled code made of one."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__
    return False


def objections(chain: Chain, general: General) -> list[str]:
    """Why a finished chain is not certified; none if it is."""
    found = []
    tried = ~np.isin(chain.fits.status, (Fit.EMPTY, Fit.LOW_STATS))
    good = float(chain.fits.good.sum() / max(1, tried.sum()))
    if good < general.min_good:
        found.append(f"{good:.1%} of the mass fits are good, required are {general.min_good:.1%}")
    p_value = float(chdtrc(max(1, chain.table.ndf), chain.table.chi2))
    if p_value < general.min_p_value:
        found.append(
            f"the scale table does not describe the mass shifts: chi2 = {chain.table.chi2:.1f} for {chain.table.ndf} "
            f"degrees of freedom, p = {p_value:.2g}, required is {general.min_p_value:g}"
        )
    if not np.all(np.isfinite(chain.table.cov)) or not np.any(np.diag(chain.table.cov) > 0):
        found.append("the covariance of the scale table is not finite and positive")
    return found


def headline(
    chain: Chain, closure: TrackResults | None = None, model: UncertaintyModel | None = None
) -> dict[str, float | int | str | None]:
    """The numbers of a run that a script wants to know; `closure`: of a run from hits, `model`: of its release."""
    numbers: dict[str, float | int | str | None] = {
        "pairs": chain.before.read,
        "pairs_in_bins": chain.before.filled,
        "good_fits": int(chain.fits.good.sum()),
        "scale_chi2": chain.table.chi2,
        "scale_ndf": chain.table.ndf,
    }
    for points in chain.shifts.series:
        numbers |= {f"shift_{points.name}_p_before": points.p_before, f"shift_{points.name}_p_after": points.p_after}
        for when, values, errors in (
            ("before", points.before, points.before_error),
            ("after", points.after, points.after_error),
        ):
            mean, error = weighted_mean(values, errors)
            numbers |= {f"shift_{points.name}_{when}": mean, f"shift_{points.name}_{when}_error": error}
    if chain.recovery is not None:
        r = chain.recovery
        numbers |= {"recovery_chi2": r.chi2, "recovery_ndf": r.ndf, "recovery_p_value": r.p_value}
        for pt, even, error in zip(r.momenta, r.even, r.even_error, strict=True):
            numbers |= {f"recovery_even_{pt:g}gev": float(even), f"recovery_even_{pt:g}gev_error": float(error)}
        for i, pt in enumerate(r.momenta):
            numbers |= {
                f"recovery_best_{pt:g}gev": float(r.best[i]), f"recovery_best_{pt:g}gev_error": float(r.best_error[i]),
                f"recovery_bins_{pt:g}gev_chi2": float(r.bins_chi2[i]), f"recovery_bins_{pt:g}gev_ndf": r.bins_ndf,
            }  # fmt: skip
    if closure is not None:
        numbers |= closure_numbers(closure)
    if model is not None:
        numbers["nuisances"] = int(model.counts.sum())
        numbers |= {f"nuisances_{name}": n for name, n in zip(model.groups, model.counts.tolist(), strict=True)}
    return numbers


def closure_numbers(closure: TrackResults) -> dict[str, float | int | str | None]:
    """Probabilities of the global parameters, mass shifts of other resonances (relative) and of W (MeV)."""
    numbers: dict[str, float | int | str | None] = {}
    for kind, _, _ in CLOSURE_KINDS:
        found = recovery_of_kind(closure.corrections, closure.injected, kind)
        if found is not None:
            numbers |= {f"closure_{kind}_chi2": found.chi2, f"closure_{kind}_ndf": found.ndf}
    shifts = [(one.resonance, one.shift, one.total_error) for one in closure.closing]
    if closure.z is not None:
        shifts.append(("z_fit_mev", closure.z.shift, closure.z.total_error))
    if closure.w is not None:
        shifts.append(("w_mev", closure.w.shift[0], closure.w.total_error[0]))
    for name, shift, error in shifts:
        for i, when in enumerate(("before", "global", "after")):
            numbers |= {f"closure_{name}_{when}": float(shift[i]), f"closure_{name}_{when}_error": float(error[i])}
    return numbers


def _finite(value: float | int | str | None) -> float | int | str | None:
    return None if isinstance(value, float) and not np.isfinite(value) else value


def weighted_mean(values: Any, errors: Any) -> tuple[float, float]:
    """Mean weighted with 1/error^2 and its error; NaN if there is nothing to average."""
    use = np.isfinite(values) & np.isfinite(errors) & (errors > 0)
    if not use.any():
        return float("nan"), float("nan")
    weights = 1.0 / errors[use] ** 2
    return float(np.sum(weights * values[use]) / weights.sum()), float(weights.sum() ** -0.5)


def summary(chain: Chain, closure: TrackResults | None = None, model: UncertaintyModel | None = None) -> list[str]:
    """The headline as lines for people; `closure`: of a run from hits, whose tables say it all."""
    lines = []
    released = [] if model is None else ["", model.line]
    if closure is not None:
        parameters = parameter_rows(closure, chain.recovery, chain.table)
        lines += [*plain_table(HEAD, parameters), *prior_note(chain.table), ""]
        split = [plain_text(line) for line in split_lines(closure)]
        return [*lines, *plain_table(MASS_HEAD, mass_rows(closure)), "", *split, *released]
    if chain.recovery is not None:
        lines += recovery_lines(chain)
    for points in chain.shifts.series:
        before, before_error = weighted_mean(points.before, points.before_error)
        after, after_error = weighted_mean(points.after, points.after_error)
        lines.append(
            f"mass shift against {points.name}: {1e3 * before:+.3f} +- {1e3 * before_error:.3f} -> {1e3 * after:+.3f} "
            f"+- {1e3 * after_error:.3f} (1e-3); no shift anywhere: {p_text(points.p_before)}, "
            f"then {p_text(points.p_after)}"
        )
    return lines + released


def recovery_lines(chain: Chain) -> list[str]:
    """Injected against recovered, with pulls: one line a parameter, then the scale averaged over eta."""
    r = chain.recovery
    if r is None:
        return []
    lines = [f"{'':<14}{'rms injected':>14}{'median error':>14}{'worst pull':>12}"]
    errors = np.sqrt(np.diag(r.recovered.cov)).reshape(3, -1)
    for name, unit, factor, pulls, error in zip(
        ("A", "e", "M"), ("1e-3", "MeV", "1e-5/GeV"), (1e3, 1e3, 1e5), r.pulls, errors, strict=True
    ):
        if not np.isfinite(pulls).any():
            continue
        rms = float(np.sqrt(np.mean(getattr(r.injected, name) ** 2)))
        lines.append(
            f"{name} [{unit}]".ljust(14) + f"{rms * factor:>14.3f}{np.nanmedian(error) * factor:>14.3f}"
            f"{np.nanmax(np.abs(pulls)):>12.2f}"
        )
    z = r.whitened
    width = f", width {z.std(ddof=1):.2f}" if z.size > 1 else ""
    lines.append(f"whitened pulls: mean {z.mean():+.2f} +- {z.size**-0.5:.2f}{width} ({z.size} values)")
    lines.append(f"all together: chi2 = {r.chi2:.1f} for {r.ndf} parameters, p = {r.p_value:.2g}")
    for pt, even, even_error, odd, odd_error in zip(r.momenta, r.even, r.even_error, r.odd, r.odd_error, strict=True):
        lines.append(
            f"eta average at pT = {pt:g} GeV, recovered - injected: even {1e5 * even:+.2f} +- {1e5 * even_error:.2f}, "
            f"odd {1e5 * odd:+.2f} +- {1e5 * odd_error:.2f} (1e-5){beyond(r.recovered, pt)}"
        )
    known = zip(r.momenta, r.best, r.best_error, r.bins_chi2, r.bins_p_value, strict=True)
    for pt, best, error, chi2, p_value in known if r.bins_ndf else ():
        lines.append(
            f"even scale at pT = {pt:g} GeV, best-known mean {1e5 * best:+.2f} +- {1e5 * error:.2f} (1e-5); all bins: "
            f"chi2 = {chi2:.1f} for {r.bins_ndf}, p = {p_value:.2g}{beyond(r.recovered, pt)}"
        )
    return lines


def beyond(table: ScaleTable, pt: float) -> str:
    """The mark of a number at a pT (GeV) where no muon derived the table: " (extrapolated)", or nothing."""
    low, high = table.pt_range
    return "" if low <= pt <= high else f" (extrapolated: derived from {low:g} to {high:g} GeV)"
