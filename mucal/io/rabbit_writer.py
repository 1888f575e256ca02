"""Models written as rabbit tensors, with h5py alone.

rabbit reads a file without its pickled notes as one flat channel "ch0" with log-normal effects in the asymmetric
layout: that is what is written by default.  The symmetric layout halves the file, but rabbit cannot tell it without
notes.
"""

from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.errors import InputError
from mucal.io.fit_input import FitInput
from mucal.io.rabbit import partly_exact
from mucal.likelihood import Model, Observation, expected_events, observe
from mucal.store import replace_file

Layout = Literal["asymmetric", "symmetric"]


def write_rabbit(
    path: str | Path, found: FitInput, *, layout: Layout = "asymmetric", sparse: bool = False, overwrite: bool = False
) -> Path:
    """Write a model with its data, or what it expects, as a tensor.

    layout : "symmetric" leaves eta out; for our reader, and files to which notes are added
    sparse : store only numbers that are not 0

    Raises InputError for what a tensor cannot say, naming it; with one factor of the simulation per bin that is a bin
    of simulated and exactly known processes, for there the factor multiplies all (`rabbit.shared_variances` lets it).
    """
    model = found.model
    data = found.observation or observe(model, expected_events(model))
    rates = _signals(found, data)
    others = [j for j in range(len(model.parameters)) if j not in rates]
    # free ones first, as rabbit's own writer does
    order = sorted(others, key=lambda j: bool(model.precision[j] > 0))
    signals = sorted(rates.values())
    processes = np.array([*signals, *sorted(set(range(len(model.processes))) - set(signals))], dtype=np.int64)
    mixed = np.flatnonzero(partly_exact(model))
    if found.per == "bin" and found.mc_stat != "none" and mixed.size:
        known = np.flatnonzero((model.nominal[mixed[0]] > 0) & (model.sumw2[mixed[0]] == 0))
        raise _refused(
            f"process '{model.processes[known[0]]}' in bin {mixed[0]}, one of {mixed.size}",
            "it is exactly known beside simulated ones, and the factor of a bin multiplies all processes there",
            'share the variance of each bin (mucal.io.rabbit.shared_variances), or fit with per="process"',
        )
    kappa, eta = _dense(model, order, processes)
    if layout == "symmetric" and eta.any():
        raise _refused("effects", "some are asymmetric, which the symmetric layout has no place for")

    def write(temporary: Path) -> None:
        with h5py.File(temporary, "w", track_order=False) as file:
            _write_names(file, model, order, processes, signals)
            _write_data(file, found, data, order, processes)
            tensor = kappa if layout == "symmetric" else np.stack([kappa, eta], axis=2)
            _write_tensor(file, model.nominal[:, processes], tensor, sparse)

    return replace_file(path, write, overwrite=overwrite)


def _signals(found: FitInput, data: Observation) -> dict[int, int]:
    """Rate -> the one process that it multiplies.  Raises InputError for anything that a tensor cannot say."""
    model = found.model
    rates: dict[int, int] = {}
    for p, members in enumerate(model.rates.tolist()):
        used = [j for j in members if j >= 0]
        if len(used) > 1 or any(j in rates for j in used):
            raise _refused(f"process '{model.processes[p]}'", "a signal has one rate, and a rate one signal")
        rates |= dict.fromkeys(used, p)
    for j in rates:
        if model.precision[j] > 0 or model.centre[j] != 1.0 or model.parameters[j] not in model.pois:
            raise _refused(f"rate '{model.parameters[j]}'", "rates are free parameters of interest that start at 1")
    shapes = [j for j in range(len(model.parameters)) if j not in rates]
    if np.any(data.centre[shapes] != 0.0):
        j = shapes[int(np.flatnonzero(data.centre[shapes])[0])]
        raise _refused(f"parameter '{model.parameters[j]}'", f"its centre is {data.centre[j]:g}, and all are 0 there")
    if model.effects.additive.any():
        raise _refused("effects", "some add events, which takes notes that only rabbit can write")
    if any(set(block.columns.tolist()) & set(rates) for block in model.effects.blocks()):
        raise _refused("effects", "a rate changes templates too")
    if model.frozen:
        raise _refused(f"parameter '{model.frozen[0]}'", "it is frozen, which is an option of the fit there")
    return rates


def _dense(model: Model, order: list[int], processes: IntArray) -> tuple[FloatArray, FloatArray]:
    """kappa and eta (B, P, S) in the order of the file; what acts on the same place is added."""
    place = np.full(len(model.parameters), -1)
    place[order] = np.arange(len(order))
    row = np.argsort(processes)
    kappa = np.zeros((model.n_bins, len(model.processes), len(order)))
    eta = np.zeros_like(kappa)
    for block in model.effects.blocks():
        at = np.ix_(block.bins, place[block.columns])
        kappa[:, row[block.process]][at] += block.kappa
        if block.eta.size:
            eta[:, row[block.process]][at] += block.eta
    return kappa, eta


def _write_names(file: Any, model: Model, order: list[int], processes: IntArray, signals: list[int]) -> None:
    systs = [model.parameters[j] for j in order]
    free = [name for name, j in zip(systs, order, strict=True) if model.precision[j] == 0]
    groups = {g: [systs.index(m) for m in members if m in systs] for g, members in model.groups.items()}
    text = h5py.string_dtype()
    for name, values in (
        ("hprocs", [model.processes[p] for p in processes]),
        ("hsignals", [model.processes[p] for p in signals]),
        ("hsysts", systs),
        ("hsystsnoconstraint", free),
        ("hsystgroups", list(groups)),
    ):
        file.create_dataset(name, data=np.array(values, dtype=object), dtype=text)
    ragged = np.empty(len(groups), dtype=object)
    for i, members in enumerate(groups.values()):
        ragged[i] = np.array(members, dtype=np.int32)
    file.create_dataset("hsystgroupidxs", data=ragged, dtype=h5py.vlen_dtype(np.dtype("int32")))
    interest = [systs.index(name) for name in model.pois if name in systs]
    file.create_dataset("hnoiidxs", data=np.array(interest, dtype=np.int32))


def _write_data(file: Any, found: FitInput, data: Observation, order: list[int], processes: IntArray) -> None:
    model = found.model
    file["hconstraintweights"] = model.precision[order]
    file["hdata_obs"] = data.counts
    file["hsumw"] = model.nominal[:, processes]
    file["hsumw2"] = model.sumw2[:, processes] if found.mc_stat != "none" else np.zeros(model.nominal.shape)
    names = np.array(found.names, dtype=object)
    file.create_dataset("hpseudodatanames", data=names, dtype=h5py.string_dtype())
    file["hpseudodata"] = found.alternative if found.names else np.zeros((model.n_bins, 0))
    for term in model.external:
        group = file.create_group(f"external_terms/{term.name}")
        group.create_dataset("params", data=np.array(term.parameters, dtype=object), dtype=h5py.string_dtype())
        group["grad_values"] = term.gradient
        group["hess_dense"] = term.hessian


def _write_tensor(file: Any, nominal: FloatArray, tensor: FloatArray, sparse: bool) -> None:
    """`tensor` is (B, P, S) or (B, P, 2, S)."""
    if not sparse:
        file["hnorm"], file["hlogk"] = nominal, tensor
        return
    places = np.argwhere(nominal > 0)
    rows = tensor[nominal > 0].reshape(len(places), -1)
    columns = np.argwhere(rows != 0)
    for name, index, values, shape in (
        ("hnorm_sparse", places, nominal[nominal > 0], nominal.shape),
        ("hlogk_sparse", columns, rows[rows != 0], rows.shape),
    ):
        group = file.create_group(name)
        group["indices"], group["values"] = index.astype(np.int64), values
        group.attrs["dense_shape"] = np.array(shape, dtype=np.int64)


def _refused(what: str, why: str, do: str = "") -> InputError:
    return InputError(f"{what} cannot be written to a tensor: {why}", kind="rabbit.not_exact", do=do)
