"""From hits to corrections: known field, material and displacements come back from simulated J/psi pairs.

The quick tests take the small barrel; the slow one the whole tracker (docs/studies/global_closure.md).
"""

import importlib.util
import os
import sys
import time
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from mucal.detector import barrel, cms_like
from mucal.detector.field import harmonic_modes
from mucal.globalcor import Family, SolveConfig, build_registry, solve
from mucal.refit import MassReference
from mucal.simulation import HitSimulation, ParentSpectrum

_spec = importlib.util.spec_from_file_location("from_hits", Path(__file__).with_name("from_hits.py"))
from_hits = importlib.util.module_from_spec(_spec)
sys.modules["from_hits"] = from_hits  # its dataclasses look their module up
_spec.loader.exec_module(from_hits)


def in_the_barrel(families, theta_of, n_events: int, *, seed: int = 5):
    """Pairs of the small barrel, distorted by theta_of(registry), with their exact reference mass."""
    detector = barrel()
    floating = any(family.kind == "modes" for family in families)
    registry = build_registry(detector, families, harmonic_modes(2, 1) if floating else None)
    theta = theta_of(registry)
    made = from_hits.SimulatedBlocks(
        truth=from_hits.true_detector(detector, registry, theta),
        muons=from_hits.jpsi(seed=seed, eta_max=0.75),
        hits=HitSimulation(seed=2, straggling="gaussian"),
        refit=from_hits.refit_of(detector, registry, MassReference.constant(3.0924, 0.02)),
    )
    mass = from_hits.reference_mass(made, n_events, more=200_000)
    return registry, theta, replace(made, refit=from_hits.refit_of(detector, registry, mass))


FAMILIES = [
    Family(kind="alignment", by="layer", components=("u",), prior=(1e-3,), min_entries=1),
    Family(kind="modes", by="mode", min_entries=1),
    Family(kind="eloss", by="layer", prior=(0.05,), min_entries=1, passive=False),
]


def drawn(registry):
    """Parameters from their priors, and a field too strong by 1e-3."""
    theta = np.random.default_rng(4).normal(size=len(registry)) * registry.prior
    theta[registry.of_kind("modes")] *= 0.1
    theta[registry.index("bfield/l1m0c")] = 3.8e-3
    return theta


@pytest.fixture(scope="module")
def closed():
    """A closure in three refits: registry, truth, first and last corrections, bias of probes before and after."""
    registry, theta, made = in_the_barrel(FAMILIES, drawn, 64_000)
    edges = np.linspace(-0.7, 0.7, 5)
    bias, eta, _, charge, slope = from_hits.probe_bias(made.truth, made.refit, 10.0, 1500, eta_max=0.7)
    before, rows = from_hits.in_bins(bias, eta, charge, slope, edges, 1)
    found, refit = [], made.refit
    for _ in range(3):
        applied = refit.theta if found else None
        found.append(from_hits.corrections(replace(made, refit=refit), 64_000, rows, SolveConfig(), applied=applied))
        refit = replace(made.refit, theta=found[-1].theta)
    bias, eta, _, charge, slope = from_hits.probe_bias(made.truth, refit, 10.0, 1500, eta_max=0.7)
    after, _ = from_hits.in_bins(bias, eta, charge, slope, edges, 1)
    return registry, theta, found[0], found[-1], before, after


def test_injected_parameters_are_recovered_within_their_errors(closed):
    _, theta, _, found, _, _ = closed
    away = (found.theta - theta)[found.free]
    distance = away @ np.linalg.solve(found.covariance, away) / away.size
    assert abs(distance - 1.0) < 3.0 * np.sqrt(2.0 / away.size)


def test_the_third_refit_changes_nothing(closed):
    # a field too strong by 1e-3 moves pairs in and out of the window: the first two steps are not the last
    _, _, first, last, _, _ = closed
    assert last.outer_converged()
    assert last.chi2 / last.ndof == pytest.approx(1.0, abs=0.02)
    assert first.chi2 / first.ndof > 1.02


def test_bias_of_momenta_is_gone_within_its_propagated_error(closed):
    _, _, _, found, before, after = closed
    chi2 = from_hits.chi2_of(after, found.probes)
    assert stats.chi2.sf(chi2, after.size) > 0.01
    assert np.abs(before).min() > 5e-4
    assert np.abs(after).max() < 0.5 * np.abs(before).min()


def test_without_distortions_nothing_is_found():
    registry, _, made = in_the_barrel(FAMILIES, lambda registry: np.zeros(len(registry)), 32_000)
    found = from_hits.corrections(made, 32_000, None, SolveConfig())
    pulls = found.theta[found.free] / found.error[found.free]
    assert np.abs(pulls).max() < 4.0
    # with priors of precision P and a truth of 0 the estimates have the covariance C - C P C
    theta, precision = found.theta[found.free], registry.prior[found.free] ** -2.0
    said_by_pairs = np.eye(theta.size) - precision[:, None] * found.covariance
    distance = theta @ np.linalg.solve(found.covariance, theta)
    assert np.trace(said_by_pairs) > 5
    assert abs(distance - np.trace(said_by_pairs)) < 3.0 * np.sqrt(2.0 * np.trace(said_by_pairs @ said_by_pairs))
    assert registry is found.registry


def test_a_part_of_a_sample_flattens_the_rest():
    # the mass of vertex fits, with the other part's corrections applied, is that of the generated muons; the part that
    # corrects has eight times the events, as radiation spreads its masses and its reference has an error
    _, _, made = in_the_barrel(FAMILIES, drawn, 256_000)
    refit, applied = made.refit, None
    for _ in range(2):
        found = from_hits.corrections(replace(made, refit=refit), 256_000, None, SolveConfig(), applied=applied)
        applied, refit = found.theta, replace(made.refit, theta=found.theta)
    hits = made.simulated(256_000, 288_000)
    shifts = []
    for one in (made.refit, refit):
        fits, _ = one.pairs(hits, profile=False)
        gen = from_hits.generated_mass(hits, fits)
        ok = fits.vertex.ok & (np.abs(fits.vertex.mass - gen) < 5 * fits.vertex.sigma_mass)
        weight = 1.0 / np.median(fits.vertex.sigma_mass[ok]) ** 2
        shift = (fits.vertex.mass - gen)[ok].mean() / 3.0969
        shifts.append((shift, 1.0 / np.sqrt(weight * ok.sum()) / 3.0969))
    assert abs(shifts[0][0]) > 5 * shifts[0][1]
    # both parts' statistical errors
    assert abs(shifts[1][0]) < 3 * np.sqrt(2) * shifts[1][1]


LAYERS = [
    Family(kind="alignment", by="layer", components=("u",), prior=(1e-3,), min_entries=1),
    Family(kind="modes", by="mode", min_entries=1),
    Family(kind="eloss", by="group", min_entries=1),
    Family(kind="mass", by="whole", min_entries=1),
]


def distorted_layers():
    """The whole tracker, a registry of layers, modes and groups, and parameters drawn for it."""
    detector = cms_like()
    registry = build_registry(detector, LAYERS, harmonic_modes(4, 2))
    theta = np.random.default_rng(3).normal(size=len(registry)) * registry.prior
    theta[registry.of_kind("modes")] *= 0.1
    theta[registry.of_kind("mass")] = 0.0
    for name, share in (("l1m0c", 1e-3), ("l2m0c", 5e-4), ("l3m0c", 1e-3)):
        theta[registry.index(f"bfield/{name}")] = 3.81 * share
    return detector, registry, theta


def pairs_of(detector, registry, theta):
    """J/psi pairs through the tracker with these parameters, with a reference mass that is yet to come."""
    return from_hits.SimulatedBlocks(
        truth=from_hits.true_detector(detector, registry, theta), muons=from_hits.jpsi(seed=5),
        hits=HitSimulation(seed=2, straggling="gaussian"),
        refit=from_hits.refit_of(detector, registry, MassReference.constant(3.0924, 0.02)),
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("eta_max", "n", "at_20000"), [(0.8, 96_000, 6.5e-5), (2.4, 8_000, 8.5e-5)])
def test_a_uniform_field_is_known_as_well_as_the_masses_allow(capsys, eta_max, n, at_20000):
    """Of all that floats only the mass sees a common scale: its error is that of the mean of dm/m."""
    detector, registry, theta = distorted_layers()
    field = registry.index("bfield/l1m0c")
    theta = np.where(np.arange(theta.size) == field, 3.81e-3, 0.0)
    made = pairs_of(detector, registry, theta)
    # over the whole tracker the error asked for is that of J/psi above 8 GeV
    parent = ParentSpectrum(p0=4.5, n=4.0, pt_low=8.0, pt_high=150.0) if eta_max > 0.8 else None
    made = replace(made, muons=replace(made.muons, eta_max=eta_max, parent=parent))
    mass = from_hits.reference_mass(made, n, more=500_000)
    start = from_hits.refit_of(detector, registry.with_mass_error(mass.common_error), mass)
    refit, applied = start, None
    for _ in range(2):
        found = from_hits.corrections(replace(made, refit=refit), n, None, SolveConfig(), applied=applied)
        applied, refit = found.theta, replace(start, theta=found.theta)
    fits, _ = refit.pairs(made.simulated(0, min(n, 32_000)), profile=False)
    sigma = fits.vertex.sigma_mass[fits.constrained.ok]
    pair = 1.0 / np.sqrt(np.mean(1.0 / (sigma**2 + mass.gamma[0] ** 2))) / mass.m_ref[0]
    known = found.error[field] / 3.81
    statistical = np.sqrt(known**2 - (mass.common_error / mass.m_ref[0]) ** 2)
    scaled = statistical * np.sqrt(found.n_candidates / 20_000)
    with capsys.disabled():
        print(f"\n|eta| < {eta_max}, {found.n_candidates} pairs: dB/B {found.theta[field] / 3.81:.6f} +- {known:.6f}; "
              f"of the pairs {scaled:.2e} for 20 000, of the mass alone {pair / np.sqrt(20_000):.2e}")  # fmt: skip
    assert abs(found.theta[field] - theta[field]) < 4.0 * found.error[field]
    assert scaled < at_20000
    assert 0.97 < scaled / (pair / np.sqrt(20_000)) < 1.2


def kept(folder, name, make):
    """A reference mass of the folder, made if it is not there."""
    if folder is None:
        return make()
    path = folder / f"{name}.h5"
    return MassReference.load(path if path.exists() else make().save(path))


@pytest.mark.slow
def test_closure_of_the_whole_tracker(capsys):
    """Two refits of a part of the events find the neighbourhood, one of all of them the corrections.

    MUCAL_CLOSURE_EVENTS : generated, about sixteen for a pair; 16 000 000 give a million pairs
    MUCAL_CLOSURE_FOLDER : keeps sums, so that a run that was stopped can go on, or end with fewer events, and the next
                           test can start from them
    MUCAL_FIGURES        : folder for the bias of curvature in three stages
    """
    detector, registry, theta = distorted_layers()
    n = int(os.environ.get("MUCAL_CLOSURE_EVENTS", "1_600_000"))
    folder = Path(os.environ["MUCAL_CLOSURE_FOLDER"]) if "MUCAL_CLOSURE_FOLDER" in os.environ else None

    def say(text):
        with capsys.disabled():
            print(f"{time.process_time():8.0f} s  {text}", flush=True)

    made = pairs_of(detector, registry, theta)
    n_simulated = min(n // 4, 1_200_000)
    mass = kept(folder, f"reference_{n_simulated}", lambda: from_hits.reference_mass(made, n_simulated, more=4_000_000))
    say(f"mean mass {mass.m_ref[0]:.6f} +- {mass.common_error:.6f} GeV, width {mass.gamma[0]:.5f} GeV")
    registry = registry.with_mass_error(mass.common_error)
    start = from_hits.refit_of(detector, registry, mass)
    edges = np.linspace(-2.3, 2.3, 17)
    before, rows = from_hits.bias_in_bins(made.truth, start, edges)
    refit, applied = start, None
    for events in (min(n // 8, 300_000), min(n // 4, 900_000), n):
        found = from_hits.corrections(
            replace(made, refit=refit, seen=folder if events == n else None), events, rows, SolveConfig(),
            applied=applied, kept=folder,
        )  # fmt: skip
        step = np.abs(found.step[found.free] / found.error[found.free]).max()
        say(f"{found.n_candidates} pairs, chi2/ndof {found.chi2 / found.ndof:.4f}, step {step:.2f} sigma")
        applied, refit = found.theta, replace(start, theta=found.theta)
    after, _ = from_hits.bias_in_bins(made.truth, refit, edges)
    away = (found.theta - theta)[found.free]
    distance = away @ np.linalg.solve(found.covariance, away) / away.size
    say(f"{away.size} parameters: distance/N {distance:.3f}")
    for part, name in enumerate(("even, 10 GeV", "odd, 40 GeV")):
        cells = slice(16 * part, 16 * (part + 1))
        values, cov = after[cells], found.probes[cells, cells]
        p = stats.chi2.sf(from_hits.chi2_of(values, cov), values.size)
        errors = np.sqrt(np.diag(cov))
        say(f"{name}: mean {1e5 * values.mean():+.2f} +- {1e5 * np.sqrt(cov.mean()):.2f} e-5, largest "
            f"{1e5 * np.abs(values).max():.1f} (errors {1e5 * errors.min():.1f} to {1e5 * errors.max():.1f}), before "
            f"{1e5 * before[cells].mean():+.1f}, {1e5 * np.abs(before[cells]).max():.0f}; chi2 "
            f"{from_hits.chi2_of(values, cov):.1f}, p = {p:.2f}")  # fmt: skip
        assert p > 0.01
        if part == 0 and found.n_candidates >= 1_000_000:
            assert abs(values.mean()) < 3e-5
    assert abs(distance - 1.0) < 3.0 * np.sqrt(2.0 / away.size)
    if "MUCAL_FIGURES" in os.environ:
        from_hits.draw_curves(made.truth, start, refit, Path(os.environ["MUCAL_FIGURES"]) / "curvature_bias.png")


@pytest.mark.slow
def test_the_scale_of_pairs_with_mirrored_noise(tmp_path, capsys):
    """What noise, selection and window do to the common scale in the second order: the rest cancels or is known.

    Each pair is summed with its noise and with the opposite noise, which cancels in the first order; the generated
    masses of the very pairs give their own mean, and priors act about the truth.  What is left is the score there.
    Errors are those of pieces of 800 000 events, MUCAL_CLOSURE_EVENTS of them; MUCAL_CLOSURE_FOLDER as above.
    """
    detector, registry, theta = distorted_layers()
    n = int(os.environ.get("MUCAL_CLOSURE_EVENTS", "1_600_000"))
    folder = Path(os.environ["MUCAL_CLOSURE_FOLDER"]) if "MUCAL_CLOSURE_FOLDER" in os.environ else None

    def say(text):
        with capsys.disabled():
            print(f"{time.process_time():8.0f} s  {text}", flush=True)

    made = pairs_of(detector, registry, theta)
    n_simulated = min(n // 4, 1_200_000)
    mass = kept(folder, f"reference_{n_simulated}", lambda: from_hits.reference_mass(made, n_simulated, more=4_000_000))
    registry = registry.with_mass_error(mass.common_error)
    start = from_hits.refit_of(detector, registry, mass)
    edges = np.linspace(-2.3, 2.3, 17)
    refit, applied = start, None
    for events in (300_000, 900_000):
        near = from_hits.corrections(
            replace(made, refit=refit), events, None, SolveConfig(), applied=applied, kept=folder
        )
        applied, refit = near.theta, replace(start, theta=near.theta)
    say(f"linearised about the corrections of {near.n_candidates} pairs")
    _, rows_of_bias = from_hits.bias_in_bins(made.truth, refit, edges)
    both = [
        replace(made, refit=refit, seen=folder or tmp_path, hits=replace(made.hits, mirrored=image))
        for image in (False, True)
    ]
    sums = [
        from_hits.sums_of(one, n, kept=folder, sample=name) for one, name in zip(both, ("", "_mirrored"), strict=True)
    ]
    label = np.flatnonzero(registry.of_kind("mass"))[0]
    pieces, scores = [], {"as they are": [], "and mirrored": []}
    for number, (as_is, image) in enumerate(zip(*sums, strict=True)):
        columns = [from_hits.columns_of_piece(one, n, number) for one in both]
        pieces.append((as_is, as_is + image))
        for name, sum_, used in zip(scores, pieces[-1], (columns[:1], columns), strict=True):
            true = theta.copy()
            true[label] = from_hits.own_mean(refit, np.hstack(used))
            scores[name].append(from_hits.score_at(solve(sum_, registry, SolveConfig(), applied=applied), true))
    assert len(pieces) > 1
    momenta = (4.0, 5.0, 7.0, 10.0, 20.0, 40.0)
    slopes = [from_hits.even_slopes(made.truth, refit, pt, edges) for pt in momenta]
    for i, (name, each) in enumerate(scores.items()):
        seen = {}
        found = solve(reduce(add, (piece[i] for piece in pieces)), registry, SolveConfig(), applied=applied)
        shifts = found.covariance @ np.transpose(each)
        away = (found.theta - theta)[found.free]
        distance = away @ np.linalg.solve(found.covariance, away) / away.size
        after, _ = from_hits.bias_in_bins(made.truth, replace(start, theta=found.theta), edges)
        cov = rows_of_bias[:, found.free] @ found.covariance @ rows_of_bias[:, found.free].T
        say(f"{found.n_candidates} fits {name}; distance/N {distance:.3f} of {away.size} with the priors as they are")
        for part, cells in (("even, 10 GeV", slice(16)), ("odd, 40 GeV", slice(16, 32))):
            chi2 = from_hits.chi2_of(after[cells], cov[cells, cells])
            error = np.sqrt(cov[cells, cells].mean())
            say(f"  {part}: mean {1e5 * after[cells].mean():+.2f} +- {1e5 * error:.2f} e-5, "
                f"chi2 of 16 bins {chi2:.1f}, p = {stats.chi2.sf(chi2, 16):.2f}")  # fmt: skip
        say(f"  the score at the truth, errors from {len(each)} pieces")
        for pt, rows in zip(momenta, slopes, strict=True):
            by_bin = rows[:, found.free] @ shifts
            mean = by_bin.mean(axis=0)
            error = mean.std(ddof=1) * np.sqrt(mean.size)
            say(f"  even, {pt:g} GeV: mean {1e5 * mean.sum():+.2f} +- {1e5 * error:.2f} e-5, of bins "
                f"{1e5 * by_bin.sum(axis=1).min():+.1f} to {1e5 * by_bin.sum(axis=1).max():+.1f}")  # fmt: skip
            seen[pt] = mean.sum(), error
    for scale, error in seen.values():  # of the mirrored pairs
        assert abs(scale) < max(1e-5, 3.0 * error)


@pytest.mark.slow
def test_corrections_of_one_half_flatten_the_mass_of_the_other(capsys):
    """In bins of eta of either charge and of the softer pT."""
    detector, registry, theta = distorted_layers()
    n = int(os.environ.get("MUCAL_CLOSURE_EVENTS", "240_000"))
    made = pairs_of(detector, registry, theta)
    mass = from_hits.reference_mass(made, n)
    registry = registry.with_mass_error(mass.common_error)
    start = from_hits.refit_of(detector, registry, mass)
    applied, refit = None, start
    for _ in range(2):
        found = from_hits.corrections(replace(made, refit=refit), n // 2, None, SolveConfig(), applied=applied)
        applied, refit = found.theta, replace(start, theta=found.theta)
    other = from_hits.PairsOfBins.of(replace(made, refit=start), replace(made, refit=refit), n // 2, n)
    with capsys.disabled():
        print(
            f"\n{found.n_candidates} pairs of one half, chi2/ndof {found.chi2 / found.ndof:.4f}; {other.n} of the other"
        )
        for name in ("eta of mu+", "eta of mu-", "softer pT"):
            before, after = other.profile(name, 0, found), other.profile(name, 1, found)
            print(f"{name}: chi2 of {after.values.size} bins {before.chi2:.1f} before, {after.chi2:.1f} after; largest "
                  f"{1e5 * np.abs(before.values).max():.0f}, {1e5 * np.abs(after.values).max():.0f}, errors "
                  f"{1e5 * after.errors.min():.0f} to {1e5 * after.errors.max():.0f} e-5")  # fmt: skip
            assert stats.chi2.sf(before.chi2, before.values.size) < 1e-4
            assert stats.chi2.sf(after.chi2, after.values.size) > 0.01


COARSE = [Family(kind="modes", by="mode", min_entries=1), Family(kind="eloss", by="group", min_entries=1)]
FINE = [
    Family(kind="bfield", by="module", components=("z",), passive=False, min_entries=1),
    Family(kind="eloss", by="module", passive=False, min_entries=1),
]
COMMON = [*FINE, Family(kind="modes", by="mode", min_entries=1)]
"""A field that is the same in many legs is no draw from their priors: it has parameters of its own."""
AROUND = [
    Family(kind="alignment", by="module", components=("u",), prior=(5e-3,), min_entries=1),
    Family(kind="mass", by="whole", min_entries=1),
]


@pytest.mark.slow
def test_field_and_material_of_every_leg_beside_modes_and_groups(capsys):
    """One distorted tracker, its field and material sought as a few modes and groups, and module by module."""
    detector, modes = cms_like(), harmonic_modes(4, 2)
    coarse = build_registry(detector, [*AROUND, *COARSE], modes)
    every = {"modes and groups": coarse, "every leg": build_registry(detector, [*AROUND, *FINE]),
             "every leg, and modes": build_registry(detector, [*AROUND, *COMMON], modes)}  # fmt: skip
    asked = os.environ.get("MUCAL_CLOSURE_CHOICES", ",".join(every).replace("leg, and", "leg and")).split(",")
    theta = np.random.default_rng(3).normal(size=len(coarse)) * coarse.prior
    theta[coarse.of_kind("alignment")] *= 0.2
    theta[coarse.of_kind("mass")] = 0.0
    theta[coarse.of_kind("modes")] *= 0.1
    for name, share in (("l1m0c", 1e-3), ("l2m0c", 5e-4), ("l3m0c", 1e-3)):
        theta[coarse.index(f"bfield/{name}")] = 3.81 * share
    n = int(os.environ.get("MUCAL_CLOSURE_EVENTS", "320_000"))
    made = from_hits.SimulatedBlocks(
        truth=from_hits.true_detector(detector, coarse, theta), muons=from_hits.jpsi(seed=5),
        hits=HitSimulation(seed=2, straggling="gaussian"),
        refit=from_hits.refit_of(detector, coarse, MassReference.constant(3.0924, 0.02)),
    )  # fmt: skip
    reference = from_hits.reference_mass(made, n)
    edges = np.linspace(-2.3, 2.3, 13)
    for name, registry in every.items():
        if name.replace(",", "") not in asked:
            continue
        registry = registry.with_mass_error(reference.common_error)
        start = from_hits.refit_of(detector, registry, reference)
        before, rows = from_hits.bias_in_bins(made.truth, start, edges)
        refit, applied = start, None
        for _ in range(2):
            found = from_hits.corrections(
                replace(made, refit=refit), n, rows, SolveConfig(method="iterative"), applied=applied
            )
            applied, refit = found.theta, replace(start, theta=found.theta)
        after, _ = from_hits.bias_in_bins(made.truth, refit, edges)
        with capsys.disabled():
            print(f"\n{name}: {found.n_candidates} pairs, {found.free.sum()} parameters, {found.iterations} steps, "
                  f"chi2/ndof {found.chi2 / found.ndof:.4f}")  # fmt: skip
            for part, label in enumerate(("even, 10 GeV", "odd, 40 GeV")):
                cells = slice(part * (edges.size - 1), (part + 1) * (edges.size - 1))
                values, cov = after[cells], found.probes[cells, cells]
                p = stats.chi2.sf(from_hits.chi2_of(values, cov), values.size)
                mean, error = 1e5 * values.mean(), 1e5 * np.sqrt(cov.mean())
                print(
                    f"  {label}: mean {mean:+.1f} +- {error:.1f} e-5, largest {1e5 * np.abs(values).max():.0f} "
                    f"(errors {1e5 * np.sqrt(np.diag(cov)).min():.0f} to {1e5 * np.sqrt(np.diag(cov)).max():.0f}), "
                    f"before {1e5 * before[cells].mean():+.0f}, {1e5 * np.abs(before[cells]).max():.0f}; p = {p:.2f}"
                )
                # a coherent field is no draw from independent priors on legs: see the study
                if name != "every leg" or part == 1:
                    assert p > 1e-3
