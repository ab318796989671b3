"""Reads epochs of shuffled batches with one loader: feed_read.py loader place batch rows warm|cold report.json

warm: the first epoch is held to a checksum, the second is timed. cold: the first epoch is timed.
"""
import json, os, sys, time, zlib

started = time.monotonic()
loader, place, batch_size, rows, mode, report = sys.argv[1:]
batch_size, rows = int(batch_size), int(rows)

import numpy as np
import pyarrow as pa


def lance_epochs():
    import lance

    dataset = lance.dataset(place)
    yield
    while True:
        order = np.random.default_rng(7).permutation(rows)
        yield (dataset.take(order[at : at + batch_size]) for at in range(0, rows - batch_size + 1, batch_size))


def lancedb_epochs():
    import lancedb
    from lancedb.permutation import Permutation, permutation_builder

    table = lancedb.connect(os.path.dirname(place)).open_table("rows")
    yield
    while True:
        permutation = Permutation.from_tables(table, permutation_builder(table).shuffle(seed=7).execute())
        yield permutation.with_format("arrow").iter(batch_size, skip_last_batch=True)


def hf_epochs():
    from datasets import load_from_disk

    dataset = load_from_disk(place).with_format("arrow")
    yield
    while True:
        yield dataset.shuffle(seed=7).iter(batch_size, drop_last_batch=True)


def dataloader_epochs():
    """What PyTorch's guides do with a table: it is in memory, a sampler gives the rows of a batch, which are taken at once."""
    import pyarrow.parquet as pq
    import torch
    from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

    table = pq.read_table(place).combine_chunks()

    class Rows(Dataset):
        def __len__(self):
            return table.num_rows

        def __getitem__(self, indices):
            return table.take(indices)

    yield
    while True:
        sampler = BatchSampler(RandomSampler(Rows(), generator=torch.Generator().manual_seed(7)), batch_size, drop_last=True)
        yield DataLoader(Rows(), sampler=sampler, batch_size=None, num_workers=0)


def grouped(samples):
    batch = []
    for sample in samples:
        batch.append(sample)
        if len(batch) == batch_size:
            yield batch
            batch = []


def mosaicml_epochs():
    import without_torch
    from streaming import StreamingDataset
    from streaming.base.util import clean_stale_shared_memory

    clean_stale_shared_memory()
    # The only one of its shuffles that is over all samples.
    dataset = StreamingDataset(local=place, shuffle=True, shuffle_algo="naive", shuffle_seed=7, batch_size=batch_size, num_canonical_nodes=1)
    yield
    while True:
        yield grouped(dataset)


def webdataset_epochs():
    import glob
    import webdataset as wds

    shards = sorted(glob.glob(place + "/*.tar"))
    yield
    while True:
        yield grouped(wds.WebDataset(shards, shardshuffle=len(shards), seed=7).shuffle(10_000))


def millrace_epochs():
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../python"))
    from millrace import Feed

    yield
    steps = rows // batch_size
    at = 0
    while True:
        yield Feed(place, start=at, stop=at + steps)
        at += steps


MASK = (1 << 64) - 1


def checksum_of(batch):
    """The same for the same rows in any order and in any loader."""
    if isinstance(batch, list):
        pairs = [(int(s["id"]), s["payload"]) if "payload" in s else (int(s["__key__"]), s["bin"]) for s in batch]
        return sum((key + 1) * zlib.crc32(value) for key, value in pairs)
    names = batch.schema.names
    if "payload" in names:
        return sum((key + 1) * zlib.crc32(value) for key, value in zip(batch["id"].to_pylist(), batch["payload"].to_pylist()))
    total = 0
    for place, name in enumerate(sorted(names)):
        column = batch[name]
        for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
            total += (place + 1) * sum_of(chunk)
    return total


def sum_of(array):
    kind = array.type
    if pa.types.is_dictionary(kind):
        return sum_of(array.dictionary_decode())
    buffers, begin, end = array.buffers(), array.offset, array.offset + len(array)
    if pa.types.is_decimal(kind):
        return int(np.frombuffer(buffers[1], "<i8")[begin * 2 : end * 2 : 2].sum())
    if pa.types.is_date32(kind) or pa.types.is_int32(kind):
        return int(np.frombuffer(buffers[1], "<i4")[begin:end].sum(dtype=np.int64))
    if pa.types.is_int64(kind):
        return int(np.frombuffer(buffers[1], "<i8")[begin:end].sum())
    offsets = np.frombuffer(buffers[1], "<i8" if pa.types.is_large_string(kind) else "<i4")
    return int(np.frombuffer(buffers[2], "u1")[offsets[begin] : offsets[end]].sum(dtype=np.int64))


def count(batch):
    return len(batch) if isinstance(batch, list) else batch.num_rows


epochs = {name[: -len("_epochs")]: value for name, value in list(globals().items()) if name.endswith("_epochs")}[loader]()
opened, opened_cpu = time.monotonic(), time.process_time()
next(epochs)
first = None
seen = total = 0
cpu, timed = opened_cpu, opened
for batch in next(epochs):
    if first is None:
        first = time.monotonic()
    seen += count(batch)
    if mode == "warm":
        total += checksum_of(batch)
result = {"first": first - opened, "start": first - started, "rows": seen, "checksum": format(total & MASK, "016x")}
if mode == "warm":
    cpu, timed, seen = time.process_time(), time.monotonic(), 0
    for batch in next(epochs):
        seen += count(batch)
result |= {"timed": seen, "seconds": time.monotonic() - timed, "cpu": time.process_time() - cpu}
if loader == "millrace" and mode == "warm":
    from millrace import Feed

    longest = 0
    for number in range(20):
        asked = time.monotonic()
        next(iter(Feed(place, start=number * 7919 % (rows // batch_size))))
        longest = max(longest, time.monotonic() - asked)
    result["resume"] = longest
json.dump(result, open(report, "w"))
# Threads of loaders may wait for ever.
os._exit(0)
