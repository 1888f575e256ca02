"""Where a calibration holds, and why a muon is rejected."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from mucal.arrays import BoolArray, FloatArray
from mucal.ledger import EXAMPLES_KEPT, Ledger

Outside = Literal["raise", "nan"]
OUTSIDE: Final = ("raise", "nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """The range of muons for which a calibration gives numbers; lower edges are inside, upper ones outside.

    pt_range  : GeV
    eta_range :
    """

    pt_range: tuple[float, float]
    eta_range: tuple[float, float]

    @property
    def inside(self) -> tuple[float, float]:
        """Some pT (GeV) and eta for which the formulas are defined, in place of rejected muons."""
        low, high = self.pt_range
        return (low if low > 0 else min(1.0, 0.5 * high)), self.eta_range[0]

    def rejected(
        self, pt: FloatArray, eta: FloatArray, phi: FloatArray, charge: npt.NDArray[np.number] | None
    ) -> dict[str, BoolArray]:
        """Reason -> mask of the muons it rejects; a muon has one reason, the first that applies.

        pt     : (N,) GeV
        eta    : (N,)
        phi    : (N,) rad
        charge : (N,)      None where charge plays no role
        """
        reasons: dict[str, BoolArray] = {
            "nonfinite:pt": ~np.isfinite(pt),
            "nonfinite:eta": ~np.isfinite(eta),
            "nonfinite:phi": ~np.isfinite(phi),
            "nonpositive:pt": pt <= 0,
            "range:pt": ~((pt >= self.pt_range[0]) & (pt < self.pt_range[1])),
            "range:eta": ~((eta >= self.eta_range[0]) & (eta < self.eta_range[1])),
        }
        if charge is not None:
            reasons["charge"] = ~((charge == 1) | (charge == -1))
        taken = np.zeros(pt.shape, dtype=bool)
        for name, mask in reasons.items():
            reasons[name] = mask & ~taken
            taken |= mask
        return {name: mask for name, mask in reasons.items() if mask.any()}

    def ledger(self, reasons: dict[str, BoolArray], n: int) -> Ledger:
        """`n` muons read, those rejected by reason, with the positions of the first of each."""
        counts = {name: int(mask.sum()) for name, mask in reasons.items()}
        first = {name: tuple(f"muon {i}" for i in np.flatnonzero(m)[:EXAMPLES_KEPT]) for name, m in reasons.items()}
        return Ledger(unit="muons", read=n, used=n - sum(counts.values()), rejected=counts, examples=first)

    def refuse(self, reasons: dict[str, BoolArray], columns: dict[str, npt.NDArray[np.number]]) -> None:
        """Raises ValueError, with counts by reason and the first muon, if any muon is rejected."""
        if not reasons:
            return
        anywhere = np.any(list(reasons.values()), axis=0)
        i = int(np.argmax(anywhere))
        counts = ", ".join(f"{name} {int(mask.sum())}" for name, mask in reasons.items())
        muon = ", ".join(f"{name} = {column[i]:.6g}" for name, column in columns.items())
        raise ValueError(
            f"{int(anywhere.sum())} of {anywhere.size} muons are outside the calibration ({counts}); it holds for "
            f"{self.pt_range[0]:g} <= pt < {self.pt_range[1]:g} GeV, {self.eta_range[0]:g} <= eta < "
            f"{self.eta_range[1]:g} and charge +1 or -1; the first, [{i}], has {muon}; select first, or pass "
            "outside='nan'"
        )
