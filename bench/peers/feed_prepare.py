"""Writes a Parquet file as what each loader reads, by its own writer: feed_prepare.py input.parquet folder"""
import os, sys

import lance
import pyarrow.parquet as pq
from datasets import Dataset

source, out = sys.argv[1:]
os.makedirs(out, exist_ok=True)
parquet = pq.ParquetFile(source)


def make(name, write):
    path = os.path.join(out, name)
    if os.path.exists(path):
        return
    partial = path + ".partial"
    write(partial)
    os.rename(partial, path)


def rows():
    for batch in parquet.iter_batches(8192):
        for row in batch.to_pylist():
            yield row


def mds(path):
    import without_torch
    from streaming.base.format import MDSWriter

    with MDSWriter(columns={"id": "int64", "payload": "bytes"}, out=path, size_limit=64_000_000) as writer:
        for row in rows():
            writer.write(row)


def webdataset(path):
    import webdataset as wds

    os.makedirs(path)
    with wds.ShardWriter(os.path.join(path, "%06d.tar"), maxsize=64e6, verbose=0) as writer:
        for row in rows():
            writer.write({"__key__": f"{row['id']:09d}", "bin": row["payload"]})


make("rows.lance", lambda path: lance.write_dataset(parquet.iter_batches(8192), path, schema=parquet.schema_arrow))
make("hf", lambda path: Dataset.from_parquet(source, cache_dir=os.path.join(out, "hf-cache")).save_to_disk(path))
if "payload" in parquet.schema_arrow.names:
    make("mds", mds)
    make("webdataset", webdataset)
