import numpy as np
from numpy.testing import assert_allclose

from mucal.numerics.two_level import restrict, two_level

G, B = 6, 4


def problem(seed: int = 1):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(G * B, G * B))
    a = root @ root.T + np.eye(G * B)
    blocks = np.stack([a[i * B : (i + 1) * B, i * B : (i + 1) * B] for i in range(G)])
    part = rng.integers(-1, 3, G * B)
    columns = rng.normal(size=(G * B, 2))
    z = np.concatenate([(part[:, None] == np.arange(3)).astype(float), columns], axis=1)
    return a, blocks, part, columns, z


def test_it_is_the_sum_of_both_levels():
    a, blocks, part, columns, z = problem()
    found = two_level(blocks, part, z[:, :3].T @ a @ z[:, :3], columns, a @ columns)
    fine = np.zeros_like(a)
    for i in range(G):
        rows = slice(i * B, (i + 1) * B)
        fine[rows, rows] = np.linalg.inv(blocks[i])
    expected = fine + z @ np.linalg.solve(z.T @ a @ z, z.T)
    assert_allclose(found(np.eye(G * B)), expected, rtol=1e-7, atol=1e-9)


def test_without_a_small_space_it_is_block_jacobi():
    _, blocks, part, columns, _ = problem()
    found = two_level(blocks, np.full_like(part, -1), np.zeros((0, 0)), columns[:, :0], columns[:, :0])
    r = np.random.default_rng(2).normal(size=(G * B, 3))
    assert_allclose(found(r)[:B], np.linalg.solve(blocks[0], r[:B]), rtol=1e-10)


def test_columns_that_the_parts_span_do_no_harm():
    a, blocks, part, _, z = problem()
    twice = z[:, :1].copy()
    found = two_level(blocks, part, z[:, :3].T @ a @ z[:, :3], twice, a @ twice)
    single = two_level(blocks, part, z[:, :3].T @ a @ z[:, :3], twice[:, :0], twice[:, :0])
    r = np.random.default_rng(3).normal(size=(G * B, 1))
    assert_allclose(found(r), single(r), rtol=1e-4)


def test_restriction_is_the_transpose():
    _, _, part, columns, z = problem()
    r = np.random.default_rng(4).normal(size=(G * B, 3))
    assert_allclose(restrict(part, 3, columns, r), z.T @ r, rtol=1e-12)
