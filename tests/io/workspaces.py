"""Ten small workspaces as papers publish them, one for each way in which modifiers combine."""

from typing import Any

Plain = dict[str, Any]


def modifier(kind: str, name: str, data: Any = None) -> Plain:
    return {"name": name, "type": kind, "data": data}


def factor(name: str) -> Plain:
    return modifier("normfactor", name)


def norm(name: str, high: float, low: float | None = None) -> Plain:
    return modifier("normsys", name, {"hi": high, "lo": 1 / high if low is None else low})


def histo(name: str, nominal: list[float], shift: list[float]) -> Plain:
    high = [n + s for n, s in zip(nominal, shift, strict=True)]
    return modifier(
        "histosys", name, {"hi_data": high, "lo_data": [n - s for n, s in zip(nominal, shift, strict=True)]}
    )


def sample(name: str, data: list[float], *modifiers: Plain) -> Plain:
    return {"name": name, "data": data, "modifiers": list(modifiers)}


def workspace(channels: dict[str, tuple[list[Plain], list[float]]], parameters: list[Plain] | None = None) -> Plain:
    """channel -> samples and counts"""
    return {
        "channels": [{"name": name, "samples": samples} for name, (samples, _) in channels.items()],
        "observations": [{"name": name, "data": data} for name, (_, data) in channels.items()],
        "measurements": [{"name": "fit", "config": {"poi": "mu", "parameters": parameters or []}}],
        "version": "1.0.0",
    }


LUMI: Plain = {"name": "lumi", "auxdata": [1.0], "sigmas": [0.03], "bounds": [[0.5, 1.5]], "inits": [1.0]}
SIGNAL = [5.0, 12.0, 9.0]
BACKGROUND = [60.0, 40.0, 25.0]

WORKSPACES: dict[str, Plain] = {
    "one bin, one normalisation": workspace(
        {"SR": ([sample("s", [12.0], factor("mu")), sample("b", [50.0], norm("bkg", 1.1))], [58.0])}
    ),
    "uncorrelated background": workspace(
        {
            "SR": (
                [
                    sample("s", [12.0, 11.0], factor("mu")),
                    sample("b", [50.0, 52.0], modifier("shapesys", "unc", [3.0, 7.0])),
                ],
                [51.0, 58.0],
            )
        }
    ),
    "correlated background": workspace(
        {
            "SR": (
                [
                    sample("s", [12.0, 11.0], factor("mu")),
                    sample("b", [50.0, 52.0], histo("tilt", [50.0, 52.0], [5.0, -4.0])),
                ],
                [56.0, 61.0],
            )
        }
    ),
    "control region": workspace(
        {
            "SR": (
                [
                    sample("s", [10.0], factor("mu"), norm("jes", 1.04)),
                    sample("b", [30.0], factor("k_b"), norm("jes", 1.03), norm("extrapolation", 1.08)),
                ],
                [43.0],
            ),
            "CR": ([sample("b", [200.0], factor("k_b"), norm("jes", 1.05))], [214.0]),
        }
    ),
    "statistical error of two samples, luminosity": workspace(
        {
            "SR": (
                [
                    sample(
                        "s",
                        SIGNAL,
                        factor("mu"),
                        modifier("lumi", "lumi"),
                        modifier("staterror", "mc", [0.4, 0.7, 0.6]),
                    ),
                    sample("b", BACKGROUND, modifier("lumi", "lumi"), modifier("staterror", "mc", [3.0, 2.5, 2.0])),
                    sample("other", [3.0, 3.0, 3.0], norm("xsec", 1.25)),
                ],
                [70.0, 50.0, 41.0],
            )
        },
        [LUMI],
    ),
    "background from a control region, bin by bin": workspace(
        {
            "SR": (
                [sample("s", SIGNAL, factor("mu")), sample("b", [6.0, 4.0, 2.5], modifier("shapefactor", "free"))],
                [12.0, 18.0, 11.0],
            ),
            "CR": ([sample("b", BACKGROUND, modifier("shapefactor", "free"))], [66.0, 43.0, 21.0]),
        }
    ),
    "one nuisance with norm and shape": workspace(
        {
            "SR": (
                [
                    sample("s", SIGNAL, factor("mu"), norm("jes", 1.03), histo("jes", SIGNAL, [0.3, 0.1, -0.4])),
                    sample("b", BACKGROUND, norm("jes", 1.05), histo("jes", BACKGROUND, [2.0, 0.5, -1.0])),
                ],
                [70.0, 53.0, 30.0],
            )
        }
    ),
    "statistical errors of both kinds": workspace(
        {
            "SR": (
                [
                    sample("s", SIGNAL, factor("mu"), modifier("staterror", "mc", [0.4, 0.7, 0.6])),
                    sample("b", BACKGROUND, modifier("staterror", "mc", [3.0, 2.5, 2.0]), norm("xsec", 1.06)),
                    sample("fake", [8.0, 7.0, 6.0], modifier("shapesys", "fakes", [2.0, 1.5, 2.0])),
                ],
                [76.0, 64.0, 35.0],
            )
        }
    ),
    "two factors on one sample, one of them fixed": workspace(
        {
            "SR": (
                [
                    sample("s", SIGNAL, factor("mu"), factor("branching")),
                    sample("b", BACKGROUND, factor("k_b"), norm("bkg", 1.1)),
                ],
                [71.0, 55.0, 38.0],
            ),
            "CR": (
                [sample("b", [300.0, 280.0], factor("k_b"), histo("tilt", [300.0, 280.0], [6.0, -5.0]))],
                [310.0, 300.0],
            ),
        },
        [
            {"name": "branching", "inits": [0.8], "bounds": [[0.0, 2.0]], "fixed": True},
            {"name": "bkg", "inits": [0.5], "bounds": [[-5.0, 5.0]]},
        ],
    ),
    "everything in two channels": workspace(
        {
            "SR": (
                [
                    sample(
                        "s",
                        SIGNAL,
                        factor("mu"),
                        modifier("lumi", "lumi"),
                        norm("jes", 1.02),
                        histo("jer", SIGNAL, [0.2, 0, -0.3]),
                        modifier("staterror", "mc_SR", [0.3, 0.4, 0.3]),
                    ),
                    sample(
                        "b",
                        BACKGROUND,
                        factor("k_b"),
                        norm("jes", 1.06),
                        histo("jer", BACKGROUND, [1.5, 0.5, -1.0]),
                        modifier("staterror", "mc_SR", [2.0, 1.8, 1.6]),
                    ),
                    sample("other", [4.0, 3.0, 2.0], modifier("lumi", "lumi"), norm("xsec", 1.3)),
                ],
                [78.0, 52.0, 33.0],
            ),
            "CR": (
                [
                    sample(
                        "b",
                        [150.0, 120.0],
                        factor("k_b"),
                        norm("jes", 1.04),
                        modifier("staterror", "mc_CR", [4.0, 3.0]),
                    ),
                    sample("other", [20.0, 10.0], modifier("lumi", "lumi"), norm("xsec", 1.3)),
                ],
                [181.0, 127.0],
            ),
        },
        [LUMI],
    ),
}
