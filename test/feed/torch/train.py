"""Trains a small model from a feed, as ranks of their own, and kills them where the plan says.

argv[1]: the plan as JSON: url, folder, loader ("plain" or "stateful"), features: [column, numbers a row], lives: [{world, workers, stop, phase}].
Each life forks `world` ranks, which go on at their checkpoint; at step `stop` each sends itself SIGKILL: when it has the batch ("taken"),
when the model has learned from it ("trained"), or when the checkpoint of the step before is written ("saved"). Without `stop` they end.
Prints a JSON line a life: how its ranks ended. Each rank appends to `log`: life, rank, step, its ids in hexadecimal; what it says
goes to `errors`.
"""

import hashlib
import json
import os
import signal
import sys

import torch
from millrace import Feed
from torch.utils.data import DataLoader

torch.set_num_threads(1)
plan = json.loads(sys.argv[1])
log = os.open(os.path.join(plan["folder"], "log"), os.O_CREAT | os.O_WRONLY | os.O_APPEND)
errors = os.open(os.path.join(plan["folder"], "errors"), os.O_CREAT | os.O_WRONLY | os.O_APPEND)


def loader_of(checkpoint, rank, life):
    if plan["loader"] == "stateful":
        from torchdata.stateful_dataloader import StatefulDataLoader

        dataset = Feed(plan["url"], rank=rank, world=life["world"], patience=60).torch()
        loader = StatefulDataLoader(dataset, batch_size=None, num_workers=life["workers"])
        if checkpoint["loader"] is not None:
            loader.load_state_dict(checkpoint["loader"])
        return loader
    dataset = Feed(plan["url"], rank=rank, world=life["world"], patience=60).torch()
    dataset.load_state_dict({"step": checkpoint["step"]})
    return DataLoader(dataset, batch_size=None, num_workers=life["workers"])


def checkpoint_of(rank):
    """The rank's own where it has been in the life before, else that of another: all of one life end at one step."""
    paths = [os.path.join(plan["folder"], f"rank{other}") for other in range(4)]
    saved = [torch.load(path) if os.path.exists(path) else {"step": 0, "loader": None} for path in paths]
    return max([saved[rank], *saved], key=lambda checkpoint: checkpoint["step"])


def train(number, rank, life, checkpoint):
    torch.manual_seed(0)
    features, width = plan["features"]
    model = torch.nn.Sequential(torch.nn.Linear(width, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    own = os.path.join(plan["folder"], f"rank{rank}")
    if "model" in checkpoint:
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
    step = checkpoint["step"]
    loader = loader_of(checkpoint, rank, life)

    def die(phase):
        if (step, phase) == (life.get("stop"), life.get("phase")):
            os.kill(os.getpid(), signal.SIGKILL)

    for batch in loader:
        die("taken")
        if len(batch["id"]) > 0:
            optimizer.zero_grad()
            predicted = model(batch[features].float().flatten(1)).squeeze(1)
            torch.nn.functional.binary_cross_entropy_with_logits(predicted, batch["y"].float()).backward()
            optimizer.step()
        os.write(log, f"{number} {rank} {step} {batch['id'].numpy().astype('<i8').tobytes().hex()}\n".encode())
        die("trained")
        state = loader.state_dict() if plan["loader"] == "stateful" else None
        step += 1
        saved = {"step": step, "loader": state, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(saved, own + ".new")
        os.rename(own + ".new", own)
        die("saved")
    weights = b"".join(parameter.detach().numpy().tobytes() for parameter in model.parameters())
    with open(own + ".weights", "w") as out:
        out.write(hashlib.sha256(weights).hexdigest())


for number, life in enumerate(plan["lives"]):
    ranks = []
    # Before any rank of this life can save.
    checkpoints = [checkpoint_of(rank) for rank in range(life["world"])]
    for rank in range(life["world"]):
        child = os.fork()
        if child == 0:
            status = 1
            # The workers of a rank that was killed live on for seconds; they must not hold what our caller waits for.
            os.dup2(errors, 1)
            os.dup2(errors, 2)
            try:
                train(number, rank, life, checkpoints[rank])
                status = 0
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                os._exit(status)
        ranks.append(child)
    ends = [os.waitpid(child, 0)[1] for child in ranks]
    print(json.dumps([f"signal {os.WTERMSIG(end)}" if os.WIFSIGNALED(end) else os.WEXITSTATUS(end) for end in ends]), flush=True)
