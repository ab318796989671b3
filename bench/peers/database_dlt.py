"""dlt: sql_database source, backend as named (`sqlalchemy` is its default), into Parquet files."""
import os, sys

url, target, backend, name = sys.argv[1:5]
os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
import dlt
from dlt.sources.sql_database import sql_table

pipeline = dlt.pipeline("bench_sql", destination=dlt.destinations.filesystem("file://" + target), dataset_name="bench", pipelines_dir=target + "/.dlt")
pipeline.run(sql_table(credentials=url, table=name, backend=backend, chunk_size=100_000), write_disposition="replace", loader_file_format="parquet")
