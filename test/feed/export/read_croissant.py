"""Validates descriptions with mlcroissant; of those named with `rows:` the records are read and held to the rows: read_croissant.py expected.parquet [rows:]path…"""
import json, math, sys
from urllib.parse import quote

import mlcroissant as mlc

import expected

wanted = expected.rows(sys.argv[1])
report = {}
for argument in sys.argv[2:]:
    path = argument.removeprefix("rows:")
    dataset = mlc.Dataset(path)
    issues = dataset.metadata.ctx.issues
    report[path] = {
        "version": str(dataset.metadata.ctx.conforms_to.value),
        "errors": sorted(issues.errors),
        "warnings": sorted(issues.warnings),
        "sets": [item.uuid for item in dataset.metadata.record_sets],
    }
    if path == argument:
        continue
    seen = 0
    for record in dataset.records("rows"):
        row = wanted[record["rows/id"]]
        for name, value in row.items():
            found = record["rows/" + quote(name)]
            if isinstance(found, bytes) and isinstance(value, str):
                found = found.decode()
            found = found.item() if hasattr(found, "item") else found
            found = found.to_pydatetime() if hasattr(found, "to_pydatetime") else found
            # Pandas, by which it reads, is not exact about doubles in text.
            close = isinstance(value, float) and "-parquet-" not in path and math.isclose(found, value, rel_tol=1e-13)
            assert found == value or close or (found is None and value == ""), (path, row["id"], name, found, value)
        seen += 1
    report[path]["rows"] = seen
print(json.dumps(report))
