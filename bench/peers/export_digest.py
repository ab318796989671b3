"""Reads what was exported with the reader of its format, and prints rows and a checksum of all values: export_digest.py format folder"""
import datetime, glob, json, re, struct, sys, zlib
from decimal import Decimal

kind, folder = sys.argv[1:]
files = sorted(path for path in glob.glob(f"{folder}/*") if not path.endswith((".json", ".npy")))
day = re.compile(r"\d{4}-\d\d-\d\d$")


def webdataset():
    import webdataset as wds

    for sample in wds.WebDataset(files, shardshuffle=False):
        yield json.loads(sample["json"]) | ({"image": sample["bin"]} if "bin" in sample else {})


def tfrecord():
    from tfrecord import example_pb2

    for path in files:
        data, at = open(path, "rb").read(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            features = example_pb2.Example.FromString(data[at + 12 : at + 12 + length]).features.feature
            yield {name: getattr(feature, feature.WhichOneof("kind")).value[0] for name, feature in features.items()}
            at += 16 + length


def mds():
    import without_torch
    from streaming.base.local import LocalDataset

    dataset = LocalDataset(folder)
    for index in range(len(dataset)):
        yield dataset[index]


def tables(batches):
    for batch in batches:
        yield from batch.to_pylist()


def arrow():
    import pyarrow as pa

    for path in files:
        yield from tables(pa.ipc.open_file(path).read_all().to_batches())


def parquet():
    import pyarrow.parquet as pq

    for path in files:
        yield from tables(pq.ParquetFile(path).iter_batches())


def csv():
    import csv as reader

    for path in files:
        yield from reader.DictReader(open(path, newline=""))


def jsonl():
    for path in files:
        yield from map(lambda line: json.loads(line, parse_float=Decimal), open(path))


def canonical(name, value):
    if isinstance(value, bytes):
        if name == "image":
            return zlib.crc32(value)
        value = value.decode()
    if isinstance(value, datetime.date):
        value = str(value)
    if isinstance(value, str) and day.match(value):
        return (datetime.date.fromisoformat(value) - datetime.date(1970, 1, 1)).days
    return str(value)


total = rows = 0
for row in {f.__name__: f for f in (webdataset, tfrecord, mds, arrow, parquet, csv, jsonl)}[kind]():
    text = "|".join(f"{name}={canonical(name, row[name])}" for name in sorted(row))
    total += zlib.crc32(text.encode())
    rows += 1
print(json.dumps({"rows": rows, "checksum": format(total & 0xFFFFFFFF, "08x")}))
