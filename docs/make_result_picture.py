"""The picture in README.md: every sample photo beside its nearest neighbour, and their cosine.

From the repository's root, after `make features`:

    PYTHONPATH=examples .venv/bin/python docs/make_result_picture.py samples features docs/result.jpg
"""

import sys
from pathlib import Path

from nearest import nearest
from PIL import Image, ImageDraw, ImageFont, ImageOps

COLUMNS, SIDE, GAP, MARGIN = 4, 176, 4, 24  # pixels; shown on a page at about half of them
TEXT_HEIGHT, BETWEEN = 66, 30  # below a pair; between two rows
PAIR = 2 * SIDE + GAP
PAPER, INK, GREY, ACCENT = "#ffffff", "#1f2328", "#59636e", "#0b6e4f"
NAME, NUMBER = ImageFont.load_default(size=22), ImageFont.load_default(size=29)


def main(photos: str, features: str, out: str) -> None:
    """Draw all pairs, row by row."""
    pairs = list(nearest(features))
    rows = -(-len(pairs) // COLUMNS)
    width = COLUMNS * (PAIR + MARGIN) + MARGIN
    height = 2 * MARGIN + rows * (SIDE + TEXT_HEIGHT) + (rows - 1) * BETWEEN
    sheet = Image.new("RGB", (width, height), PAPER)
    for index, (path, other, cosine) in enumerate(pairs):
        row, column = divmod(index, COLUMNS)
        x, y = MARGIN + column * (PAIR + MARGIN), MARGIN + row * (SIDE + TEXT_HEIGHT + BETWEEN)
        sheet.paste(thumbnail(Path(photos, path)), (x, y))
        sheet.paste(thumbnail(Path(photos, other)), (x + SIDE + GAP, y))
        label(ImageDraw.Draw(sheet), x, y, Path(path).stem, Path(other).stem, cosine)
    sheet.save(out, quality=72, optimize=True, progressive=True)


def thumbnail(path: Path) -> Image.Image:
    """The photo's middle, upright and square."""
    with Image.open(path) as image:
        return ImageOps.fit(ImageOps.exif_transpose(image).convert("RGB"), (SIDE, SIDE))


def label(draw: ImageDraw.ImageDraw, x: int, y: int, name: str, other: str, cosine: float) -> None:
    """An arrow from photo to neighbour; below them the photo's name, the neighbour's, and the cosine."""
    middle, level, radius = x + SIDE + GAP / 2, y + SIDE / 2, 19
    draw.ellipse((middle - radius, level - radius, middle + radius, level + radius), fill=PAPER)
    draw.polygon([(middle - 6, level - 10), (middle + 10, level), (middle - 6, level + 10)], fill=ACCENT)
    draw.text((x, y + SIDE + 10), name, INK, NAME)
    draw.text((x, y + SIDE + 38), other, GREY, NAME)
    draw.text((x + PAIR, y + SIDE + 23), f"{cosine:.2f}", ACCENT, NUMBER, anchor="ra")


if __name__ == "__main__":
    main(*sys.argv[1:])
