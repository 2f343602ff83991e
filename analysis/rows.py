"""Parts of a result table: some of its rows, or all of them batch by batch, so that memory stays flat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.load import Results
from models.errors import InputError, Problem
from models.records import TABLES

Filter = tuple[str, str, Any]  # column, operator as in pyarrow.parquet, value

_BATCH = 65_536  # rows


def rows_where(
    run: Results, name: str, filters: Sequence[Filter], columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """The rows of table ``name`` that pass all ``filters``; texts of few values come as categories."""
    wanted = list(columns) if columns is not None else TABLES[name].names()
    if run.rows(name) == 0:
        return pd.DataFrame(columns=wanted)
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = run.folder / f"{name}.parquet"
    texts = [column.name for column in TABLES[name] if column.type == "text" and column.name in wanted]
    try:
        read = pq.read_table(
            path, columns=wanted, filters=list(filters) or None, read_dictionary=texts, use_threads=False
        )
    except (OSError, pa.ArrowException) as error:
        raise _damaged(run, name, error) from None
    return read.to_pandas()


def batches(run: Results, name: str, columns: Sequence[str]) -> Iterator[dict[str, list[Any]]]:
    """Table ``name`` from its first row to its last, as columns of some rows at a time; null is None."""
    if run.rows(name) == 0:
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(run.folder / f"{name}.parquet") as file:
            for batch in file.iter_batches(_BATCH, columns=list(columns), use_threads=False):
                yield batch.to_pydict()
    except (OSError, pa.ArrowException) as error:
        raise _damaged(run, name, error) from None


def picoseconds(microseconds: Any) -> NDArray[np.int64]:
    """A column of times in us as the exact ps that it was made of (exact up to 1,000 s); -1 for null."""
    times = np.asarray(microseconds, dtype=np.float64)
    return np.where(np.isnan(times), -1, np.rint(times * 1e6)).astype(np.int64)


def _damaged(run: Results, name: str, error: Exception) -> InputError:
    path = run.folder / f"{name}.parquet"
    reason = f"can't be read as table '{name}': {str(error).splitlines()[0]}" if path.exists() else "is missing"
    return InputError([Problem(str(path), 0, 0, reason)])
