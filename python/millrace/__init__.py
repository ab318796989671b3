"""Training batches from `millrace feed`: an order that is a pure function of version, split, seed and step.

    from millrace import Feed

    feed = Feed("http://127.0.0.1:4100")
    for batch in feed:                      # pyarrow.RecordBatch, one a step
        x = batch["features"]

`arrays(batch)` gives NumPy arrays by name. A run that was stopped goes on at any step: `Feed(url, start=step)`. With several trainers give `rank` and `world`: the ranks
together see exactly what one would, for every number of ranks that divides the batch.
"""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any, Iterator, Optional
from urllib.parse import urlencode, urlsplit

import pyarrow as pa

__all__ = ["Feed", "FeedError", "arrays"]


class FeedError(Exception):
    """The feed cannot be reached, refuses the request, or ended early."""


def arrays(batch: pa.RecordBatch) -> dict[str, Any]:
    """The columns of a batch by name: numbers and booleans as NumPy arrays, lists of one length as rows × length, images as rows × shape,
    all else as lists of Python values. Nulls among floats are NaN; other columns in which the feed has nulls are lists, in every batch."""
    import numpy as np

    result: dict[str, Any] = {}
    for field, column in zip(batch.schema, batch.columns):
        kind = field.type
        number = pa.types.is_integer(kind) or pa.types.is_boolean(kind)
        if isinstance(kind, pa.FixedShapeTensorType) and not field.nullable:
            result[field.name] = np.array(column.to_numpy_ndarray())
        elif pa.types.is_fixed_size_list(kind) and not field.nullable:
            flat = column.flatten().to_numpy(zero_copy_only=False)
            result[field.name] = np.array(flat).reshape(len(column), kind.list_size)
        elif pa.types.is_floating(kind) or (number and not field.nullable):
            result[field.name] = np.array(column.to_numpy(zero_copy_only=False))
        else:
            result[field.name] = column.to_pylist()
    return result


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Feed:
    """Batches of a feed that `millrace feed` serves. Iterating again begins again at `start`.

    url      what `millrace feed` printed: `http://host:port` or `unix:/path`
    start    the first step
    stop     the step to end before; None: all
    rank, world      this trainer, and how many share each step
    worker, workers  every `workers`-th step from the `worker`-th on; `torch()` sets them for a DataLoader
    timeout  seconds that the server may take for a batch
    """

    def __init__(self, url: str, start: int = 0, stop: Optional[int] = None, rank: int = 0, world: int = 1,
                 worker: int = 0, workers: int = 1, timeout: float = 300.0) -> None:
        self.url, self.start, self.stop, self.timeout = url, start, stop, timeout
        self.rank, self.world, self.worker, self.workers = rank, world, worker, workers

    def info(self) -> dict[str, Any]:
        """`datasets`, `columns`, `batch`, `rows`, `stepsPerEpoch`, `steps` (None: it repeats for ever)."""
        connection, response = self._get("/v1/feed")
        try:
            return json.loads(response.read())
        finally:
            connection.close()

    def __len__(self) -> int:
        """Steps from `start` to the end, of this worker. Throws TypeError for a feed that repeats for ever."""
        steps = self.info()["steps"] if self.stop is None else self.stop
        if steps is None:
            raise TypeError("the feed repeats for ever")
        return max(0, -(-(steps - self.start - self.worker) // self.workers))

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for _, batch in self.steps():
            yield batch

    def steps(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """The number of each step, and its batch. `Feed(url, start=step + 1)` goes on after it."""
        query = {"from": self.start, "rank": self.rank, "world": self.world, "worker": self.worker,
                 "workers": self.workers}
        if self.stop is not None:
            query["to"] = self.stop
        connection, response = self._get("/v1/feed/batches?" + urlencode(query))
        step = self.start + self.worker
        try:
            with pa.ipc.open_stream(response) as reader:
                for batch in reader:
                    yield step, batch
                    step += self.workers
        except (pa.ArrowInvalid, OSError, http.client.HTTPException) as error:
            raise FeedError(f"the feed at {self.url} ended early, before step {step}: {error}") from error
        finally:
            connection.close()

    def torch(self) -> Any:
        """A `torch.utils.data.IterableDataset` of dictionaries of tensors, with `state_dict`: for a DataLoader with
        `batch_size=None` and any number of workers."""
        from ._torch import TorchFeed

        return TorchFeed(self)

    def _get(self, path: str) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection: http.client.HTTPConnection
        if self.url.startswith("unix:"):
            connection = _UnixConnection(self.url[len("unix:"):], self.timeout)
        else:
            address = urlsplit(self.url)
            connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=self.timeout)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
        except OSError as error:
            connection.close()
            raise FeedError(f"the feed at {self.url} cannot be reached: {error}; is `millrace feed` running?") from error
        if response.status != 200:
            said = response.read()
            connection.close()
            try:
                refusal = json.loads(said)
                raise FeedError(f"{refusal['message']} ({refusal.get('hint') or refusal['code']})")
            except (ValueError, KeyError):
                raise FeedError(f"the feed at {self.url} answered {response.status}") from None
        return connection, response
