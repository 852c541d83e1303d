"""Tables in Parquet: a file, or a folder of files."""

from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow import fs

from collapse_ray.config.errors import InvalidInput
from collapse_ray.data.file_source import locate
from collapse_ray.data.table import Table, TableSource, require_distinct


class Spec(TableSource):
    """A Parquet file, or a dataset folder: its *.parquet files sorted by path, `key=value` folders as columns."""

    def read_table(self, field: str, given: str) -> tuple[Table, list[Path]]:
        path = locate(field, given)
        root = path if path.is_dir() else path.parent
        files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
        if not files:
            raise InvalidInput(f"{field} {given!r} is a folder without *.parquet files; give a Parquet file or folder")
        names = [file.relative_to(root).as_posix() for file in files]
        below = fs.SubTreeFileSystem(str(root.absolute()), fs.LocalFileSystem())
        try:
            table = ds.dataset(names, filesystem=below, format="parquet", partitioning="hive").to_table()
        except (pa.ArrowException, OSError) as error:
            raise InvalidInput(
                f"{field} {given!r} cannot be read as Parquet: {error}; give Parquet files of one schema"
            ) from error
        require_distinct(f"{field} {given!r}", table.column_names)
        return {name: table[name].to_pandas().rename(name) for name in table.column_names}, files
