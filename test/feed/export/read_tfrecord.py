"""Reads TFRecord files, every CRC checked, and holds every value to the rows: read_tfrecord.py expected.parquet float32 shards…"""
import glob, gzip, json, struct, sys

import crc32c
import numpy as np
from tfrecord import example_pb2, reader

import expected

wanted = expected.rows(sys.argv[1])
float32, shards = sys.argv[2] == "float32", sorted(sum((glob.glob(pattern) for pattern in sys.argv[3:]), []))


def masked(data):
    crc = crc32c.crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(path):
    data = (gzip.open if path.endswith(".gz") else open)(path, "rb").read()
    at = 0
    while at < len(data):
        length, crc = struct.unpack_from("<QI", data, at)
        assert crc == masked(data[at : at + 8])
        record = data[at + 12 : at + 12 + length]
        assert struct.unpack_from("<I", data, at + 12 + length)[0] == masked(record)
        yield record
        at += 16 + length


def value_of(feature):
    return list(getattr(feature, feature.WhichOneof("kind")).value)


def decode(name, feature, value):
    found = value_of(feature)
    if name in ("ints", "tags", "vec"):
        return [item.decode() for item in found] if name == "tags" else found
    if name in ("gaps", "place", "attrs"):
        return json.loads(found[0])
    if name in ("d", "dbl") and not float32:
        numbers = np.frombuffer(found[0], "<f8").tolist()
        return numbers if name == "dbl" else numbers[0]
    if name == "dbl":
        return found
    assert len(found) == 1
    return found[0].decode() if isinstance(found[0], bytes) and not isinstance(value, bytes) else found[0]


def encoded(name, value):
    if name in ("ts", "zone", "tm"):
        return expected.micros(value)
    if name == "day":
        return expected.days(value)
    if isinstance(value, bool):
        return int(value)
    if name in ("dec", "wide"):
        return format(value, "f")
    if name == "u":
        return str(value)
    if float32 and name == "d":
        return float(np.float32(value))
    if float32 and name == "dbl":
        return [float(np.float32(item)) for item in value]
    return expected.plain(value) if name in ("gaps", "place", "attrs") else value


order = []
for path in shards:
    for record in records(path):
        example = example_pb2.Example.FromString(record)
        features = example.features.feature
        row = wanted[value_of(features["id"])[0]]
        for name, value in row.items():
            if value is None:
                assert name not in features, name
            else:
                expected.check(name, row["id"], decode(name, features[name], value), encoded(name, value))
        order.append(row["id"])
    # The package's own loader gives as many.
    compression = "gzip" if path.endswith(".gz") else None
    assert sum(1 for _ in reader.example_loader(path, None, {"id": "int"}, compression_type=compression)) == sum(1 for _ in records(path))
assert len(set(order)) == len(order)
print(json.dumps(order))
