"""Saving and loading: the one `Result` base class, and the one way a file of ours comes into being.

A result file is HDF5 behind a 512-byte user block.  The block's first line holds the SHA-256 and the length of all
that follows, so a single flipped bit or a missing byte anywhere is detected before HDF5 parses anything.  Inside,
each array is one plain dataset (uncompressed: a declared shape can never exceed the file), and `header` is JSON:
type, schema, mucal version, scalar fields, each array's dtype, shape and SHA-256, and the provenance.  There are no
pickles; links out of the file, virtual and external datasets and object arrays are refused.

Files are written under a temporary name, synced, read back, compared, and renamed: at every instant there is the old
file or the new one, never a third state.  Of two writers of one new name one wins and the other gets FileExistsError;
if both may overwrite, the last one's file stays.  A reader holds on to the file that it has opened.
"""

from mucal.store.files import replace_file, sha256, write_bytes
from mucal.store.first_line import BLOCK, MAGIC, is_result
from mucal.store.integrity import read_header, verify
from mucal.store.layout import HEADER, MAX_HEADER_BYTES
from mucal.store.plain import plain_values
from mucal.store.result import Provenance, Result

__all__ = [
    "BLOCK", "HEADER", "MAGIC", "MAX_HEADER_BYTES", "Provenance", "Result", "is_result", "plain_values", "read_header",
    "replace_file", "sha256", "verify", "write_bytes",
]  # fmt: skip
