"""Polars: lazy scan, streaming sink to Parquet (zstd): its documented way for data larger than memory."""
import sys
import polars

kind, source, target = sys.argv[1:4]
scan = {"csv": lambda: polars.scan_csv(source, try_parse_dates=True), "ndjson": lambda: polars.scan_ndjson(source), "parquet": lambda: polars.scan_parquet(source)}[kind]()
scan.sink_parquet(target, compression="zstd")
