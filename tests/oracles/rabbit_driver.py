"""Drives rabbit (PyPI: rabbit-fit) on a tensor from an .npz file; run by the Python that has it, apart from mucal.

    python rabbit_driver.py model.npz answers.npz [tensor.hdf5]

Without a tensor one is made from the arrays by rabbit's own writer, in a process of its own (answers.npz being a
folder), so that the memory reported is that of the fit.  To a tensor of the symmetric layout the notes are added by
which rabbit knows that layout.

model.npz: points (N, S), where -ln L is wanted; mode ("lite" or "full"), kind; and without a tensor nominal, sumw2
(B, P); kappa, eta (B, P, S); counts (B,); symmetric; member (S,), the group of each parameter.  Parameter 0 is free
and of interest.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import hist
import numpy as np
import tensorflow as tf
from rabbit import fitter, inputdata, tensorwriter
from wums.ioutils import pickle_dump_h5py


def write(model, folder):
    """The tensor, through rabbit's own writer, as model.hdf5 in a folder."""
    n_bins, n_processes, n_parameters = model["kappa"].shape
    axis = hist.axis.Regular(n_bins, 0, n_bins, name="bin", underflow=False, overflow=False)

    def filled(values, variances=None):
        h = hist.Hist(axis, storage=hist.storage.Weight())
        h.values()[...] = values
        h.variances()[...] = values if variances is None else variances
        return h

    writer = tensorwriter.TensorWriter(systematic_type="log_normal")
    writer.add_channel([axis], "ch0")
    writer.add_data(filled(model["counts"]), "ch0")
    for p in range(n_processes):
        writer.add_process(filled(model["nominal"][:, p], model["sumw2"][:, p]), f"proc{p}", "ch0", signal=False)
    for j in range(n_parameters):
        name, free = f"p{j:05d}", j == 0
        for p in range(n_processes):
            k, n = model["kappa"][:, p, j], model["nominal"][:, p]
            e = model["eta"][:, p, j] if model["eta"].shape == model["kappa"].shape else np.zeros(n_bins)
            if not k.any() and not e.any():
                continue
            up, down = filled(n * np.exp(k + e)), filled(n * np.exp(e - k))
            options = {"constrained": not free, "noi": free, "groups": [str(model["member"][j])]}
            if bool(model["symmetric"]):
                writer.add_systematic(up, name, f"proc{p}", "ch0", mirror=True, **options)
            else:
                writer.add_systematic([up, down], name, f"proc{p}", "ch0", symmetrize=None, **options)
    writer.write(outfolder=folder, outfilename="model.hdf5")


def add_notes(tensor):
    """What rabbit's own writer says of one channel of log-normal effects, where the layout is symmetric."""
    with h5py.File(tensor, "a") as file:
        name = "hlogk" if "hlogk" in file else "hlogk_sparse"
        shape = file[name].attrs.get("dense_shape", getattr(file[name], "shape", ()))
        n_columns = shape[-1] * (shape[-2] if len(shape) == 4 else 1)
        if n_columns == file["hsysts"].size and "meta" not in file:
            axis = hist.axis.Integer(0, file["hdata_obs"].size, underflow=False, overflow=False, name="obs")
            channels = {"ch0": {"axes": [axis]}}
            notes = {"channel_info": channels, "symmetric_tensor": True, "systematic_type": "log_normal"}
            pickle_dump_h5py("meta", notes, file)


def read(source, tensor):
    """The input of rabbit's fitter."""
    if tensor:
        add_notes(tensor)
        return inputdata.FitInputData(tensor)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, __file__, source, folder], check=True)
        return inputdata.FitInputData(f"{folder}/model.hdf5")


def options(model):
    return argparse.Namespace(
        POIMode="none", allowNegativePOI=True, binByBinStatMode=str(model["mode"]), binByBinStatType=str(model["kind"]),
        chisqFit=False, covarianceFit=False, diagnostics=False, expectSignal=1.0, freezeParameters=[], unblind=[],
        globalImpactsDisableJVP=False, minimizerMethod="trust-krylov", noBinByBinStat=False,
        prefitUnconstrainedNuisanceUncertainty=0.0,
    )  # fmt: skip


def main(source, target, tensor=""):
    if Path(target).is_dir():
        write(dict(np.load(source)), target)
        return
    model = np.load(source)
    data = read(source, tensor)
    fit = fitter.Fitter(data, options(model))
    fit.defaultassign()
    fit.set_nobs(data.data_obs)
    fit.loss_val_grad()  # traced before the clock starts
    answers = {"names": np.array([s.decode() for s in data.systs])}
    order = np.argsort(answers["names"])

    values = []
    for point in model["points"]:
        x = np.empty(point.size)
        x[order] = point
        fit.x.assign(x)
        values.append(float(fit.reduced_nll()))
    answers["nll_at_points"] = np.array(values)

    fit.defaultassign()
    fit.set_nobs(data.data_obs)
    start = time.perf_counter(), time.process_time()

    def clock(what):
        answers[what] = np.array([time.perf_counter() - start[0], time.process_time() - start[1]])
        print(f"rabbit, {what}: wall {answers[what][0]:.1f}, processor {answers[what][1]:.1f}", flush=True)

    fit.minimize()
    clock("fit_seconds")
    _, _, hessian = fit.loss_val_grad_hess()
    cov = np.linalg.inv(hessian.numpy())
    clock("covariance_seconds")
    fit.cov.assign(tf.constant(cov))
    single, grouped = fit.impacts_parms(hessian)
    global_single, global_grouped = fit.global_impacts_parms()
    clock("impact_seconds")
    answers.update(
        values=fit.x.numpy()[order],
        errors=np.sqrt(np.diag(cov))[order],
        nll=float(fit.reduced_nll()),
        nominal=single.numpy()[0][order],
        nominal_grouped=grouped.numpy()[0],
        global_single=global_single.numpy()[0][order],
        global_grouped=global_grouped.numpy()[0],
        groups=np.array([g.decode() for g in data.systgroups]),
        gigabytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    )
    np.savez(target, **answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
