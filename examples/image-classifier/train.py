"""A small network that tells kinds of charts apart, trained from `millrace feed`.

    python train.py TRAIN_URL TEST_URL
"""

import sys

import torch
from millrace import Feed
from torch import nn
from torch.utils.data import DataLoader

train_url, test_url = sys.argv[1:]
torch.manual_seed(7)
model = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveMaxPool2d(3),
    nn.Flatten(), nn.Linear(32 * 9, 3),
)
optimizer = torch.optim.Adam(model.parameters(), lr=0.003)


def inputs(batch):
    """Rows × 1 × 64 × 64, from 0 (paper, as in the corner) to 1 (ink), whatever the colours."""
    images = batch["bytes"].float()
    ink = (images - images[:, :, :1, :1]).abs()
    return ink / ink.amax(dim=(2, 3), keepdim=True).clamp(min=1)


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
right, counts = 0, torch.zeros(3)
with torch.no_grad():
    for batch in DataLoader(Feed(test_url, patience=60).torch(), batch_size=None):
        labels = batch["label"].long()
        right += int((model(inputs(batch)).argmax(1) == labels).sum())
        counts += torch.bincount(labels, minlength=3)
print(f"held out: accuracy {right / counts.sum():.3f} of {int(counts.sum())}, chance {counts.max() / counts.sum():.3f}")
