"""Reads Arrow or Parquet files with pyarrow and holds every value and type to the rows: read_arrow.py expected.parquet files…"""
import glob, json, re, sys, uuid

import pyarrow as pa
import pyarrow.parquet as pq

import expected

wanted = expected.rows(sys.argv[1])
tables = []
for path in sorted(sum((glob.glob(pattern) for pattern in sys.argv[2:]), [])):
    table = pa.ipc.open_file(path).read_all() if path.endswith(".arrow") else pq.read_table(path)
    table.validate(full=True)
    tables.append(table)
table = pa.concat_tables(tables)
source = pq.read_table(sys.argv[1])
for field in source.schema:
    found, like = table.schema.field(field.name).type, field.type
    # The names of elements are of the format.
    plain = lambda kind: re.sub(r" \('\w+'\)", "", str(kind)).replace("element", "item")
    assert plain(found) == plain(like) or (field.name == "u" and found == pa.string()), (field.name, found, like)
order = []
for row in table.to_pylist():
    for name, value in wanted[row["id"]].items():
        found = uuid.UUID(row[name]) if name == "u" and isinstance(row[name], str) else row[name]
        expected.check(name, row["id"], found, value)
    order.append(row["id"])
print(json.dumps(order))
