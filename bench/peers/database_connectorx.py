"""ConnectorX: partitioned read into Arrow, written as Parquet (zstd) with PyArrow."""
import sys
import connectorx
import pyarrow.parquet

url, target, parts = sys.argv[1:4]
table = connectorx.read_sql(url, "SELECT * FROM lineitem", return_type="arrow", **({"partition_on": "l_orderkey", "partition_num": int(parts)} if int(parts) > 1 else {}))
pyarrow.parquet.write_table(table if isinstance(table, pyarrow.Table) else pyarrow.table(table), target, compression="zstd")
