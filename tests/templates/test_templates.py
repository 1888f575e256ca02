"""Templates: the pass against a loop, cells against event weights, response weights against moved muons."""

import os

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import ndtri

from mucal.calibration import Calibration
from mucal.calibration.response import moments
from mucal.templates import CHANNELS, Binning, Chunk, Sums, Templates, TemplatesConfig, accumulate, build
from mucal.templates.binning import CELLS
from mucal.templates.response import (
    WITHOUT_PIXELS,
    bin_shifts,
    default_resolution,
    muon_shifts,
    pixel_widening,
    relative_resolution,
)
from mucal.templates.variations import by_pt_and_y, response_effects, theory_effects
from mucal.theory import generator, nuisances, production
from mucal.theory.variation import UP

BINS = Binning(axes=("eta", "pt"), edges=((-2.4, -0.8, 0.8, 2.4), tuple(np.linspace(26, 56, 11))))
N = 1 << 16


@pytest.fixture(scope="module")
def events() -> generator.BosonEvents:
    return generator.generate(production.production("w_plus"), 0, N, seed=4)


def chunk_of(events: generator.BosonEvents, names: tuple[str, ...], extra: np.ndarray) -> Chunk:
    return Chunk(
        n_read=len(events), bins=BINS.index((events.leptons[:, 0, 1], events.leptons[:, 0, 0])), weight=events.weight,
        cell=CELLS.index((events.pt, np.abs(events.rapidity))), shares=events.shares, names=names, extra=extra,
    )  # fmt: skip


@pytest.fixture(scope="module")
def templates() -> Templates:
    return build(TemplatesConfig(channel="dilepton", events=1 << 14, chunk=1 << 12))


def test_published_numbers_of_bins():
    expected = {"w": 2880, "wlike": 3264, "dilepton": 350, "kinematics": 800, "boson_w": 26, "boson_z": 13}
    assert {name: b.n_bins for name, b in CHANNELS.items()} == expected


def test_index_is_half_open_and_marks_what_lies_outside():
    found = BINS.index((np.array([-2.4, 2.4, 0.8, np.nan]), np.array([26.0, 30.0, 55.999, 30.0])))
    assert_array_equal(found, [0, -1, 29, -1])


def test_pass_agrees_with_a_loop(events):
    few = events.select(slice(0, 400))
    extra = np.random.default_rng(1).uniform(0.5, 2.0, (400, 3))
    chunk = chunk_of(few, ("a", "b", "c"), extra)
    sums = accumulate(BINS, chunk)
    nominal, cells, columns = np.zeros(30), np.zeros((30, CELLS.n_bins, 9)), np.zeros((30, 3))
    for i in range(400):
        b = chunk.bins[i]
        if b >= 0:
            nominal[b] += few.weight[i]
            cells[b, chunk.cell[i]] += few.weight[i] * few.shares[i]
            columns[b] += few.weight[i] * extra[i]
    assert_allclose(sums.nominal, nominal, rtol=1e-12)
    assert_allclose(sums.cells, cells, rtol=1e-10, atol=1e-14)
    assert_allclose(sums.columns, columns, rtol=1e-12)
    assert_allclose(sums.cells.sum(axis=(1, 2)), sums.nominal, rtol=1e-12)
    assert (sums.n_events, sums.n_filled) == (400, int((chunk.bins >= 0).sum()))


def test_chunks_add_up_to_the_whole(events):
    parts = [accumulate(BINS, chunk_of(events.select(slice(i, N, 4)), (), np.zeros((N // 4, 0)))) for i in range(4)]
    whole = accumulate(BINS, chunk_of(events, (), np.zeros((N, 0))))
    total = parts[0] + parts[1] + parts[2] + parts[3]
    assert_allclose(total.cells, whole.cells, rtol=1e-10, atol=1e-12)
    assert_allclose(total.sumw2, whole.sumw2, rtol=1e-12)
    assert total.n_filled == whole.n_filled


@pytest.mark.parametrize(
    "name", ["pdf_00", "pdf_07", "resum_gamma_cusp", "np_lambda2_w_plus", "scale_w_A3_pt4", "scale_w_A4_inclusive"]
)
def test_cells_agree_with_weights_of_events(events, name):
    # what is lost is the change of a weight within a cell: a few per cent of the variation
    v = nuisances.theory_variations()[name]
    sums = accumulate(BINS, chunk_of(events, ("up",), v.weight(events, UP)[:, None]))
    direct = np.log(sums.columns[:, 0] / sums.nominal)
    mirrored = type(v)(name=v.name, group=v.group, terms=v.terms, samples=v.samples)
    by_cells = theory_effects({"w_plus": sums}, [mirrored]).kappa[0]
    assert np.std(by_cells - direct) < 0.05 * np.sqrt(np.mean(direct**2)), name


def test_response_weights_agree_with_moved_muons(events):
    # the same events, once weighted and once moved by 1e-3 of their curvature: within a tenth of the variation
    # every muon measured 64 times, at equally probable z: otherwise the noise of the weights would be as large
    few = events.select(slice(0, N // 4))
    pt, eta, weight = (np.repeat(a, 64) for a in (few.leptons[:, 0, 0], few.leptons[:, 0, 1], few.weight))
    n = pt.size
    sigma = relative_resolution(default_resolution(), pt, eta)
    z = np.tile(ndtri((np.arange(64) + 0.5) / 64), n // 64)
    measured = pt / (1 + sigma * z)
    coarse = Binning(axes=("pt",), edges=((30.0, 34.0, 38.0, 42.0, 46.0, 50.0),))
    d = np.full(n, 370.0)
    chunk = Chunk(
        n_read=n, bins=coarse.index((measured,)), weight=weight, cell=np.full(n, -1), shares=np.zeros((n, 9)),
        names=("response_A", "response_e", "response_M", "response_a", "response_b", "response_c"),
        extra=moments(pt, np.ones(n), z, sigma, d),
    )  # fmt: skip
    sums = accumulate(coarse, chunk)
    for shift, by_hand in (
        (np.array([1e-3, 0, 0, 0, 0, 0]), lambda k: k * 1.001),
        (np.array([0, 0.04, 0, 0, 0, 0]), lambda k: k * (1 - 0.04 * k)),
        (np.array([0, 0, 2.5e-5, 0, 0, 0]), lambda k: k + 2.5e-5),
    ):
        kappa = response_effects([sums], np.broadcast_to(shift[None, :, None], (1, 6, 5)))[0]
        up = by_hand(1 / pt)
        moved = [_moved(coarse, k, sigma, z, pt, weight) for k in (up, 2 / pt - up)]
        exact = 0.5 * np.log(moved[0] / moved[1])
        assert np.max(np.abs(kappa - exact)) < 0.1 * np.max(np.abs(exact))


def _moved(binning, k, sigma, z, pt, weight):
    bins = binning.index((1 / (k + sigma * z / pt),))
    return np.bincount(bins[bins >= 0], weight[bins >= 0], minlength=binning.n_bins)


def test_bins_and_muons_give_the_same_shift(events, cms_like: Calibration):
    # a histogram in charge and eta may sum moments by bin; otherwise each muon looks its own bin up
    edges = ((-2.0, 0.0, 2.0), tuple(np.round(np.linspace(-2.4, 2.4, 49), 9)), (26.0, 56.0))
    binning = Binning(axes=("charge", "eta", "pt"), edges=edges)
    few = events.select(np.flatnonzero(np.abs(events.leptons[:, 0, 1]) < 2.4)[:500])
    pt, eta = few.leptons[:, 0, 0], few.leptons[:, 0, 1]
    z = np.random.default_rng(3).normal(size=500)
    charge = np.where(np.arange(500) % 2, 1.0, -1.0)
    table = cms_like.resolution_data
    assert table is not None
    sigma, d = relative_resolution(table, pt, eta), np.full(500, 370.0)
    shifts = bin_shifts(cms_like, binning)
    assert len(shifts) == 314
    assert np.all(np.abs(shifts).max(axis=(1, 2)) > 0)
    bins = binning.index((charge, eta, np.full(500, 40.0)))
    by_bin = np.einsum("np,spn->ns", moments(pt, charge, z, sigma, d), shifts[:, :, bins])
    assert_allclose(muon_shifts(cms_like, pt, eta, charge, z, sigma, d), by_bin, rtol=1e-10, atol=1e-14)


def test_pixel_weight_widens_as_the_mixture_of_muons_does(cms_like: Calibration):
    # two kinds of muons with their own widths, weighted one by one: the mean square of the pulls by hand
    table = cms_like.pixels
    assert table is not None
    f = float(table.mc_zero[1, 1, 7] / table.mc[1, 1, 7])
    zero, some = np.exp(table.ln_weights[:, 1, 1, 7])
    variance = np.array([WITHOUT_PIXELS**2, 1.0])
    before = float(np.average(variance, weights=[f, 1 - f]))
    after = float(np.average(variance, weights=[f * zero, (1 - f) * some]))
    found = pixel_widening(cms_like)
    assert_allclose(found[7, 1, 7], after / before - 1, rtol=1e-12)
    assert_allclose(f * zero + (1 - f) * some, 1.0, rtol=1e-12)  # the rate stays
    assert_allclose(found[48], found[:48].sum(axis=0), rtol=1e-12)


def test_bins_across_the_calibration_are_refused(calibration: Calibration):
    with pytest.raises(ValueError, match="do not lie within"):
        bin_shifts(calibration, Binning(axes=("eta",), edges=((-2.4, 0.1, 2.4),)))


def test_coarse_bins_keep_every_event(events):
    sums = accumulate(BINS, chunk_of(events, (), np.zeros((N, 0))))
    coarse = by_pt_and_y(sums, (0.0, 16.0), (0.0, 1.2))
    assert coarse.shape == (4, 9, 30)
    assert_allclose(coarse.sum(axis=(0, 1)), sums.nominal, rtol=1e-12)
    with pytest.raises(ValueError, match="among those"):
        by_pt_and_y(sums, (0.0, 17.0), (0.0,))


def test_threads_do_not_change_a_byte(templates):
    again = build(TemplatesConfig(channel="dilepton", events=1 << 14, chunk=1 << 12), n_threads=2)
    assert_array_equal(again.nominal, templates.nominal)
    assert_array_equal(again.kappa, templates.kappa)


def test_templates_come_back_bit_for_bit(templates, tmp_path):
    back = Templates.load(templates.save(tmp_path / "templates.h5"))
    assert_array_equal(back.kappa, templates.kappa)
    assert back.binning == templates.binning
    assert back.histogram("Zmumu").values().sum() == pytest.approx(templates.nominal.sum())


def test_heavier_bosons_make_harder_pairs(templates):
    mean = [m @ templates.binning.centres("mass") / m.sum() for m in (templates.at_mass(0.1)[0], templates.nominal[0])]
    # 100 MeV times the share of the peak in the window
    assert 0.05 < mean[0] - mean[1] < 0.12
    with pytest.raises(ValueError, match="no template"):
        templates.at_mass(0.015)


def test_even_and_odd_pairs_share_the_events():
    config = {"channel": "wlike", "events": 1 << 13, "chunk": 1 << 12, "theory": False}
    even, odd, both = (build(TemplatesConfig(pairing=p, **config)) for p in ("even", "odd", "both"))
    assert_allclose(0.5 * (even.nominal + odd.nominal), both.nominal, rtol=1e-10)
    assert not np.any((even.nominal > 0) & (even.nominal == odd.nominal))


def test_calibration_nuisances_are_added_to_the_theory(calibration: Calibration):
    made = build(TemplatesConfig(channel="wlike", events=1 << 12, chunk=1 << 12, theory=False), calibration=calibration)
    assert made.nuisances == calibration.names
    assert np.all(np.isfinite(made.kappa))
    assert np.abs(made.kappa).max() > 0


def test_sums_of_other_weights_do_not_add():
    with pytest.raises(ValueError, match="do not add"):
        Sums.zero(4, ("a",)) + Sums.zero(4, ("b",))


def test_smooth_moments_carry_less_noise_and_the_same_shift(cms_like: Calibration):
    # two samples of points: what differs is noise; means over eta, where noise averages out, agree with and without
    found = {}
    for smooth in (True, False):
        kappas = [
            build(
                TemplatesConfig(channel="wlike", events=1 << 16, chunk=1 << 15, theory=False, seed=seed,
                                smooth_response=smooth),
                calibration=cms_like,
            )
            for seed in (1, 2)
        ]  # fmt: skip
        at = kappas[0].index(["zclosure_lep"])[0]
        weight = kappas[0].nominal[0]
        one, two = (k.kappa[0, at] for k in kappas)
        noise = float(np.sqrt(np.average((one - two) ** 2, weights=weight)))
        found[smooth] = (
            noise,
            (one * weight).reshape(2, 48, 34).sum(axis=(0, 1)) / weight.reshape(2, 48, 34).sum((0, 1)),
        )
    # 7 x 15 coefficients stand for 48 x 34 bins
    assert found[True][0] < 0.5 * found[False][0]
    # the mean over 96 slices keeps a 96th of the variance of a bin, which is half that of a difference
    off = (found[True][1] - found[False][1])[4:24]
    assert np.sqrt(np.mean(off**2)) < 2.0 * found[False][0] / np.sqrt(2 * 96)


@pytest.mark.slow
def test_processes_of_a_dask_cluster_fill_the_same_bytes(tmp_path):
    distributed = pytest.importorskip("distributed")
    config = TemplatesConfig(channel="w", events=1 << 14, chunk=1 << 12)
    build(config).save(tmp_path / "here.h5")
    with (
        distributed.LocalCluster(
            n_workers=3, processes=True, threads_per_worker=1, dashboard_address=None, local_directory=tmp_path
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        assert len(set(client.run(os.getpid).values()) - {os.getpid()}) == 3
        build(config, workers=client.get_executor).save(tmp_path / "there.h5")
    assert (tmp_path / "here.h5").read_bytes() == (tmp_path / "there.h5").read_bytes()
