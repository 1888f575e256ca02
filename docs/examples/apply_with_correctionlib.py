"""Apply a mucal calibration with correctionlib alone: corrected momenta of data and their scale uncertainty.

    python apply_with_correctionlib.py corrections.json.gz muons.csv > corrected.csv

muons.csv has the columns pt (GeV), eta, charge.  Muons outside the validity range, NaN and unknown charges raise an
error: select first.  Simulation: leave its scale as it is, smear it (`smeared`), and vary it, instead of data, with
`pt_scale_mc`.
"""

import csv
import gzip
import json
import sys

import correctionlib
import numpy as np


def corrected(corrections, pt, eta, charge, syst="nom"):
    """Corrected momenta of data, GeV."""
    return pt * corrections["pt_scale"].evaluate(pt, eta, charge, syst)


def smeared(corrections, pt, eta, phi, run, lumi, event, syst="nom"):
    """Smeared momenta of simulation, GeV; phi tells the muons of an event apart."""
    width = corrections["sigma_extra"].evaluate(pt, eta, syst)
    return pt / (1.0 + width * corrections["rng"].evaluate(run, lumi, event, phi))


def scale_nuisances(path):
    """Names of the scale nuisances, without _up and _down: the keys of syst in the file."""
    with gzip.open(path) as file:
        document = json.load(file)
    (pt_scale,) = (c for c in document["corrections"] if c["name"] == "pt_scale")
    by_syst = pt_scale["data"]["content"][0]  # inside the one bin of pt, the validity range
    return [entry["key"].removesuffix("_up") for entry in by_syst["content"] if entry["key"].endswith("_up")]


def main(path, table):
    with open(table) as file:
        rows = list(csv.DictReader(file))
    pt, eta = (np.array([float(row[name]) for row in rows]) for name in ("pt", "eta"))
    charge = np.array([int(row["charge"]) for row in rows])
    corrections = correctionlib.CorrectionSet.from_file(path)
    nominal = corrected(corrections, pt, eta, charge)
    # The nuisances are independent: for one number per muon they add in quadrature.  A fit takes each by itself.
    shifts = [corrected(corrections, pt, eta, charge, f"{name}_up") - nominal for name in scale_nuisances(path)]
    error = np.sqrt(np.sum(np.square(shifts), axis=0))
    print("pt,eta,charge,pt_corrected,pt_error")
    for row in zip(pt, eta, charge, nominal, error, strict=True):
        print(",".join(f"{value:.17g}" for value in row))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
