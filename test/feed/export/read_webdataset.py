"""Reads tar shards with webdataset and holds every value to the rows: read_webdataset.py expected.parquet shards…"""
import glob, json, sys

import numpy as np
import webdataset as wds

import expected

wanted = expected.rows(sys.argv[1])
mode, shards = sys.argv[2], sorted(sum((glob.glob(pattern) for pattern in sys.argv[3:]), []))
seen, order = set(), []
for sample in wds.WebDataset(shards, shardshuffle=False, empty_check=False).decode():
    scalars = sample["json"]
    row = wanted[scalars["id"]]
    for name, value in row.items():
        if mode == "files" and name in ("n", "vec", "s", "raw"):
            continue
        if name == "raw":
            expected.check(name, row["id"], sample.get("bin"), value)
            continue
        found, value = scalars[name], expected.plain(value)
        if isinstance(found, str):
            found = expected.parsed(found, value)
        expected.check(name, row["id"], found, value)
    if mode == "files":
        assert not {"n", "vec", "s", "raw"} & scalars.keys()
        expected.check("key", row["id"], sample["__key__"], str(row["u"]))
        expected.check("n", row["id"], sample["cls"], row["n"])
        expected.check("s", row["id"], sample.get("txt"), row["s"])
        expected.check("raw", row["id"], sample.get("dat"), row["raw"])
        assert sample["npy"].dtype == np.float32
        expected.check("vec", row["id"], sample["npy"].astype(float).tolist(), row["vec"])
    assert scalars["split"] in ("train", "test")
    assert scalars["id"] not in seen
    seen.add(scalars["id"])
    order.append(scalars["id"])
print(json.dumps(order))
