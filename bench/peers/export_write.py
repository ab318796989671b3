"""Writes a Parquet file with the Python writer of a format, as their guides say: export_write.py format input.parquet folder"""
import datetime, os, sys
from decimal import Decimal

import pyarrow.parquet as pq

kind, source, out = sys.argv[1:]
os.makedirs(out)


def plain(value):
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime.date):
        return (value - datetime.date(1970, 1, 1)).days
    return value


def samples():
    for batch in pq.ParquetFile(source).iter_batches(8192):
        for row in batch.to_pylist():
            yield {name: plain(value) for name, value in row.items()}


if kind == "webdataset":
    import webdataset as wds

    with wds.ShardWriter(os.path.join(out, "%06d.tar"), maxsize=64e6, verbose=0) as writer:
        for index, row in enumerate(samples()):
            files = {"bin": row.pop("image")} if "image" in row else {}
            writer.write({"__key__": f"{index:09d}", "json": row, **files})
elif kind == "tfrecord":
    from tfrecord import TFRecordWriter

    def feature(value):
        if isinstance(value, int):
            return (value, "int")
        return (value if isinstance(value, bytes) else value.encode(), "byte")

    writer = TFRecordWriter(os.path.join(out, "0.tfrecord"))
    for row in samples():
        writer.write({name: feature(value) for name, value in row.items()})
    writer.close()
elif kind == "mds":
    import without_torch
    from streaming.base.format import MDSWriter

    first = next(samples())
    columns = {name: {int: "int64", str: "str", bytes: "bytes"}[type(value)] for name, value in first.items()}
    with MDSWriter(columns=columns, out=out, hashes=["sha256"], size_limit=64_000_000) as writer:
        for row in samples():
            writer.write(row)
elif kind == "arrow":
    import pyarrow as pa

    parquet = pq.ParquetFile(source)
    with pa.OSFile(os.path.join(out, "0.arrow"), "wb") as sink, pa.ipc.new_file(sink, parquet.schema_arrow) as writer:
        for batch in parquet.iter_batches(65536):
            writer.write_batch(batch)
elif kind == "parquet":
    parquet = pq.ParquetFile(source)
    with pq.ParquetWriter(os.path.join(out, "0.parquet"), parquet.schema_arrow, compression="zstd") as writer:
        for batch in parquet.iter_batches(122_880):
            writer.write_batch(batch)
elif kind == "csv":
    import pyarrow.csv as csv

    parquet = pq.ParquetFile(source)
    with csv.CSVWriter(os.path.join(out, "0.csv"), parquet.schema_arrow) as writer:
        for batch in parquet.iter_batches(65536):
            writer.write_batch(batch)
elif kind == "jsonl":
    with open(os.path.join(out, "0.jsonl"), "w") as sink:
        for batch in pq.ParquetFile(source).iter_batches(65536):
            frame = batch.to_pandas()
            for name in frame.columns:
                # As text, which keeps their digits.
                if isinstance(frame[name].iloc[0], (Decimal, datetime.date)):
                    frame[name] = frame[name].astype(str)
            sink.write(frame.to_json(orient="records", lines=True))
