"""What is measured elsewhere and goes into templates beside theory and the muon calibration."""

from dataclasses import dataclass

from mucal.efficiency import EfficiencyModel
from mucal.errors import ConfigError
from mucal.templates.config import GENERATED, PAIRS
from mucal.templates.event_weights import EventWeights
from mucal.templates.nonprompt import Nonprompt
from mucal.templates.recoil import RecoilCalibration


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingredients:
    """Each is optional.

    recoil       : the events have the recoil of data; its eigenvariations become nuisances
    efficiencies : scale factors weigh each muon; their nuisances, those of the veto on Z in the W channel
    nonprompt    : one more process with its nuisances
    weights      : luminosity, prefiring and the like: nominal weights and nuisances of the simulated processes
    """

    recoil: RecoilCalibration | None = None
    efficiencies: EfficiencyModel | None = None
    nonprompt: Nonprompt | None = None
    weights: EventWeights | None = None

    def check(self, channel: str) -> None:
        """Raises ConfigError for what has nothing to act on in a channel."""
        for name, reason in (
            ("recoil", "holds no transverse mass"),
            ("efficiencies", "does not fix the eta of a muon in its bins"),
            ("nonprompt", "is not binned in charge, eta and pT"),
        ):
            if getattr(self, name) is not None and channel in (*PAIRS, *GENERATED):
                raise ConfigError(
                    f"channel '{channel}' {reason}: {name} cannot be used", kind="config.ingredients",
                    where={"channel": channel}, do=f"leave {name} out, or fill the channel 'w' or 'wlike'",
                )  # fmt: skip
        if self.weights is not None and channel in GENERATED:
            raise ConfigError(
                f"channel '{channel}' counts generated bosons, which no running condition weighs",
                kind="config.ingredients", where={"channel": channel}, do="leave the weights out",
            )  # fmt: skip
        if self.nonprompt is not None and channel != "w":
            raise ConfigError(
                f"nonprompt muons are a background of channel 'w', not of '{channel}'", kind="config.ingredients",
                where={"channel": channel}, do="leave nonprompt out",
            )  # fmt: skip
