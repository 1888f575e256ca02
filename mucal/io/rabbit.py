"""Tensors of rabbit, the template fitter of the CMS measurement of m_W, read without it.

A tensor is HDF5: names of processes and parameters, `hnorm` (bins, processes) and `hlogk` (bins, processes, [2,]
parameters) dense, or the same numbers sparse; symmetric without the axis of length 2, which holds kappa and eta.
Signals have a rate each; bins beyond those of the data are masked channels and are left out.  The file's own notes
("meta") are a pickle and are not loaded: all bins are one channel, unless the caller says which there are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

import h5py
import numpy as np

from mucal.arrays import BoolArray, FloatArray
from mucal.errors import InputError, MucalError
from mucal.io import rabbit_arrays as arrays
from mucal.io.file_magic import check_length, identify
from mucal.io.fit_input import FitInput
from mucal.io.rabbit_tensor import read_tensor
from mucal.likelihood import Channel, Model, Quadratic, observe
from mucal.likelihood.blocks import gather

NAMES: Final = ("hprocs", "hsysts", "hconstraintweights", "hdata_obs")
SystematicType = Literal["auto", "log_normal", "normal"]


def is_rabbit(file: h5py.File) -> bool:
    """Whether an open HDF5 file is a tensor."""
    return all(name in file for name in NAMES) and ("hnorm" in file or "hnorm_sparse" in file)


def read_rabbit(
    path: str | Path,
    *,
    channels: Mapping[str, Sequence[int]] | None = None,
    systematic_type: SystematicType = "auto",
    per: Literal["bin", "process"] = "bin",
) -> FitInput:
    """The model and data of a tensor.

    channels        : name -> bins along each axis, in the file's order; one channel "ch0" by default
    systematic_type : "log_normal", or "normal" for effects that add events; "auto" looks into the file's notes
    per             : factors of the simulation, which the file does not say: one for each "bin" multiplies all its
                      processes in rabbit, so that exactly known ones get their share of the variance; one for each
                      "process" (rabbit's "full") leaves them alone

    Raises InputError for what is no tensor, and for what the likelihood cannot say.
    """
    path = Path(path)
    identify(path, "hdf5")
    check_length(path, "hdf5")
    arrays.load_filters()
    try:
        with h5py.File(path, "r") as file:
            if not is_rabbit(file):
                raise InputError(
                    f"{path.name} is HDF5, but no rabbit tensor",
                    kind="rabbit.structure",
                    where={"file": path, "missing": ", ".join(n for n in NAMES if n not in file) or "hnorm"},
                )
            return _read(file, path, channels, systematic_type, per)
    except MucalError:
        raise
    except Exception as error:  # damaged bytes surface as whatever the library raises
        raise InputError(
            f"{path.name} cannot be read: {str(error)[:120]}",
            kind="input.damaged",
            where={"file": path},
            do="copy the file again from its source",
        ) from error


def _read(
    file: h5py.File, path: Path, channels: Mapping[str, Sequence[int]] | None, systematic_type: SystematicType,
    per: Literal["bin", "process"],
) -> FitInput:  # fmt: skip
    counts = arrays.floats(file, "hdata_obs", (None,), path=path)
    kind = _kind(arrays.systematic_type(file, path=path), systematic_type, path)
    if "hbetavariations" in file and arrays.array(file, "hbetavariations", path=path).any():
        raise InputError(
            "the tensor correlates the simulation of different bins (hbetavariations)",
            kind="rabbit.not_exact",
            where={"file": path},
        )
    model, n_full = _model(file, path, _channels(channels, counts.size, path), kind == "normal")
    notes = list(_notes(file, kind, n_full - counts.size))
    mixed = partly_exact(model)
    if per == "bin" and mixed.any():
        model = replace(model, sumw2=np.where(mixed[:, None], shared_variances(model), model.sumw2))
        notes.append(f"bins in which exactly known processes got a share of the variance: {mixed.sum()}")
    names = arrays.texts(file, "hpseudodatanames", path=path)
    others = arrays.floats(file, "hpseudodata", (counts.size, len(names)), path=path) if names else np.zeros((0, 0))
    return FitInput(
        model=model,
        observation=observe(model, counts),
        per=per,
        names=names,
        alternative=others,
        format="rabbit",
        notes=tuple(notes),
    )


def _model(file: h5py.File, path: Path, channels: tuple[Channel, ...], additive: bool) -> tuple[Model, int]:
    """The model of the bins with data, and the number of all bins of the file."""
    processes, systs = arrays.texts(file, "hprocs", path=path), arrays.texts(file, "hsysts", path=path)
    signals = arrays.texts(file, "hsignals", path=path)
    if additive and signals:
        raise InputError(
            "effects add events that the rates of the signals do not multiply; here rates multiply everything",
            kind="rabbit.not_exact",
            where={"file": path, "signals": ", ".join(signals)},
        )
    n_bins = sum(channel.n_bins for channel in channels)
    nominal, effects, n_full = read_tensor(file, path, n_bins, processes, systs, len(signals), additive)
    weights = arrays.floats(file, "hconstraintweights", (len(systs),), path=path)
    model = Model(
        channels=channels,
        processes=processes,
        parameters=(*signals, *systs),
        nominal=nominal,
        sumw2=_variances(file, path, nominal, n_full),
        effects=gather(effects),
        rate=np.array([[signals.index(p) if p in signals else -1] for p in processes], dtype=np.int64),
        centre=np.array([1.0] * len(signals) + [0.0] * len(systs)),
        precision=np.concatenate([np.zeros(len(signals)), weights]),
        pois=(*signals, *_of_interest(file, path, systs)),
        groups=_groups(file, path, systs),
        external=tuple(_external(file, path)),
    )
    return model, n_full


def _kind(noted: str, asked: SystematicType, path: Path) -> str:
    """What effects are; without notes rabbit takes them for log-normal."""
    if asked != "auto":
        return asked
    if noted == "unknown":
        raise InputError(
            "the file's notes, which say whether its effects are log-ratios or events, cannot be read",
            kind="rabbit.notes",
            where={"file": path, "dataset": "meta"},
            do='pip install "mucal[rabbit]", or say systematic_type="log_normal" (mucal fit --systematics log_normal)',
        )
    return noted or "log_normal"


def _notes(file: h5py.File, kind: str, n_masked: int) -> Iterator[str]:
    if n_masked:
        yield f"bins of masked channels left out: {n_masked}"
    if "hdata_cov_inv" in file:
        yield "the covariance of the data was left out: counts are Poisson"
    if kind == "normal":
        yield "effects add events"


def _variances(file: h5py.File, path: Path, nominal: FloatArray, n_full: int) -> FloatArray:
    """(B, P) variances of the simulation, such that k = (sum of N)^2 / sum of variances is the file's.

    Old files have k (bins,) itself, 0 for that of the events themselves.
    """
    n_bins, n_processes = nominal.shape
    total = nominal.sum(axis=1)
    if "hsumw2" not in file:
        k = arrays.floats(file, "hkstat", (None,), path=path)[:n_bins]
        variance = np.divide(total**2, k, out=total.copy(), where=k > 0)
        return _shared(variance, nominal)
    sumw2 = arrays.floats(file, "hsumw2", path=path)
    sumw = arrays.floats(file, "hsumw", sumw2.shape, path=path)
    if sumw2.shape not in ((n_full,), (n_full, n_processes)):
        raise InputError(
            f"'hsumw2' has shape {sumw2.shape}, expected {n_full} [x {n_processes}]",
            kind="rabbit.shape",
            where={"file": path},
        )
    weights = sumw[:n_bins].reshape(n_bins, -1).sum(axis=1)
    scale = np.divide(total, weights, out=np.ones(n_bins), where=weights > 0)
    variances = sumw2[:n_bins]
    if variances.ndim == 1:
        return _shared(variances * scale**2, nominal)
    scaled: FloatArray = variances * scale[:, None] ** 2
    return scaled


def partly_exact(model: Model) -> BoolArray:
    """(B,) bins in which some processes are simulated and others exactly known."""
    simulated = model.sumw2 > 0
    known = (model.nominal > 0) & ~simulated
    return np.asarray(simulated.any(axis=1) & known.any(axis=1))


def shared_variances(model: Model) -> FloatArray:
    """(B, P) the variance of each bin, in proportion to the nominal: its one factor then multiplies all processes."""
    return _shared(model.sumw2.sum(axis=1), model.nominal)


def _shared(variance: FloatArray, nominal: FloatArray) -> FloatArray:
    """(B, P) a variance of each bin (B,), in proportion to the nominal."""
    total = nominal.sum(axis=1, keepdims=True)
    share: FloatArray = np.divide(nominal, total, out=np.zeros(nominal.shape), where=total > 0)
    return share * variance[:, None]


def _channels(channels: Mapping[str, Sequence[int]] | None, n_bins: int, path: Path) -> tuple[Channel, ...]:
    shapes = {name: tuple(shape) for name, shape in (channels or {"ch0": (n_bins,)}).items()}
    found = sum(int(np.prod(shape)) for shape in shapes.values())
    if found != n_bins:
        raise InputError(
            f"the channels given have {found} bins, the tensor has {n_bins}",
            kind="rabbit.channels",
            where={"file": path},
        )
    return tuple(
        Channel(
            name=name,
            axes=tuple(f"axis{i}" for i in range(len(shape))) if len(shape) > 1 else ("bin",),
            edges=tuple(tuple(map(float, range(n + 1))) for n in shape),
        )
        for name, shape in shapes.items()
    )


def _of_interest(file: h5py.File, path: Path, systs: tuple[str, ...]) -> tuple[str, ...]:
    name = "hnoiidxs" if "hnoiidxs" in file else "hnoigroupidxs"
    index = arrays.array(file, name, (None,), path=path).tolist() if name in file else []
    return tuple(systs[i] for i in _valid(index, len(systs), name, path))


def _groups(file: h5py.File, path: Path, systs: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    names = arrays.texts(file, "hsystgroups", path=path)
    members = arrays.array(file, "hsystgroupidxs", (len(names),), path=path) if names else []
    return {
        name: tuple(systs[i] for i in _valid(np.asarray(index).tolist(), len(systs), "hsystgroupidxs", path))
        for name, index in zip(names, members, strict=True)
    }


def _valid(index: Sequence[int], size: int, name: str, path: Path) -> Sequence[int]:
    wrong = [i for i in index if not 0 <= i < size]
    if wrong:
        raise InputError(f"'{name}' names parameter {wrong[0]} of {size}", kind="rabbit.shape", where={"file": path})
    return index


def _external(file: h5py.File, path: Path) -> Iterator[Quadratic]:
    terms = arrays.group(file, "external_terms", path=path) if "external_terms" in file else {}
    for name in terms:
        term = arrays.group(terms, name, path=path)
        parameters = arrays.texts(term, "params", path=path)
        n = len(parameters)
        gradient = arrays.floats(term, "grad_values", (n,), path=path) if "grad_values" in term else np.zeros(n)
        if "hess_dense" in term:
            hessian = arrays.floats(term, "hess_dense", (n, n), path=path)
        else:
            hessian = np.zeros((n, n))
            if "hess_sparse" in term:
                places, values, _ = arrays.sparse(term, "hess_sparse", path=path)
                hessian[places[:, 0], places[:, 1]] = values
        yield Quadratic(name=name, parameters=parameters, gradient=gradient, hessian=hessian)
