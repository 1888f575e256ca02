"""Parton densities on a grid: knots, quadratics, a slow twin; a set as theory nuisances and in production."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.errors import InputError
from mucal.io.lhapdf import read_lhapdf, read_member, write_member
from mucal.theory import nuisances, partons
from mucal.theory.pdf_grid import FLAVOURS, PdfGrid, PdfSet, Subgrid
from mucal.theory.production import luminosities, production
from mucal.theory.variation import DOWN, UP

NAMES = tuple(FLAVOURS)
NUMBERS = np.array([FLAVOURS[name] for name in NAMES])
Q = np.geomspace(10.0, 500.0, 9)
X = np.geomspace(1e-6, 1.0, 91)


def grid(change: float = 0.0, x: np.ndarray = X, q: np.ndarray = Q) -> PdfGrid:
    """The toy densities with a slow rise in Q; `change` tilts the sea."""
    rise = 1.0 + 0.02 * np.log(q / 90.0)
    columns = [partons.momentum_density(name, x) * (1.0 + change * ("bar" in name)) for name in NAMES]
    values = np.stack([np.outer(column, rise) for column in columns], axis=-1)
    return PdfGrid(subgrids=(Subgrid(x=x, q=q, flavours=NUMBERS, values=values),))


def write_set(folder: Path, members: list[PdfGrid], **info: object) -> Path:
    made = folder / "toy"
    made.mkdir()
    facts = {"SetDesc": '"a toy: of partons"', "NumMembers": len(members), "ErrorType": "hessian"} | info
    (made / "toy.info").write_text("\n".join(f"{key}: {value}" for key, value in facts.items()) + "\n")
    for i, member in enumerate(members):
        write_member(made / f"toy_{i:04d}.dat", member, kind="error" if i else "central")
    return made


def by_hand(one: Subgrid, column: int, x: float, q: float) -> float:
    """The bicubic of the docstring, loop by loop: first along x at four knots of Q, then along Q."""

    def cubic(t: float, a: float, b: float, da: float, db: float) -> float:
        # the polynomial with values a, b and derivatives da, db at t = 0 and 1
        return a + da * t + (3 * (b - a) - 2 * da - db) * t**2 + (2 * (a - b) + da + db) * t**3

    def along(knots: list[float], values: list[float], at: float) -> float:
        i = max(j for j in range(len(knots) - 1) if knots[j] <= at)
        chord = [(values[j + 1] - values[j]) / (knots[j + 1] - knots[j]) for j in range(len(knots) - 1)]

        def slope(j: int) -> float:
            if j == 0 or j == len(chord):
                return chord[min(j, len(chord) - 1)]
            return 0.5 * (chord[j - 1] + chord[j])

        step = knots[i + 1] - knots[i]
        return cubic((at - knots[i]) / step, values[i], values[i + 1], slope(i) * step, slope(i + 1) * step)

    ln_x, ln_q2 = [float(np.log(v)) for v in one.x], [float(np.log(v * v)) for v in one.q]
    rows = [along(ln_x, one.values[:, j, column].tolist(), np.log(x)) for j in range(one.q.size)]
    return along(ln_q2, rows, float(np.log(q * q)))


def test_knots_come_back():
    member = grid()
    one = member.subgrids[0]
    for j in (0, 4, 8):
        assert_allclose(member.momentum_density("u", X[:-1], float(Q[j])), one.values[:-1, j, 1], rtol=1e-12)


@pytest.mark.parametrize(("x", "q"), [(1.3e-6, 11.0), (3e-3, 91.19), (0.2, 80.4), (0.93, 480.0)])
def test_interpolation_agrees_with_loops(x, q):
    member = grid()
    for column, name in enumerate(NAMES):
        found = float(member.momentum_density(name, np.array([x]), q)[0])
        assert_allclose(found, by_hand(member.subgrids[0], column, x, q), rtol=1e-10)


def test_quadratics_are_exact_between_even_knots():
    # slopes that are means of chords are those of a parabola, if its knots are evenly spaced in the logarithm
    x, q = np.geomspace(1e-4, 1.0, 30), np.geomspace(10.0, 1000.0, 12)
    lx, lq = np.log(x)[:, None], np.log(q * q)[None, :]
    values = (2.0 + 0.3 * lx + 0.05 * lx**2) * (1.0 + 0.1 * lq - 0.01 * lq**2)
    member = PdfGrid(subgrids=(Subgrid(x=x, q=q, flavours=np.array([2]), values=values[..., None]),))
    at = np.geomspace(x[2], x[-3], 50)
    la, lb = np.log(at), np.log(90.0**2)
    expected = (2.0 + 0.3 * la + 0.05 * la**2) * (1.0 + 0.1 * lb - 0.01 * lb**2)
    assert_allclose(member.momentum_density("u", at, 90.0), expected, rtol=1e-12)


def test_a_set_written_is_read(tmp_path):
    members = [grid(), grid(0.02), grid(-0.01)]
    found = read_lhapdf(write_set(tmp_path, members, ErrorConfLevel=90))
    assert (found.name, found.error_type, found.confidence, len(found.members)) == ("toy", "hessian", 90, 3)
    for one, other in zip(found.members, members, strict=True):
        assert_allclose(one.subgrids[0].values, other.subgrids[0].values, rtol=1e-7, atol=1e-12)
    assert len(read_lhapdf(tmp_path / "toy" / "toy.info", members=[0]).members) == 1


def test_the_subgrid_of_a_scale_is_chosen(tmp_path):
    low, high = grid(q=np.geomspace(2.0, 5.0, 4)), grid(0.5, q=np.geomspace(5.0, 200.0, 6))
    both = PdfGrid(subgrids=(*low.subgrids, *high.subgrids))
    again = read_member(write_member(tmp_path / "m.dat", both))
    x = np.array([0.01])
    for q, one in ((3.0, low), (100.0, high)):
        assert_allclose(again.momentum_density("ubar", x, q), one.momentum_density("ubar", x, q), rtol=1e-7)


def test_production_from_a_grid_is_that_of_its_densities():
    # the toy's own densities on a grid of 91 knots: interpolation within 1e-3
    one = PdfSet(name="toy", members=(grid(),), error_type="hessian", confidence=68)
    y = np.linspace(0.0, 3.0, 7)
    for sample, pole in (("w_plus", 80.379), ("z", 91.1876)):
        own = luminosities(sample, pole, y)
        found = luminosities(sample, pole, y, one.density(sample)) / (1.0 + 0.02 * np.log(pole / 90.0)) ** 2
        assert_allclose(found, own, rtol=2e-3, atol=2e-3 * np.abs(own).max())
    made = production("w_plus", density=one.density("w_plus"))
    assert_allclose(made.norm / production("w_plus").norm, (1.0 + 0.02 * np.log(80.379 / 90.0)) ** 2, rtol=2e-3)


def test_members_become_nuisances():
    # a sea that is higher by 2 % everywhere: more W+ by 2 % from ubar-like partners, A_4 lower where both contribute
    one = PdfSet(name="toy", members=(grid(), grid(0.02), grid(-0.02)), error_type="hessian", confidence=90)
    (found,) = one.variations()
    assert found.nuisances == ("pdf_00_avg", "pdf_00_diff")
    assert found.scale == 1 / 1.645
    pt, y = np.full(3, 10.0), np.array([0.5, 1.5, 2.5])
    up, down = (found.terms("w_plus", pt, y, side) for side in (UP, DOWN))
    assert_allclose(up[:, 0], 1.02, rtol=1e-6)
    assert_allclose(down[:, 0], 0.98, rtol=1e-6)
    assert_allclose(up[:, 5] / up[:, 0], 1.0, rtol=1e-6)  # quark times antiquark on either side: both grow alike
    chosen = nuisances.select(samples=("w_plus",), partons=one)
    assert nuisances.counts(chosen)["pdf"] == 2
    assert nuisances.counts(chosen)["alpha_s"] == 2


def test_what_cannot_be_used_is_named(tmp_path):
    member = grid()
    with pytest.raises(InputError, match="below the grid"):
        member.momentum_density("u", np.array([1e-9]), 90.0)
    with pytest.raises(InputError, match="outside the grid, 10 to 500"):
        member.momentum_density("u", np.array([0.1]), 1e4)
    assert member.momentum_density("u", np.array([1.0, 1.5]), 90.0).tolist() == [0.0, 0.0]
    draws = PdfSet(name="toy", members=(member, member), error_type="replicas", confidence=68)
    with pytest.raises(InputError, match="draws and no directions"):
        draws.variations()
    made = write_set(tmp_path, [member])
    (made / "toy_0000.dat").write_text(
        "PdfType: central\nFormat: lhagrid1\n---\n1e-3 1.0\n10 100\n2\n0.5 0.4 0.3\n---\n"
    )
    with pytest.raises(InputError, match="3 values for 2 x 2 knots"):
        read_lhapdf(made)
    with pytest.raises(InputError, match="there is no file"):
        read_lhapdf(tmp_path / "none")
    (made / "toy.info").write_text("ErrorType: guess\n")
    with pytest.raises(InputError, match="'guess'"):
        read_lhapdf(made)
