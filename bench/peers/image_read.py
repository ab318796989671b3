"""Reads epochs of shuffled batches of decoded images: image_read.py loader place batch rows report.json

Each image is 224 × 224, cut to fit. The first epoch and the second are timed; `mean` is that of all samples of the first.
"""
import io, json, os, sys, time

loader, place, batch_size, rows, report = sys.argv[1:]
batch_size, rows = int(batch_size), int(rows)
side = 224

import numpy as np


def decode(file, draft):
    from PIL import Image, ImageOps

    image = Image.open(file)
    if draft:
        # The decoder makes it smaller at once, by 2, 4 or 8.
        image.draft("RGB", (side, side))
    return np.asarray(ImageOps.fit(image.convert("RGB"), (side, side)))


def dataloader(draft):
    """As PyTorch's guides do it: a file an image, decoded by Pillow in worker processes."""
    import torch
    from torch.utils.data import DataLoader, Dataset

    names = sorted(os.listdir(place))

    class Images(Dataset):
        def __len__(self):
            return len(names)

        def __getitem__(self, index):
            return index, torch.from_numpy(decode(os.path.join(place, names[index]), draft).copy())

    order = torch.Generator().manual_seed(7)
    return DataLoader(Images(), batch_size, shuffle=True, drop_last=True, num_workers=2, generator=order)


def webdataset(draft):
    import glob
    import torch
    import webdataset as wds
    from torch.utils.data import DataLoader

    shards = sorted(glob.glob(place + "/*.tar"))
    dataset = wds.WebDataset(shards, shardshuffle=len(shards), seed=7).shuffle(1000)
    dataset = dataset.map(lambda sample: (int(sample["__key__"]), torch.from_numpy(decode(io.BytesIO(sample["jpg"]), draft).copy())))
    return DataLoader(dataset, batch_size, drop_last=True, num_workers=2)


def millrace(_):
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../python"))
    from millrace import Feed

    feed = Feed(place, stop=rows // batch_size).torch()
    return ((batch["id"], batch["photo"]) for batch in feed)


make = {"dataloader": dataloader, "webdataset": webdataset, "millrace": millrace}
name, _, draft = loader.partition("-")
result = {"epochs": []}
for epoch in range(2):
    batches = make[name](draft == "draft")
    begun, seen, total = time.monotonic(), 0, 0.0
    for ids, images in batches:
        assert tuple(images.shape[1:]) == (side, side, 3), images.shape
        seen += len(ids)
        total += float(images[:, ::16, ::16].float().mean()) * len(ids)
    result["epochs"].append(seen / (time.monotonic() - begun))
    result |= {"rows": seen, "mean": total / seen}
json.dump(result, open(report, "w"))
os._exit(0)
