"""Apply a mucal calibration with all its variations to the muons of a NanoAOD file, by columns and without mucal.

    python apply_to_nanoaod.py corrections.json.gz nano.root data muon_pt.npz
    python apply_to_nanoaod.py corrections.json.gz nano.root mc muon_pt.npz

The jagged columns are flattened, corrected by correctionlib, and put back in shape, as a processor of coffea does it.
Data get the momentum scale; simulation is smeared to the resolution of data and carries every variation: 193 of the
scale and 72 of the resolution in the CMS model, each up and down.  No variation is kept as a collection of muons: each
fills its histogram and is forgotten.  (Nuisances of the pixel hits are weights, `pixel_weight`; NanoAOD does not hold
the hits.)

Muons outside the range of pt that the file holds for have no numbers: their count is printed, and the script stops with
status 1 if none that the histogram takes is inside.

The momenta corrected must be those the calibration was made for, `muon_pt_definition` of its manifest.json: not
NanoAOD's own, for a calibration of refitted tracks.
"""

import gzip
import json
import sys

import awkward as ak
import correctionlib
import numpy as np
import uproot

EDGES = np.linspace(25.0, 60.0, 36)
PT, ETA = (26.0, 60.0), 2.4
NO_NUISANCES = ("nom", "scale_total_up", "scale_total_down")


def keys(document, name):
    """The nuisances that syst of one correction knows, up and down; not their sum in quadrature, `scale_total`."""
    (found,) = (c for c in document["corrections"] if c["name"] == name)
    node = found["data"]
    while node["nodetype"] != "category" or node["input"] != "syst":
        node = node["content"][0]
        node = node.get("value", node)
    return [entry["key"] for entry in node["content"] if entry["key"] not in NO_NUISANCES]


def valid(document):
    """The range of pt in which the file gives numbers; elsewhere correctionlib raises."""
    (found,) = (c for c in document["corrections"] if c["name"] == "pt_scale")
    return found["data"]["edges"]


def within(pt, limits):
    return (pt >= limits[0]) & (pt < limits[1])


def muons(path, pt_range):
    """The muons of a file inside the validity range, their events, and how many to be selected are outside it."""
    tree = uproot.open(path)["Events"]
    names = {name: f"Muon_{name}" for name in ("pt", "eta", "phi", "charge")}
    events = tree.arrays([*names.values(), "run", "luminosityBlock", "event"])
    found = ak.zip({name: events[branch] for name, branch in names.items()})
    found = found[(abs(found.eta) < ETA) & (abs(found.charge) == 1)]
    inside = within(found.pt, pt_range)
    return found[inside], events, int(ak.sum(within(found.pt, PT) & ~inside))


def histogram(pt):
    """Muons of all events that pass the selection; pt is jagged."""
    flat = ak.to_numpy(ak.flatten(pt))
    return np.histogram(flat[within(flat, PT)], EDGES)[0]


def main(path, nano, sample, out):
    with gzip.open(path) as file:
        document = json.load(file)
    corrections = correctionlib.CorrectionSet.from_file(path)
    low, high = valid(document)
    if low >= PT[1] or high <= PT[0]:
        sys.exit(
            f"{path} holds for muons of {low:g} to {high:g} GeV, and the histogram takes those of {PT[0]:g} to "
            f"{PT[1]:g} GeV: none is in both; take a calibration with another pt_range, or select other muons"
        )
    found, events, outside = muons(nano, (low, high))
    counts = ak.num(found.pt)
    pt, eta, phi = (np.asarray(ak.flatten(found[name]), dtype=np.float64) for name in ("pt", "eta", "phi"))
    charge = np.asarray(ak.flatten(found.charge), dtype=np.int32)

    def jagged(values):
        return ak.unflatten(values, counts)

    def scaled(syst):
        return pt * corrections["pt_scale"].evaluate(pt, eta, charge, syst)

    if sample == "data":
        filled = {"nominal": histogram(jagged(scaled("nom")))}
        filled |= {syst: histogram(jagged(scaled(syst))) for syst in keys(document, "pt_scale")}
    else:
        run, lumi, event = (
            np.asarray(ak.flatten(ak.broadcast_arrays(events[name], found.pt)[0]), dtype=np.int64)
            for name in ("run", "luminosityBlock", "event")
        )
        number = corrections["rng"].evaluate(run, lumi, event, phi)

        def smeared(syst):
            return pt / (1.0 + number * corrections["sigma_extra"].evaluate(pt, eta, syst))

        # variations of the scale start from the smeared momenta: clipped, for smearing may leave the validity range
        nominal = smeared("nom")
        inside = np.clip(nominal, low, np.nextafter(high, low))
        filled = {"nominal": histogram(jagged(nominal))}
        for syst in keys(document, "pt_scale_mc"):
            factor = corrections["pt_scale_mc"].evaluate(inside, eta, charge, syst)
            filled[syst] = histogram(jagged(nominal * factor))
        filled |= {syst: histogram(jagged(smeared(syst))) for syst in keys(document, "sigma_extra")}
    np.savez(out, edges=EDGES, **filled)
    total = filled["nominal"].sum()
    print(f"{len(pt)} muons, {total:g} in the histogram; {len(filled) - 1} variations in {out}")
    print(f"{outside} muons of {PT[0]:g} to {PT[1]:g} GeV are outside the corrections' {low:g} to {high:g} GeV")


if __name__ == "__main__":
    main(*sys.argv[1:5])
