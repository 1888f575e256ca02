"""Files of other tools: each format's reader stands beside its writer, and what is read is checked before it is used.

Dimuons come from ROOT (TTree, RNTuple), Parquet, CSV and HDF5 through one column map, `DimuonInput`; they are
streamed in chunks, the muons ordered PLUS, MINUS, and every event that is read is used or rejected under a reason.

Tracks with their hits come from ROOT and Parquet, or from a saved `Hits`, through `HitsInput`; they are streamed too.

A calibration leaves through `write_bundle`: one folder of HDF5, correctionlib, ROOT and JSON under one manifest.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mucal.calibration import verify_bundle
    from mucal.io.bundle import write_bundle
    from mucal.io.correctionlib import CorrectionFile, read_corrections_json
    from mucal.io.datacard import read_datacard
    from mucal.io.detector_tables import DetectorInput, open_detector, read_detector, write_detector
    from mucal.io.dimuon_check import CheckReport, FileCheck, check_dimuons
    from mucal.io.dimuon_input import DimuonInput, MuonColumns
    from mucal.io.dimuon_source import DimuonSource, open_dimuons
    from mucal.io.dimuon_writer import write_dimuons
    from mucal.io.fit_input import FitInput
    from mucal.io.hepdata import HepdataTable, write_hepdata
    from mucal.io.hits_input import HitsInput
    from mucal.io.hits_source import HitsSource, open_hits, read_hits, stream_hits
    from mucal.io.hits_writer import write_hits
    from mucal.io.json_file import read_json, read_json_text, write_json
    from mucal.io.mass_fit_table import write_mass_fits
    from mucal.io.pyhf import read_pyhf
    from mucal.io.pyhf_writer import write_pyhf
    from mucal.io.rabbit import read_rabbit
    from mucal.io.rabbit_writer import write_rabbit
    from mucal.io.response_onnx import write_response_onnx
    from mucal.io.roccor import RoccorTable
    from mucal.io.roccor_text import read_roccor, write_roccor
    from mucal.io.root_tables import RootTables, read_root_tables, write_root_tables
    from mucal.io.wremnants import write_wremnants

# Imported on first use: who reads one format does not wait for the libraries of the others.
_PLACES: Final = {
    "CheckReport": "mucal.io.dimuon_check",
    "CorrectionFile": "mucal.io.correctionlib",
    "DetectorInput": "mucal.io.detector_tables",
    "DimuonInput": "mucal.io.dimuon_input",
    "DimuonSource": "mucal.io.dimuon_source",
    "FileCheck": "mucal.io.dimuon_check",
    "FitInput": "mucal.io.fit_input",
    "HepdataTable": "mucal.io.hepdata",
    "HitsInput": "mucal.io.hits_input",
    "HitsSource": "mucal.io.hits_source",
    "MuonColumns": "mucal.io.dimuon_input",
    "RoccorTable": "mucal.io.roccor",
    "RootTables": "mucal.io.root_tables",
    "check_dimuons": "mucal.io.dimuon_check",
    "open_dimuons": "mucal.io.dimuon_source",
    "open_detector": "mucal.io.detector_tables",
    "open_hits": "mucal.io.hits_source",
    "read_corrections_json": "mucal.io.correctionlib",
    "read_datacard": "mucal.io.datacard",
    "read_detector": "mucal.io.detector_tables",
    "read_hits": "mucal.io.hits_source",
    "read_json": "mucal.io.json_file",
    "read_json_text": "mucal.io.json_file",
    "read_pyhf": "mucal.io.pyhf",
    "read_rabbit": "mucal.io.rabbit",
    "read_roccor": "mucal.io.roccor_text",
    "read_root_tables": "mucal.io.root_tables",
    "stream_hits": "mucal.io.hits_source",
    "verify_bundle": "mucal.calibration",
    "write_bundle": "mucal.io.bundle",
    "write_detector": "mucal.io.detector_tables",
    "write_dimuons": "mucal.io.dimuon_writer",
    "write_hepdata": "mucal.io.hepdata",
    "write_hits": "mucal.io.hits_writer",
    "write_json": "mucal.io.json_file",
    "write_mass_fits": "mucal.io.mass_fit_table",
    "write_pyhf": "mucal.io.pyhf_writer",
    "write_rabbit": "mucal.io.rabbit_writer",
    "write_response_onnx": "mucal.io.response_onnx",
    "write_roccor": "mucal.io.roccor_text",
    "write_root_tables": "mucal.io.root_tables",
    "write_wremnants": "mucal.io.wremnants",
}

__all__ = [
    "CheckReport",
    "CorrectionFile",
    "DetectorInput",
    "DimuonInput",
    "DimuonSource",
    "FileCheck",
    "FitInput",
    "HepdataTable",
    "HitsInput",
    "HitsSource",
    "MuonColumns",
    "RoccorTable",
    "RootTables",
    "check_dimuons",
    "open_detector",
    "open_dimuons",
    "open_hits",
    "read_corrections_json",
    "read_datacard",
    "read_detector",
    "read_hits",
    "read_json",
    "read_json_text",
    "read_pyhf",
    "read_rabbit",
    "read_roccor",
    "read_root_tables",
    "stream_hits",
    "verify_bundle",
    "write_bundle",
    "write_detector",
    "write_dimuons",
    "write_hepdata",
    "write_hits",
    "write_json",
    "write_mass_fits",
    "write_pyhf",
    "write_rabbit",
    "write_response_onnx",
    "write_roccor",
    "write_root_tables",
    "write_wremnants",
]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'mucal.io' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
