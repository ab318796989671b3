#!/usr/bin/env bash
# Installs the peers of the benches, versions pinned, into .cache/bench. Needs Python 3.11 or later.
set -euo pipefail
cd "$(dirname "$0")/../.."
python3 -m venv .cache/bench
.cache/bench/bin/pip install -q polars==2.1.0 "dlt[duckdb,filesystem,parquet]==1.31.0" sqlalchemy pyarrow==26.0.1 connectorx==0.4.6 psycopg2-binary pymysql
# Sling's wrapper downloads its binary from elsewhere; this package brings it along.
.cache/bench/bin/pip download -q --no-deps -d .cache/bench/sling sling-linux-amd64==1.4.11
(cd .cache/bench/sling && python3 -m zipfile -e ./*.whl . && mv sling_linux_amd64/bin/sling-linux-amd64 ../bin/ && chmod +x ../bin/sling-linux-amd64)
rm -rf .cache/bench/sling
