"""Makes a feature store of Feast with N entities of 50 features in its online store of Redis, and serves it: lookup_feast.py FOLDER ENTITIES REDIS_PORT PORT."""

import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource
from feast.types import Float32
from feast.value_type import ValueType

folder, entities, redis, port = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
folder.mkdir(parents=True, exist_ok=True)
(folder / "feature_store.yaml").write_text(
    f"""project: bench
provider: local
registry: {folder}/registry.db
online_store:
  type: redis
  connection_string: "127.0.0.1:{redis},db=1"
entity_key_serialization_version: 3
"""
)
names = [f"f{index}" for index in range(50)]
values = np.random.default_rng(1).random((entities, 50), dtype=np.float32)
rows = pd.DataFrame(values, columns=names)
rows.insert(0, "id", np.arange(entities, dtype=np.int64))
rows["event_timestamp"] = datetime.now(timezone.utc)
rows.to_parquet(folder / "rows.parquet")
entity = Entity(name="id", join_keys=["id"], value_type=ValueType.INT64)
view = FeatureView(
    name="entities",
    entities=[entity],
    ttl=timedelta(days=30),
    schema=[Field(name=name, dtype=Float32) for name in names],
    source=FileSource(path=str(folder / "rows.parquet"), timestamp_field="event_timestamp"),
)
store = FeatureStore(repo_path=str(folder))
store.apply([entity, view])
for begin in range(0, entities, 5000):
    store.write_to_online_store("entities", rows.iloc[begin : begin + 5000])
print("ready", flush=True)
store.serve(host="127.0.0.1", port=port, type_="http", no_access_log=True, workers=1, keep_alive_timeout=30)
