"""Pillow on every core: metadata and a thumbnail of 256 pixels of each file of a folder. `media_read.py pillow <folder>`"""
import io, os, sys
from multiprocessing import Pool
from PIL import Image


def thumbnail(path):
    with Image.open(path) as image:
        image.draft("RGB", (256, 256))
        image.thumbnail((256, 256))
        image.save(io.BytesIO(), "JPEG", quality=80)
    return 1


if __name__ == "__main__":
    folder = sys.argv[2]
    with Pool() as pool:
        print(sum(pool.imap_unordered(thumbnail, [os.path.join(folder, name) for name in os.listdir(folder)], 16)))
