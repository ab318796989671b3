"""A small network that tells manuals from declarations of types, trained from `millrace feed`.

    python train.py TRAIN_URL TEST_URL
"""

import sys
from zlib import crc32

import torch
from millrace import Feed
from torch import nn
from torch.utils.data import DataLoader

train_url, test_url = sys.argv[1:]
torch.manual_seed(7)
buckets = 4096
model = nn.Sequential(nn.EmbeddingBag(buckets, 16, mode="mean"), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)


def inputs(batch):
    """Rows × 400: the pieces of three letters that a passage begins with, each as the number of a bucket."""
    rows = []
    for text in batch["text"]:
        pieces = [crc32(text[at:at + 3].encode()) % buckets for at in range(min(400, len(text)))]
        rows.append((pieces * 400)[:400])
    return torch.tensor(rows)


feed = Feed(train_url, patience=60)
per_epoch = feed.info()["stepsPerEpoch"]
losses = []
# The feed gives one epoch after the other, each in an order of its own.
for batch in DataLoader(feed.torch(), batch_size=None):
    loss = nn.functional.cross_entropy(model(inputs(batch)), batch["label"].long())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
    if len(losses) % per_epoch == 0:
        print(f"epoch {len(losses) // per_epoch}: loss {sum(losses[-per_epoch:]) / per_epoch:.3f}", flush=True)

model.eval()
right, counts = 0, torch.zeros(2)
with torch.no_grad():
    for batch in DataLoader(Feed(test_url, patience=60).torch(), batch_size=None):
        labels = batch["label"].long()
        right += int((model(inputs(batch)).argmax(1) == labels).sum())
        counts += torch.bincount(labels, minlength=2)
print(f"held out: accuracy {right / counts.sum():.3f} of {int(counts.sum())}, chance {counts.max() / counts.sum():.3f}")
