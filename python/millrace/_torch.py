"""The part of the client that needs PyTorch; loaded by `Feed.torch()` only."""

from __future__ import annotations

from typing import Any, Iterator

import pyarrow as pa
import torch
from torch.utils.data import IterableDataset, get_worker_info


def tensors(batch: pa.RecordBatch) -> dict[str, Any]:
    """Numbers and lists of one length as tensors (rows × length), without a copy where that is possible; all else as lists."""
    result: dict[str, Any] = {}
    for name, column in zip(batch.schema.names, batch.columns):
        kind = column.type
        if pa.types.is_fixed_size_list(kind) and column.null_count == 0:
            flat = column.flatten().to_numpy(zero_copy_only=False)
            result[name] = torch.from_numpy(flat.copy()).reshape(len(column), kind.list_size)
        elif (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)) and column.null_count == 0:
            result[name] = torch.from_numpy(column.to_numpy(zero_copy_only=False).copy())
        else:
            result[name] = column.to_pylist()
    return result


class TorchFeed(IterableDataset):
    """`state_dict()["step"]` is the next step; `load_state_dict` goes on there. In a DataLoader with workers, keep the number of
    batches that the training loop has taken: that number, as `start`, goes on exactly."""

    def __init__(self, feed: Any) -> None:
        super().__init__()
        self.feed = feed
        self.step = feed.start

    def __iter__(self) -> Iterator[dict[str, Any]]:
        from . import Feed

        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        feed = self.feed
        part = Feed(feed.url, self.step, feed.stop, feed.rank, feed.world, worker, workers, feed.timeout)
        for step, batch in part.steps():
            self.step = step + 1
            yield tensors(batch)

    def state_dict(self) -> dict[str, int]:
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.step = state["step"]
