"""All tracks together: corrections to the field, the material and the alignment in one solve.

What is minimised, over the total correction theta of P parameters, is the sum over candidates (tracks or pairs), each
profiled over its own parameters, plus Gaussian priors and measurements, under exact linear constraints:

    chi2(theta) = sum_c w_c chi2_c(theta) + sum_p (theta_p / sigma_p)^2 + sum_m ((f_m . theta - v_m) / s_m)^2

Gradients and Hessians carry the factor 2: the solution is -H^-1 g, its covariance 2 H^-1.  An alignment parameter is
the displacement or rotation of the true module relative to the assumed one, in the convention of
`detector.alignment_derivatives`; a field parameter is added to the assumed field; a loss parameter is the ln of true
over assumed mean loss.  So a solution is applied by moving modules, fields and losses by +theta.
Derived and tested in docs/physics/globalcor.md.
"""

from mucal.globalcor.accumulate import AccumulateConfig, accumulate
from mucal.globalcor.constraints import Constraint, Measurement
from mucal.globalcor.corrections import GlobalCorrections
from mucal.globalcor.derivatives import ReferenceDerivatives, apply, beyond_linear, relative_curvature, uncertainty
from mucal.globalcor.families import CMS_2016, REDUCED, Family
from mucal.globalcor.guards import GuardConfig
from mucal.globalcor.influence import Influence, influences, injected, to_exclude
from mucal.globalcor.linearity import Linearity, linear_against_refit
from mucal.globalcor.normal_equations import NormalEquations
from mucal.globalcor.outside import field_probes, survey
from mucal.globalcor.probe_bias import EVEN, ODD, ProbeBias
from mucal.globalcor.recovery import InjectedParameters, KindRecovery, recovery_of_kind
from mucal.globalcor.refits import Refit
from mucal.globalcor.registry import Registry, build_registry
from mucal.globalcor.solve import SolveConfig, solve
from mucal.globalcor.system import ParameterStatus
from mucal.globalcor.templates import Templates, gauges, templates
from mucal.globalcor.truth_assisted import truth_blocks
from mucal.globalcor.weak_modes import BiasMap, ProbeTracks, WeakModes, bias_map, induced_bias, weak_modes, with_factor
from mucal.globalcor.workers import Chunk, divide, joined

__all__ = [
    "CMS_2016", "EVEN", "ODD", "REDUCED", "AccumulateConfig", "BiasMap", "Chunk", "Constraint", "Family",
    "GlobalCorrections", "GuardConfig", "Influence", "InjectedParameters", "KindRecovery", "Linearity",
    "Measurement", "NormalEquations", "ParameterStatus",
    "ProbeBias", "ProbeTracks", "ReferenceDerivatives", "Refit", "Registry", "SolveConfig", "Templates", "WeakModes",
    "accumulate", "apply", "beyond_linear", "bias_map", "build_registry", "divide", "field_probes", "gauges",
    "induced_bias", "influences", "injected", "joined", "linear_against_refit", "recovery_of_kind",
    "relative_curvature", "solve", "survey", "templates", "to_exclude", "truth_blocks",
    "uncertainty", "weak_modes", "with_factor",
]  # fmt: skip
