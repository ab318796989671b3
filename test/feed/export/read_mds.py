"""Reads MDS with mosaicml-streaming, hashes checked, and holds every value to the rows: read_mds.py expected.parquet folder[:split]…"""
import json, os, sys
from decimal import Decimal

import numpy as np

import expected
import without_torch
from streaming.base.hashing import get_hash
from streaming.base.local import LocalDataset
from streaming.base.stream import Stream

wanted = expected.rows(sys.argv[1])


def check_hashes(folder, split):
    stream = Stream(local=folder, split=split, keep_zip=True, validate_hash="sha256")
    stream.safe_keep_zip = True
    for shard in stream.get_shards(None, False):
        # Takes compressed ones apart, and holds both forms to their hashes.
        stream.prepare_shard(shard)
        for raw, zipped in shard.file_pairs:
            for info in (raw, zipped):
                if info is not None:
                    data = open(os.path.join(folder, split or "", info.basename), "rb").read()
                    assert (len(data), get_hash("sha256", data)) == (info.bytes, info.hashes["sha256"])


def encoded(name, value):
    if name in ("ts", "zone", "tm"):
        return expected.micros(value)
    if name == "day":
        return expected.days(value)
    if name == "u":
        return str(value)
    if isinstance(value, bool):
        return int(value)
    return expected.plain(value) if name in ("gaps", "tags", "place", "attrs") else value


def plain(value):
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value


for job in sys.argv[2:]:
    folder, _, split = job.partition(":")
    check_hashes(folder, split or None)
    order = []
    dataset = LocalDataset(folder, split or None)
    for index in range(len(dataset)):
        sample = dataset[index]
        row = wanted[int(sample["id"])]
        for name, value in row.items():
            found = sample[name]
            mark = sample.get(name + ".is_null")
            if value is None and name not in ("gaps", "tags", "place", "attrs"):
                assert mark == 1, name
                continue
            assert mark is None or mark == 0, name
            expected.check(name, row["id"], plain(found), encoded(name, value))
        order.append(row["id"])
    assert sample["vec"].dtype == np.float32 and sample["vec"].shape == (3,)
    assert sample["long"].dtype == np.int64 and sample["n"].dtype == np.int32
    assert len(set(order)) == len(order)
    print(json.dumps(order))
