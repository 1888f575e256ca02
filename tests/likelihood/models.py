"""Models for the tests, and the slow obvious -ln L."""

import numpy as np

from mucal.likelihood import Model, from_arrays


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


def slow_nu(model: Model, x):
    """Expected events, loop by loop."""
    nu = np.zeros(model.n_bins)
    exponents = np.zeros(model.nominal.shape)
    for block in model.effects.blocks():
        for i, b in enumerate(block.bins):
            for j, s in enumerate(block.columns):
                exponents[b, block.process] += block.kappa[i, j] * x[s]
                if block.eta.size:
                    u = 2 * x[s]
                    alpha = u * (3 * u**4 - 10 * u**2 + 15) / 8 if abs(u) < 1 else np.sign(u)
                    exponents[b, block.process] += block.eta[i, j] * x[s] * alpha
    for b in range(model.n_bins):
        for p in range(len(model.processes)):
            rate = x[model.rate[p]] if model.rate[p] >= 0 else 1.0
            nu[b] += rate * model.nominal[b, p] * np.exp(exponents[b, p])
    return nu


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
