"""Training batches from `millrace feed`: an order that is a pure function of version, split, seed and step.

    from millrace import Feed

    feed = Feed("http://127.0.0.1:4100")
    for batch in feed:                      # pyarrow.RecordBatch, one a step
        x = batch["features"]

`arrays(batch)` gives NumPy arrays by name. A run that was stopped goes on at any step: `Feed(url, start=step)`. With several trainers
give `rank` and `world`: the ranks together see exactly what one would, for every number of ranks that divides the batch. A connection
that is cut, and a server that is started anew, are waited for; then the feed goes on with the step that comes next.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from contextlib import closing
from typing import Any, Iterator, Optional
from urllib.parse import urlencode, urlsplit

import pyarrow as pa

__all__ = ["Feed", "FeedError", "arrays"]


class FeedError(Exception):
    """The feed cannot be reached, refuses the request, stands still, or is another than before."""


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
    patience seconds that the server may be away; None: 60, once it has been reached
    order    of `info()`; None: whatever is there first. Another one is refused, because it has other samples at the same step
    """

    def __init__(self, url: str, start: int = 0, stop: Optional[int] = None, rank: int = 0, world: int = 1,
                 worker: int = 0, workers: int = 1, timeout: float = 300.0, patience: Optional[float] = None,
                 order: Optional[str] = None) -> None:
        self.url, self.start, self.stop, self.timeout = url, start, stop, timeout
        self.rank, self.world, self.worker, self.workers = rank, world, worker, workers
        self.patience, self.order = patience, order

    def info(self) -> dict[str, Any]:
        """`datasets`, `columns`, `batch`, `rows`, `stepsPerEpoch`, `steps` (None: it repeats for ever), `order`."""
        away_since = None
        while True:
            try:
                connection, response = self._get("/v1/feed")
                with closing(connection):
                    return json.loads(response.read())
            except (OSError, http.client.HTTPException, ValueError) as error:
                away_since = self._wait(error, away_since)

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
        step, away_since = self.start + self.worker, None
        while True:
            query = {"from": step - self.worker, "rank": self.rank, "world": self.world, "worker": self.worker,
                     "workers": self.workers, **({} if self.stop is None else {"to": self.stop})}
            try:
                connection, response = self._get("/v1/feed/batches?" + urlencode(query))
                with closing(connection), pa.ipc.open_stream(response) as reader:
                    end = self._check(json.loads(reader.schema.metadata[b"millrace.feed"]), step)
                    for batch in reader:
                        away_since = None
                        yield step, batch
                        step += self.workers
                if step >= end:
                    return
                raise EOFError("the stream ended")
            except socket.timeout as error:
                raise FeedError(f"the feed at {self.url} gave nothing for {self.timeout:g} s, at step {step}: it stands "
                                "still, or a batch takes longer than `timeout`") from error
            except (EOFError, OSError, http.client.HTTPException, pa.ArrowInvalid) as error:
                away_since = self._wait(error, away_since, step)

    def torch(self) -> Any:
        """A `torch.utils.data.IterableDataset` of dictionaries of tensors, with `state_dict`: for a DataLoader with
        `batch_size=None` and any number of workers."""
        from ._torch import TorchFeed

        return TorchFeed(self)

    def _check(self, said: dict[str, Any], step: int) -> float:
        """The step to end before."""
        if self.order is None:
            self.order = said["order"]
        if self.order != said["order"]:
            raise FeedError(f"the feed at {self.url} has another order than before, at step {step}: another version, seed, "
                            "batch or columns are served; serve the old ones, or make a new `Feed` if this is meant")
        return min([float("inf"), *(end for end in (self.stop, said["steps"]) if end is not None)])

    def _wait(self, error: Exception, since: Optional[float], step: Optional[int] = None) -> float:
        """Sleeps, unless patience is at its end. Gives since when the server is away: `since`, or now."""
        since = since or time.monotonic()
        away = time.monotonic() - since
        if away >= ((0 if self.order is None else 60) if self.patience is None else self.patience):
            at = "" if step is None else f", at step {step}"
            raise FeedError(f"the feed at {self.url} cannot be reached{at}: {error}; is `millrace feed` running?") from error
        time.sleep(min(0.02 + away, 1))
        return since

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
            if response.status == 200:
                return connection, response
            said = response.read()
        except BaseException:
            connection.close()
            raise
        connection.close()
        try:
            refusal = json.loads(said)
            message = f"{refusal['message']} ({refusal.get('hint') or refusal['code']})"
        except (ValueError, KeyError):
            message = f"the feed at {self.url} answered {response.status}"
        raise FeedError(message)
