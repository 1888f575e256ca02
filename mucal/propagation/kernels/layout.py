"""Where things stand in the scratch arrays of one thread.

Everything that a leg works with is one flat array w, read by the names below: numba passes an array as seven numbers,
and to pass a dozen small ones takes longer than what is computed with them.

Derivatives come in blocks of LANES columns: a flat array of BLOCK numbers, of which row r and column j is at
LANES r + j.  With all of it in one array at constant distances the compiler proves that the columns do not overlap and
does a block with vector instructions, twice as fast as rows of a matrix.
"""

import numpy as np
from numba import njit

from mucal.arrays import FloatArray
from mucal.detector.field.kernels import table_size
from mucal.numerics.borrowing import borrowing

LANES = 8

# Rows of a block: dy (7); field by the column's parameter at the start, the middle and the end of a step (3 each); loss
# by it at the four stages; the projection on a surface (5); unit vectors of the lanes 0 to 4.
FIELDS = 7 * LANES
LOSSES = 16 * LANES
ROWS = 23 * LANES
UNITS = 28 * LANES
BLOCK = 33 * LANES

# The muon (x, y, z, t_x, t_y, t_z, q) with |t| = 1 and q = charge/momentum, and before its last step.
Y, BEFORE = 0, 8
# dt/ds and its derivative along the path (3 each), without loss.
K = 16
# Field and gradient (12 each): in the middle and at the last stage of a step; and where the muon is, for which two
# places take turns, w[NOW] = 0 or 1.  w[SINCE] is the path since the field was looked up.
MIDDLE, END, PLACE_1, PLACE_2 = 24, 40, 56, 72
# The field offset of a leg (3), and its medium.
OFFSET, MEDIUM = 88, 92
# Stages of a step: direction, q, dq/ds with its derivatives by q and by the loss scale (8 each).
STAGES = 96
TX, TY, TZ, Q, LOSS, LOSS_Q, LOSS_K, STAGE = 0, 1, 2, 3, 4, 5, 6, 8
# Axes of the surface (9): rows u, v, w.
FRAME = 128
# What a leg says about itself, and what it starts with; see `legs` and `tracks`.
SUMMARY, BEGIN = 144, 160
NOW, SINCE = 176, 177
SCRATCH = 184

# A medium is xi per cm (0 in vacuum), scale of the loss, largest transfer kept, row of the table of media.
XI, SCALE, CUT, ROW = 0, 1, 2, 3


@njit(cache=True)
def workspace(n_columns: int, n_modes: int, n_legs: int, degree: int) -> tuple[FloatArray, ...]:
    """Scratch arrays of one thread: blocks, fields of the modes at the points of a step, straggling, table, w."""
    blocks = np.zeros(((n_columns + LANES - 1) // LANES, BLOCK))
    unit_lanes(blocks[0])
    return blocks, np.zeros((9, n_modes)), np.zeros((n_legs, 5, 5)), np.zeros(table_size(degree)), np.zeros(SCRATCH)


@borrowing
def unit_lanes(block: FloatArray) -> None:
    """The constant rows of the first block: columns 5, 6, 7 are by the offsets of B_x, B_y, B_z."""
    for j in range(5):
        block[UNITS + LANES * j + j] = 1.0
    for point in range(3):
        for j in range(3):
            block[FIELDS + LANES * (3 * point + j) + 5 + j] = 1.0


@borrowing
def place(w: FloatArray) -> int:
    """Where the field at the muon is; the compiler sees that it is one of two, neither negative."""
    return PLACE_1 if w[NOW] == 0.0 else PLACE_2
