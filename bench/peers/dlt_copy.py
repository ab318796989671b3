"""dlt: the filesystem source with its fastest reader (Arrow batches through DuckDB for CSV, PyArrow for Parquet) into Parquet files."""
import os, sys

kind, source, target = sys.argv[1:4]
os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["DATA_WRITER__DISABLE_COMPRESSION"] = "true"
os.environ["NORMALIZE__LOADER_FILE_FORMAT"] = "parquet"
import dlt
from dlt.sources.filesystem import filesystem, read_csv_duckdb, read_jsonl, read_parquet

reader = {"csv": read_csv_duckdb(chunk_size=200_000, use_pyarrow=True) if kind == "csv" else None, "ndjson": None, "parquet": None}[kind]
if kind == "ndjson":
    reader = read_jsonl(chunksize=50_000)
if kind == "parquet":
    reader = read_parquet(chunksize=200_000)
files = filesystem(bucket_url="file://" + os.path.dirname(source), file_glob=os.path.basename(source))
pipeline = dlt.pipeline("bench_" + kind, destination=dlt.destinations.filesystem("file://" + target), dataset_name="bench", pipelines_dir=target + "/.dlt")
pipeline.run((files | reader).with_name("lineitem"), write_disposition="replace", loader_file_format="parquet")
