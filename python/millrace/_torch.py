"""The part of the client that needs PyTorch; loaded by `Feed.torch()` only."""

from __future__ import annotations

from typing import Any, Iterator

import pyarrow as pa
import torch
from torch.utils.data import IterableDataset, get_worker_info

from . import Feed, arrays


def tensors(batch: pa.RecordBatch) -> dict[str, Any]:
    """`arrays` as tensors; lists stay lists."""
    columns = arrays(batch).items()
    return {name: column if isinstance(column, list) else torch.from_numpy(column) for name, column in columns}


class TorchFeed(IterableDataset):
    """`state_dict()["step"]` is the next step; `load_state_dict` goes on there, and refuses another `order` where one is given. That is
    all a StatefulDataLoader of torchdata needs.

    A plain DataLoader with workers does not say how far its workers are: count the batches that the training loop has taken, and
    go on with `load_state_dict({"step": start + taken})`, with any number of workers."""

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self.feed = feed
        self.step = feed.start

    def __iter__(self) -> Iterator[dict[str, Any]]:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        feed = self.feed
        part = Feed(feed.url, self.step, feed.stop, feed.rank, feed.world, worker, workers, feed.timeout, feed.patience,
                    feed.order)
        for step, batch in part.steps():
            # Where a worker with this number goes on with the step after its own; without workers, the next step.
            self.step, feed.order = step + workers - worker, part.order
            yield tensors(batch)
        self.step = feed.start

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, "order": self.feed.order}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step, self.feed.order = state["step"], state.get("order")
