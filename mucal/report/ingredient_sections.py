"""Nonprompt muons, recoil, and the efficiencies of a whole chain that lie in the folder of a run."""

from collections.abc import Mapping

import numpy as np

from mucal.efficiency import EfficiencyModel
from mucal.plot.nonprompt import prediction_figure
from mucal.plot.recoil import recoil_figure
from mucal.report.page import Item, Picture, Section, Table
from mucal.templates.nonprompt import Nonprompt
from mucal.templates.recoil import RecoilCalibration


def nonprompt_section(found: Mapping[str, Nonprompt]) -> Section:
    """Events, errors, quality of the smoothing and number of nuisances.

    found : file -> result
    """
    rows, items = [], []
    for name, one in found.items():
        low = int((one.p_value < 0.01).sum())
        smoothing, common = (one.groups.count(f"nonprompt_{kind}") for kind in ("smoothing", "common"))
        error = float(np.sqrt((one.error**2).sum()))
        rows.append(
            [name, f"{one.nominal.sum():.0f} ± {error:.0f}", f"{one.chi2.sum():.0f}/{one.ndf.sum():.0f}",
             f"{low} of {one.chi2.size}", f"{smoothing} + {common}"]
        )  # fmt: skip
        items.append(Picture(
            figure=prediction_figure(one), caption=f"{name}: nonprompt muons of the signal region, all of eta; the "
            "band is the statistical error of the sidebands, bins of pT are correlated.",
        ))  # fmt: skip
    head = ["File", "Events", "χ²/ndf of the smoothing", "Slices below p = 1 %", "Nuisances"]
    table = Table(head=head, rows=rows, caption="Errors of the sum take bins as uncorrelated")
    return Section(title="Nonprompt muons", items=(table, *items) if rows else ())


def recoil_section(found: Mapping[str, RecoilCalibration]) -> Section:
    """Response and resolution of data and simulation in bins of the boson's pT.

    found : file -> result
    """
    items: list[Item] = []
    for name, one in found.items():
        kept = one.kept_share()
        rows = [
            [
                f"{one.pt_edges[i]:g} – {one.pt_edges[i + 1]:g}",
                *(f"{one.response[s, i]:.4f} ± {one.response_error[s, i]:.4f}" for s in (0, 1)),
                *(f"{one.resolution[s, c, i]:.3f} ± {one.resolution_error[s, c, i]:.3f}"
                  for c in (0, 1) for s in (0, 1)),
                f"{100 * kept[:, i].min():.0f} %",
            ]
            for i in range(one.pt_mean.size)
        ]  # fmt: skip
        head = ["pT of the boson [GeV]", "Response, data", "simulation", "σ along [GeV], data", "simulation",
                "σ across [GeV], data", "simulation", "Variance kept"]  # fmt: skip
        caption = f"{name}: {one.summary()[0]}"
        items += [Picture(figure=recoil_figure(one), caption=caption), Table(head=head, rows=rows, caption=caption)]
    return Section(title="Recoil", items=tuple(items))


def chain_section(found: Mapping[str, EfficiencyModel]) -> Section:
    """Nuisances of whole chains of scale factors, by step and group.

    found : file -> result
    """
    rows = []
    for name, model in found.items():
        nuisances = model.nuisances()
        veto = () if model.veto is None else (model.veto.step,)
        for step in (*(one.step for one in model.steps), *veto):
            own = [one.group for one in nuisances if one.step == step]
            numbers = [str(sum(kind in group for group in own)) for kind in ("_stat", "_syst")]
            left_out = str(len(model.step(step).nominal.left_out))
            rows.append([name, step, *numbers, left_out])
        total = [sum(kind in one.group for one in nuisances) for kind in ("_stat", "_syst")]
        rows.append([name, "all", *map(str, total), ""])
    head = ["File", "Step", "Statistical", "Systematic", "Bins left out"]
    table = Table(head=head, rows=rows, words=(0, 1), caption="Nuisances of the scale factors")
    return Section(title="Scale factors of the chain", items=(table,) if rows else ())
