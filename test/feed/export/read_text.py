"""Reads CSV, TSV (pyarrow) or JSON (the standard library) and holds every value to the rows: read_text.py expected.parquet files…"""
import base64, glob, json, sys
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq

import expected

wanted = expected.rows(sys.argv[1])
types = {field.name: field.type for field in pq.read_schema(sys.argv[1])}


def cells(path):
    """Every cell as its text; what is null and what is empty are told apart by the quotes."""
    separator = "\t" if path.endswith(".tsv") else ","
    names = open(path, encoding="utf-8").readline().rstrip("\n").split(separator)
    table = csv.read_csv(
        path,
        parse_options=csv.ParseOptions(delimiter=separator, newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types={name: pa.string() for name in names},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    return table.to_pylist()


def objects(path):
    text = open(path, encoding="utf-8").read()
    # Numbers as they stand there: a double of a decimal would have lost digits.
    return json.loads(text, parse_float=Decimal) if path.endswith(".json") else [
        json.loads(line, parse_float=Decimal) for line in text.split("\n")[:-1]
    ]


def number(found, like):
    """A number of JSON, or the text of one, as what it is like."""
    if isinstance(like, bool):
        return {"true": True, "false": False}[found] if isinstance(found, str) else found
    if isinstance(like, int):
        return int(found) if isinstance(found, str) else found
    if isinstance(like, Decimal):
        return Decimal(found)
    return float(found)


def nested(found, like):
    if isinstance(like, list) and like and all(isinstance(item, tuple) for item in like):
        return {key: nested(found.get(key), item) for key, item in like}
    if isinstance(like, list):
        return [nested(item, other) for item, other in zip(found, like, strict=True)]
    if isinstance(like, dict):
        assert found.keys() == like.keys()
        return {key: nested(found[key], item) for key, item in like.items()}
    if found is None or isinstance(like, str):
        return found
    return base64.b64decode(found) if isinstance(like, bytes) else number(found, like)


def decode(name, found, like):
    if found is None or like is None or isinstance(like, str):
        return found
    if isinstance(like, bytes):
        return base64.b64decode(found, validate=True)
    if isinstance(like, (list, dict)):
        return nested(json.loads(found, parse_float=Decimal) if isinstance(found, str) else found, like)
    if isinstance(like, float) and types[name] == pa.float32():
        return float(np.float32(str(found)))
    return expected.parsed(found, like) if isinstance(found, str) and not isinstance(like, (bool, int, float, Decimal)) else number(found, like)


for pattern in sys.argv[2:]:
    order = []
    for path in sorted(glob.glob(pattern)):
        for row in (cells if path.endswith("sv") else objects)(path):
            for name, value in wanted[int(row["id"])].items():
                like = dict(value) if name == "attrs" and value is not None else value
                expected.check(name, row["id"], decode(name, row[name], like), like)
            order.append(int(row["id"]))
    print(json.dumps(order))
