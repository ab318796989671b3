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

# Loaders of training data, beside `bench/feed.ts`. PyTorch brings gigabytes of CUDA along, which its package of PyPI cannot be loaded without.
python3 -m venv .cache/bench-feed
.cache/bench-feed/bin/pip install -q torch==2.15.0 numpy lancedb==0.40.0 pylance==14.0.2 datasets==5.2.0 webdataset==1.0.2 pyarrow pandas pillow \
  brotli catalogue python-snappy tqdm xxhash zstd fpdf2==2.8.4
# MosaicML's package asks for every cloud and for transformers, which its reading of local files does not use.
.cache/bench-feed/bin/pip install -q --no-deps mosaicml-streaming==0.13.0 torchvision==0.29.2

# Feast's server, beside `bench/lookup.ts`; Redis comes with the system.
python3 -m venv .cache/bench-feast
.cache/bench-feast/bin/pip install -q "feast[redis]==0.67.0"

# Fastify, beside `bench/collect.ts`.
mkdir -p .cache/bench-collect
echo '{"private":true}' > .cache/bench-collect/package.json
npm install --prefix .cache/bench-collect --no-audit --no-fund --ignore-scripts --save-exact fastify@5.12.8
