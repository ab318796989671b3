"""ConnectorX: partitioned read into Arrow, written as Parquet (zstd) with PyArrow."""
import sys
import connectorx
import pyarrow.parquet

url, target, parts, name, parted = sys.argv[1:6]
table = connectorx.read_sql(url, f"SELECT * FROM {name}", return_type="arrow", **({"partition_on": parted, "partition_num": int(parts)} if int(parts) > 1 else {}))
pyarrow.parquet.write_table(table if isinstance(table, pyarrow.Table) else pyarrow.table(table), target, compression="zstd")
