"""Models for the tests, and the slow obvious -ln L."""

from dataclasses import replace

import numpy as np
from scipy.optimize import minimize

from mucal.likelihood import Model, Quadratic, from_arrays
from mucal.likelihood.blocks import join


def small_model(n_bins=12, n_shapes=5, seed=1, *, asymmetric=True, sumw2=True, scale=300.0) -> Model:
    """Three processes, one of them with a rate, a free shape parameter "mass" and nuisances, some of a few bins."""
    rng = np.random.default_rng(seed)
    nominal = scale * rng.uniform(0.2, 1.0, (n_bins, 3))
    nominal[:2, 2] = 0.0
    kappa = rng.normal(0, 0.05, (n_bins, 3, n_shapes))
    kappa[n_bins // 4 :, :, 1] = 0.0
    kappa[:, 0, 2] = 0.0
    eta = rng.normal(0, 0.02, kappa.shape) * (kappa != 0) if asymmetric else None
    if eta is not None:
        eta[..., 0] = 0.0
    nuisances = tuple(f"n{j}" for j in range(1, n_shapes))
    return from_arrays(
        nominal,
        kappa,
        eta=eta,
        parameters=("mass", *nuisances),
        processes=("W", "Z", "fake"),
        sumw2=0.02 * nominal**2 / 3 if sumw2 else None,
        free=("mass",),
        rates={"mu": ["W"]},
        pois=("mass", "mu"),
        groups={"first": nuisances[: n_shapes // 2], "second": nuisances[n_shapes // 2 :]},
    )


def rich_model(seed=1, exact=False) -> Model:
    """Everything at once: additive effects, two rates on a process, an external term, processes exactly known."""
    rng = np.random.default_rng(seed)
    plain = small_model(seed=seed)
    nominal = plain.nominal
    kappa = rng.normal(0, 0.05, (plain.n_bins, 3, 5))
    kappa[..., 1:3] *= nominal[..., None]
    kappa[nominal == 0] = 0.0
    sumw2 = rng.uniform(0.005, 0.05, nominal.shape) * nominal**2
    if exact:
        sumw2[:, 1] = 0.0
        sumw2[3] = 0.0
    names = ("mass", "n1", "n2", "n3", "n4")
    model = from_arrays(
        nominal,
        kappa,
        eta=0.3 * np.abs(kappa),
        parameters=names,
        processes=("W", "Z", "fake"),
        sumw2=sumw2,
        free=("mass",),
        additive=("n1", "n2"),
        rates={"mu": ["W", "Z"], "lumi": ["W", "fake"]},
        pois=("mass", "mu"),
        groups={"first": ("n1", "n2"), "second": ("n3", "n4")},
    )
    half = rng.normal(size=(2, 2))
    term = Quadratic(
        name="elsewhere", parameters=("n4", "lumi"), gradient=np.array([0.4, -900.0]), hessian=half @ half.T
    )
    term.hessian[1, 1] += 900.0
    return replace(model, external=(term,))


def explicit_model(model: Model, per: str) -> Model:
    """The same with a rate for every "normal" beta, each bin of a process being a process of its own."""
    cells = np.argwhere(model.nominal > 0)
    has = (model.sumw2 > 0) & (model.nominal > 0)
    own = [(b, p) if per == "process" else (b, 0) for b, p in cells]
    betas = sorted({key for key, (b, p) in zip(own, cells, strict=True) if has[b, p]})
    s = len(model.parameters)
    nominal, sumw2 = np.zeros((model.n_bins, len(cells))), np.zeros((model.n_bins, len(cells)))
    rate = np.full((len(cells), model.rates.shape[1] + 1), -1)
    blocks = []
    for c, (b, p) in enumerate(cells):
        nominal[b, c] = model.nominal[b, p]
        rate[c, :-1] = model.rates[p]
        rate[c, -1] = s + betas.index(own[c]) if has[b, p] else -1
        for block in model.effects.blocks():
            row = block.bins == b
            if block.process == p and row.any():
                eta = block.eta[row] if block.eta.size else block.eta
                blocks.append(replace(block, process=c, bins=np.array([b]), kappa=block.kappa[row], eta=eta))
    k = []
    for b, p in betas:
        at = has[b] if per == "bin" else np.arange(has.shape[1]) == p
        k.append(model.nominal[b, at].sum() ** 2 / model.sumw2[b, at].sum())
    return replace(
        model,
        processes=tuple(f"cell{c}" for c in range(len(cells))),
        parameters=(*model.parameters, *(f"beta_{b}_{p}" for b, p in betas)),
        nominal=nominal,
        sumw2=sumw2,
        effects=join(blocks),
        rate=rate,
        centre=np.concatenate([model.centre, np.ones(len(betas))]),
        precision=np.concatenate([model.precision, k]),
    )


def slow_yields(model: Model, x):
    """Expected events of every process, loop by loop."""
    logs, added = np.zeros(model.nominal.shape), np.zeros(model.nominal.shape)
    for block in model.effects.blocks():
        to = added if block.additive else logs
        for i, b in enumerate(block.bins):
            for j, s in enumerate(block.columns):
                to[b, block.process] += block.kappa[i, j] * x[s]
                if block.eta.size:
                    u = 2 * x[s]
                    alpha = u * (3 * u**4 - 10 * u**2 + 15) / 8 if abs(u) < 1 else np.sign(u)
                    to[b, block.process] += block.eta[i, j] * x[s] * alpha
    yields = (model.nominal + added) * np.exp(logs)
    for p, rates in enumerate(model.rates):
        for j in rates:
            yields[:, p] *= x[j] if j >= 0 else 1.0
    return yields


def slow_nu(model: Model, x):
    """Expected events, loop by loop."""
    return slow_yields(model, x).sum(axis=1)


def slow_value(model: Model, data, x, mc_stat, per):
    """-ln L minimised over every beta by scipy, bin by bin."""
    yields, value = slow_yields(model, x), 0.5 * np.sum(model.precision * (x - data.centre) ** 2)
    for term in model.external:
        y = x[model.index(term.parameters)]
        value += term.gradient @ y + 0.5 * y @ term.hessian @ y
    for b in range(model.n_bins):
        has = (model.sumw2[b] > 0) & (model.nominal[b] > 0) & (mc_stat != "none")
        members = [[p] for p in np.flatnonzero(has)] if per == "process" else [np.flatnonzero(has)] * bool(has.any())
        k = np.array([model.nominal[b, m].sum() ** 2 / model.sumw2[b, m].sum() for m in members])
        nu, rest, n = np.array([yields[b, m].sum() for m in members]), yields[b, ~has].sum(), data.counts[b]

        def minus_log(u, k=k, nu=nu, rest=rest, n=n):
            beta = 1 + u if mc_stat == "normal" else np.exp(u)  # normal factors may turn negative
            mean = rest + beta @ nu
            if mean < 0:
                return np.inf
            here = mean - n - (n * np.log(mean / n) if n > 0 else 0.0)
            penalty = 0.5 * k * u**2 if mc_stat == "normal" else k * (beta - 1 - u)
            return here + penalty.sum()

        if k.size:
            value += minimize(minus_log, np.zeros(k.size), method="Nelder-Mead", options=FINE).fun
        else:
            value += minus_log(np.zeros(0))
    return value


FINE = {"xatol": 1e-9, "fatol": 1e-13, "maxfev": 20_000, "maxiter": 20_000}


def slow_bin(nu, n, k, b0, beta, mc_stat):
    """-ln L of one bin at a given beta."""
    value = beta * nu - n - (n * np.log(beta * nu / n) if n > 0 else 0.0)
    if mc_stat == "gamma":
        value += k * (beta - b0) - k * b0 * np.log(beta / b0)
    if mc_stat == "normal":
        value += 0.5 * k * (beta - b0) ** 2
    return value


def quotient(function, x, h=1e-3):
    """Fourth-order difference quotient along each parameter."""
    rows = []
    for i in range(x.size):
        e = np.zeros(x.size)
        e[i] = h
        rows.append((8 * (function(x + e) - function(x - e)) - function(x + 2 * e) + function(x - 2 * e)) / (12 * h))
    return np.array(rows)
