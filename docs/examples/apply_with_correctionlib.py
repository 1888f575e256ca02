"""Apply a mucal calibration with correctionlib alone: corrected momenta of data and their scale uncertainty.

    python apply_with_correctionlib.py corrections.json.gz muons.csv > corrected.csv

muons.csv has the columns pt (GeV), eta, charge.  With muons outside the range of pt that the file holds for, the script
says how many and stops with status 1; at other eta, NaN and unknown charges correctionlib raises: select first.
Simulation: leave its scale as it is, smear it (`smeared`), and vary it, instead of data, with `pt_scale_mc`.
"""

import csv
import gzip
import json
import sys

import correctionlib
import numpy as np


def valid(path):
    """The range of pt in which the file gives numbers; elsewhere correctionlib raises."""
    with gzip.open(path) as file:
        document = json.load(file)
    (found,) = (c for c in document["corrections"] if c["name"] == "pt_scale")
    return found["data"]["edges"]


def corrected(corrections, pt, eta, charge, syst="nom"):
    """Corrected momenta of data, GeV."""
    return pt * corrections["pt_scale"].evaluate(pt, eta, charge, syst)


def smeared(corrections, pt, eta, phi, run, lumi, event, syst="nom"):
    """Smeared momenta of simulation, GeV; phi tells the muons of an event apart."""
    width = corrections["sigma_extra"].evaluate(pt, eta, syst)
    return pt / (1.0 + width * corrections["rng"].evaluate(run, lumi, event, phi))


def main(path, table):
    with open(table) as file:
        rows = list(csv.DictReader(file))
    pt, eta = (np.array([float(row[name]) for row in rows]) for name in ("pt", "eta"))
    charge = np.array([int(row["charge"]) for row in rows])
    low, high = valid(path)
    outside = int(np.sum((pt < low) | (pt >= high)))
    if outside:
        sys.exit(
            f"{outside} of {pt.size} muons are outside {low:g} to {high:g} GeV, which {path} holds for: select first"
        )
    corrections = correctionlib.CorrectionSet.from_file(path)
    nominal = corrected(corrections, pt, eta, charge)
    # All scale nuisances in quadrature: one number a muon.  A fit takes each by itself, as nuisances.json names them.
    error = corrected(corrections, pt, eta, charge, "scale_total_up") - nominal
    print("pt,eta,charge,pt_corrected,pt_error")
    for row in zip(pt, eta, charge, nominal, error, strict=True):
        print(",".join(f"{value:.17g}" for value in row))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
