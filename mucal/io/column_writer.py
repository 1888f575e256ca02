"""Plain columns to Parquet: streamed, with page checksums, read back and renamed into place."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mucal.errors import ConfigError, VerificationError
from mucal.store import replace_file


def write_columns(path: str | Path, chunks: Iterable[Mapping[str, np.ndarray]], *, overwrite: bool = False) -> int:
    """Write chunks of equally named columns to a .parquet file; returns the number of rows.

    The first chunk (which may be empty of rows) fixes names and types.  Raises ConfigError for another suffix,
    ValueError without any chunk, FileExistsError unless `overwrite`, ResourceError if the disk is full.
    """
    if Path(path).suffix.lower() != ".parquet":
        raise ConfigError(
            f"columns are written to .parquet, not '{Path(path).suffix}'", kind="config.suffix", where={"file": path}
        )
    written = 0

    def write(temporary: Path) -> None:
        """All chunks to a Parquet file."""
        nonlocal written
        tables = (pa.table({name: pa.array(values) for name, values in chunk.items()}) for chunk in chunks)
        first = next(tables, None)
        if first is None:
            raise ValueError("there is no chunk of columns to write")
        with pq.ParquetWriter(temporary, first.schema, compression="zstd", write_page_checksum=True) as writer:
            writer.write_table(first)
            written += first.num_rows
            for table in tables:
                writer.write_table(table)
                written += table.num_rows

    def check(temporary: Path) -> None:
        with pq.ParquetFile(temporary, page_checksum_verification=True) as file:
            found = sum(batch.num_rows for batch in file.iter_batches())
        if found != written:
            raise VerificationError(f"{found} rows read back, {written} written", kind="verify.read_back")

    replace_file(path, write, check=check, overwrite=overwrite)
    return written
