"""From generated pairs to efficiencies: what was injected comes back in every step, with errors that are right."""

from dataclasses import replace

import numpy as np
import pytest

from mucal.arrays import FloatArray
from mucal.efficiency import (
    STEPS,
    Efficiencies,
    FitConfig,
    ProbeBinning,
    Probes,
    SmoothConfig,
    Step,
    count_efficiencies,
    fill,
    measure,
    probes_of,
    scale_factors,
)
from mucal.efficiency.templates import simulated_templates, wide_edges
from mucal.simulation.dimuons import DimuonSimulation
from mucal.simulation.tag_and_probe import TagAndProbePairs, TagAndProbeSimulation, generate_tag_and_probe

ETA, PT, UT = (-2.4, -1.2, 0.0, 1.2, 2.4), (26.0, 34.0, 40.0, 46.0, 56.0), (-30.0, 0.0, 20.0, 100.0)
MASS = np.linspace(60.0, 120.0, 61)


def sample(seed: int, n: int, background: float) -> tuple[TagAndProbeSimulation, TagAndProbePairs]:
    dimuons = DimuonSimulation(
        resonance="z", seed=seed, pt_min=15.0, background_fraction=background, background_slope=0.03
    )
    config = TagAndProbeSimulation(dimuons=dimuons)
    return config, generate_tag_and_probe(config, n)


@pytest.fixture(scope="module")
def data() -> tuple[TagAndProbeSimulation, TagAndProbePairs]:
    return sample(11, 300_000, 0.05)


@pytest.fixture(scope="module")
def simulation() -> tuple[TagAndProbeSimulation, TagAndProbePairs]:
    return sample(12, 1_000_000, 0.0)


def binning(step: Step) -> ProbeBinning:
    return ProbeBinning(
        eta_edges=ETA, pt_edges=PT, by_charge=step.by_charge, ut_edges=UT if step.in_ut else None,
        mass_edges=tuple(MASS.tolist()),
    )  # fmt: skip


def truth_of(config: TagAndProbeSimulation, pairs: TagAndProbePairs, step: Step) -> FloatArray:
    """(B,) mean true efficiency of the signal probes in each bin."""
    signal = replace(pairs.muons, weight=pairs.pairs.signal.astype(float))
    probes = probes_of(signal, step)
    true = config.truth[step.name](probes.eta, probes.pt, probes.charge.astype(float), np.nan_to_num(probes.ut))

    def weighted(by: FloatArray) -> FloatArray:
        columns = {name: getattr(probes, name) for name in Probes.__slots__} | {"weight": probes.weight * by}
        return fill(Probes(**columns), step.name, binning(step)).counts.sum(axis=(1, 2))

    result: FloatArray = weighted(true) / weighted(np.ones(len(probes)))
    return result


def measured(data: TagAndProbePairs, simulation: TagAndProbePairs, step: Step) -> Efficiencies:
    wide, _ = wide_edges(MASS)
    bins = binning(step)
    templates = fill(probes_of(simulation.muons, step), step.name, replace(bins, mass_edges=tuple(wide.tolist())))
    spectra = fill(probes_of(data.muons, step), step.name, bins)
    return measure(spectra, FitConfig(), simulated_templates(templates, MASS, pass_for_fail=0.5))


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_injected_efficiencies_come_back(step: Step, data, simulation):
    found = measured(data[1], simulation[1], step)
    good = found.usable & np.isfinite(found.error)
    assert good.sum() > 0.85 * good.size
    pulls = ((found.eff - truth_of(*data, step)) / found.error)[good]
    print(f"\n{step.name}: {found.summary()[0]}; pulls {pulls.mean():+.2f} +- {1 / np.sqrt(pulls.size):.2f}, "
          f"width {pulls.std():.2f}")  # fmt: skip
    # template statistics, half those of data squared, and efficiencies of a few failing probes widen pulls
    assert abs(pulls.mean()) < 4 / np.sqrt(pulls.size) + 0.15
    assert 0.7 < pulls.std() < 1.45


def test_a_difference_between_data_and_simulation_comes_back_as_scale_factor(simulation):
    config = simulation[0]
    moved = replace(config.truth["idip"], plateau=0.96, skew=-0.004)
    other = replace(config, truth={**config.truth, "idip": moved}, dimuons=replace(config.dimuons, seed=13))
    data = other, generate_tag_and_probe(other, 400_000)
    step = next(one for one in STEPS if one.name == "idip")
    found = measured(data[1], simulation[1], step)
    mc = count_efficiencies(fill(probes_of(simulation[1].muons, step), "idip", binning(step)))
    factors = scale_factors(found, mc, SmoothConfig(degree_pt=1))
    eta, pt, charge = (x.ravel() for x in np.meshgrid([-1.8, -0.6, 0.6, 1.8], [30.0, 40.0, 50.0], [-1, 1]))
    charge = charge.astype(int)
    # the mean of the truth over a bin of eta, with the flat density of the middle of it: 1e-4
    fine = eta + np.linspace(-0.55, 0.55, 12)[:, None]
    true = [t(fine, pt, charge.astype(float), np.zeros(1)).mean(axis=0) for t in (moved, config.truth["idip"])]
    off = factors(eta, pt, charge) - true[0] / true[1]
    pulls = off / factors.nominal.error(eta, pt, charge)
    assert abs(off.mean()) < 2e-3
    assert np.abs(pulls).max() < 4.5
    assert factors.nominal.chi2.sum() < factors.nominal.ndf.sum() + 5 * np.sqrt(2 * factors.nominal.ndf.sum())
    charge_difference = (true[0] / true[1])[charge > 0].mean() - (true[0] / true[1])[charge < 0].mean()
    seen = factors(eta, pt, charge)
    assert abs(seen[charge > 0].mean() - seen[charge < 0].mean() - charge_difference) < 3e-3
