"""Apply a mucal calibration with correctionlib alone: corrected momenta of data and their scale uncertainty.

    python apply_with_correctionlib.py corrections.json.gz muons.csv > corrected.csv

muons.csv has the columns pt (GeV), eta, charge.  Muons outside the validity range, NaN and unknown charges raise an
error: select first.  Simulation: leave its scale as it is, smear it (`smeared`), and vary it, instead of data, with
`pt_scale_mc`.
"""

import csv
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


def main(path, table):
    with open(table) as file:
        rows = list(csv.DictReader(file))
    pt, eta = (np.array([float(row[name]) for row in rows]) for name in ("pt", "eta"))
    charge = np.array([int(row["charge"]) for row in rows])
    corrections = correctionlib.CorrectionSet.from_file(path)
    nominal = corrected(corrections, pt, eta, charge)
    # All scale nuisances in quadrature: one number a muon.  A fit takes each by itself, as nuisances.json names them.
    error = corrected(corrections, pt, eta, charge, "scale_total_up") - nominal
    print("pt,eta,charge,pt_corrected,pt_error")
    for row in zip(pt, eta, charge, nominal, error, strict=True):
        print(",".join(f"{value:.17g}" for value in row))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
