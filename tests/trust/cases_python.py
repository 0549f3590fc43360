"""The public Python functions: what they are given, and what they say of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

import paws
from paws.data.check import check_folder
from paws.data.cifar import read_batch
from paws.data.idx import read_idx
from paws.data.images import as_pixels, read_image
from paws.data.splits import read_split
from paws.losses import sharpen, soft_nn
from paws.models.sources import backbone_from
from tests.trust import inputs
from tests.trust.case import Case

NAMES = ("n01/n01_0.JPEG", "n01/n01_1.JPEG", "n02/n02_0.JPEG")


def file(name: str, data: bytes | str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode()) and None


def fit(**options: Any) -> Callable[[Path], Any]:
    return lambda folder: paws.fit(folder / "im", folder / "l.csv", folder / "run", **options)


def worked(workers: Any) -> Callable[[Path], Any]:
    return lambda folder: paws.fit(folder / "im", folder / "l.csv", folder / "run", workers=workers)


def picture(name: str, data: bytes) -> Callable[[Path], None]:
    """The usual folder with a further file that is called a picture."""

    def build(here: Path) -> None:
        inputs.folder(here)
        inputs.labels(here)
        (here / "im" / name).write_bytes(data)

    return build


def checked(folder: Path) -> str:
    return check_folder(folder / "im", folder / "l.csv").summary()


def split(folder: Path) -> torch.Tensor:
    return read_split(folder / "input", 3, NAMES)


def pixels(picture: Any) -> Callable[[Path], Any]:
    return lambda folder: tuple(as_pixels(picture).shape)


def finite(loss: Callable[..., torch.Tensor], *arguments: Any) -> Callable[[Path], Any]:
    """Whether what a loss gives is finite."""
    return lambda folder: "finite" if loss(*arguments).isfinite().all() else "not finite"


def png() -> bytes:
    from io import BytesIO

    stream = BytesIO()
    inputs.picture("a", 9).save(stream, "PNG")
    return stream.getvalue()


def backbone(features: Any) -> Callable[[Path], Any]:
    return lambda folder: backbone_from(features, name="mine", size=8, width=3)


BAD_PICTURES = {  # name, bytes
    "empty.png": b"",
    "text.png": b"no picture\n",
    "half.png": png()[:200],
    "head.png": png()[:30],
    "zeros.jpg": bytes(500),
    "page.jpg": b"<html><body>404</body></html>",
    "vector.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
    "svg.png": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "pdf.tif": b"%PDF-1.4\n",
    "pickle.bmp": b"\x80\x04\x95\x00",
    "bitmap.bmp": b"BM" + bytes(20),
    "gif.gif": b"GIF89a\x00\x00\x00\x00",
    "webp.webp": b"RIFF\x04\x00\x00\x00WEBP",
    "tiff.tif": b"II*\x00\xff\xff\xff\xff",
}
SPLITS = {  # text, what is said
    "": "is empty",
    "\n \n": "is empty",
    "0\n3\n": "input:2: index 3 is outside of the 3 training images",
    "-1\n": "input:1: index -1 is outside",
    "1\n1\n": "input:2: 1 stands already in line 1",
    "n01_9.JPEG\n": "input:1: n01_9.JPEG: there is no such image",
    "n09_0.JPEG\n": "input:1: n09_0.JPEG: there is no class 'n09'",
    "1.5\n": "input:1: 1.5",
    "0x1\n": "input:1: 0x1",
    "99999999999999999999999\n": "is outside of the 3",
}
IDX = {  # bytes, what is said
    b"": "starts with nothing",
    b"\x00\x00": "not an IDX file",
    b"\x00\x00\x09\x01\x00\x00\x00\x01\x00": "not an IDX file of unsigned bytes",
    b"\x00\x00\x08\x00": "not an IDX file of unsigned bytes",
    b"\x00\x00\x08\x05": "not an IDX file of unsigned bytes",
    b"\x00\x00\x08\x02\x00\x00": "ends inside its header",
    b"\x00\x00\x08\x01\x00\x00\x00\x05\x00": "promises 5 bytes of shape (5,) but there are less",
    b"\x00\x00\x08\x01\x00\x00\x00\x01\x00\x00": "but there are more",
    b"\x00\x00\x08\x02\xff\xff\xff\xff\xff\xff\xff\xff": "more than 4294967296",
    b"\x1f\x8b\x08\x00": "not an IDX file",
}


def closed() -> Image.Image:
    image = Image.new("L", (9, 9))
    image.close()
    return image


NO_PATH: dict[str, Callable[[Path], Any]] = {
    "images 7": lambda folder: paws.fit(7, folder / "l.csv", folder / "run"),  # type: ignore[arg-type]
    "images None": lambda folder: paws.fit(None, folder / "l.csv", folder / "run"),  # type: ignore[arg-type]
    "images 'a\\x00b'": lambda folder: paws.fit("a\0b", folder / "l.csv", folder / "run"),
    "run 'a\\x00b'": lambda folder: paws.fit(folder / "im", folder / "l.csv", "a\0b"),
    "run None": lambda folder: paws.fit(folder / "im", folder / "l.csv", None),  # type: ignore[arg-type]
}
NOWHERE: dict[str, Callable[[Path], Any]] = {
    "paws.load": lambda folder: paws.load("nowhere"),
    "paws.fit": lambda folder: paws.fit("nowhere", None, "run"),
    "read_image": lambda folder: read_image("nowhere"),
    "read_idx": lambda folder: read_idx("nowhere"),
    "read_split": lambda folder: read_split("nowhere", 3),
    "read_batch": lambda folder: read_batch(Path("nowhere"), "labels", 10),
}
OPTIONS: dict[str, tuple[Any, str]] = {
    "views": (-1, "views -1: must be"),
    "accuracy": (2.0, "accuracy 2.0: must be"),
    "image_size": (3, "image_size 3: must be"),
    "steps": (0, "steps 0: must be"),
    "epochs": (0, "epochs 0: must be"),
    "seed": ("x", "seed x: "),
    "model": ("forest", "forest"),
    "backbone": ("resnet", "unknown model 'resnet'"),
    "device": ("tpu", "device tpu is not one of auto, cpu, cuda, cuda:N, mps"),
    "view": (1, "unknown option view; did you mean views?"),
    "batch": (1, "unknown option batch"),
    "weights": ("a\0b", "no path holds a zero byte"),
    "test": (3, "test: expected a file of labels, a list of them or a pandas DataFrame, not 3"),
    "prior": (3, "prior 3: "),
    "overwrite": ("no", "overwrite 'no': must be True or False"),
    "quiet": (7, "quiet 7: must be True or False"),
    "none_class": (7, "none_class 7: "),
    "train": (True, "train True: "),
    "mirror": ("perhaps", "mirror perhaps: "),
}
BUNDLE: Sequence[tuple[str, Callable[[Any], Any], str]] = (  # what is asked of a bundle, and what it says
    ("one path", lambda bundle: bundle.predict("im/a0.png"), "of a single one write [image]"),
    ("one Path", lambda bundle: bundle.predict(Path("im/a0.png")), "of a single one write [image]"),
    ("one Pillow image", lambda bundle: bundle.predict(Image.new("L", (9, 9))), "of a single one write [image]"),
    ("one colour array", lambda bundle: bundle.predict(np.zeros((9, 9, 3), np.uint8)), "of a single one write [image]"),
    ("one grey array", lambda bundle: bundle.predict(np.zeros((9, 9), np.uint8)), "of a single one write [image]"),
    ("a folder in place of a list", lambda bundle: bundle.predict("."), ". is a folder; of all images in it write"),
    ("a table", lambda bundle: bundle.predict(pd.DataFrame({"file": ["im/a0.png"]})), "not a table of file; give the column"),
    ("bytes", lambda bundle: bundle.predict(b"im/a0.png"), "expected several images"),
    ("nothing", lambda bundle: bundle.predict(None), "expected several images"),
    ("None among images", lambda bundle: bundle.predict(["im/a0.png", None]), "None: expected a path"),
    ("a number among images", lambda bundle: bundle.predict([7]), "7: expected a path"),
    ("a tensor among images", lambda bundle: bundle.predict([torch.zeros(3, 9, 9)]), "expected a path"),
    ("floats", lambda bundle: bundle.predict([np.zeros((9, 9))]), "an array of float64"),
    ("features of another width", lambda bundle: bundle.predict_features(["x"], torch.zeros(1, 3)), "of an image are expected"),
    (
        "features of another count",
        lambda bundle: bundle.predict_features(["x"], torch.zeros(2, 256)),
        "features (N, D) of 1 image",
    ),
    ("features as an array", lambda bundle: bundle.predict_features(["x"], np.zeros((1, 256))), "as a tensor"),
    ("a row of features", lambda bundle: bundle.predict_features(["x"], torch.zeros(256)), "as a tensor"),
    ("a Pillow image without pixels", lambda bundle: bundle.predict([Image.new("L", (0, 5))]), "0 x 5 holds no pixel"),
    ("a closed image", lambda bundle: bundle.predict([closed()]), "Operation on closed image"),
    ("a folder", lambda bundle: bundle.predict(["."]), "no plain file"),
    ("a list in a list", lambda bundle: bundle.predict([["im/a0.png"]]), "expected a path"),
    ("features of nan", lambda bundle: bundle.predict_features(["x"], torch.full((1, 256), torch.nan)), "not finite"),
)
CASES = [
    Case("paws.load(7)", lambda folder: paws.load(7), code=2, says=("folder 7", "expected a path")),  # type: ignore[arg-type]
    Case("paws.load(None)", lambda folder: paws.load(None), code=2, says=("folder None",)),  # type: ignore[arg-type]
    Case("paws.load for no device", lambda folder: paws.load(".", device="meta"), code=2, says=("device 'meta'",)),
    Case("paws.load for a number", lambda folder: paws.load(".", device=7), code=2, says=("device 7",)),  # type: ignore[arg-type]
    Case("paws.load for another device", lambda folder: paws.load(".", device="tpu"), code=2, says=("device 'tpu'",)),
    *(
        Case(f"a bundle predicts {what}", lambda path, call=call: call(paws.load(path)), code=2, says=(says,), given="bundle")
        for what, call, says in BUNDLE
    ),
    *(
        Case(f"paws.fit with workers {value!r}", worked(value), inputs.named(), 2, (f"workers {value!r}",))
        for value in (-1, "two", 1.5)
    ),
    *(Case(f"paws.fit with {what}", call, inputs.named(), 2, (f"{what}: expected a path",)) for what, call in NO_PATH.items()),
    *(Case(f"{name} of what is not there", call, code=2, says=("nowhere",)) for name, call in NOWHERE.items()),
    *(
        Case(f"paws.fit({name}={value!r})", fit(**{name: value}), inputs.named(), 2, (says,))
        for name, (value, says) in OPTIONS.items()
    ),
    *(Case(f"a picture that is none: {name}", checked, picture(name, data), 2, (name,)) for name, data in BAD_PICTURES.items()),
    *(
        Case(
            f"a split file of {text[:12]!r}",
            lambda folder: read_split(folder / "input", 3, NAMES),
            file("input", text),
            2,
            (says,),
        )
        for text, says in SPLITS.items()
    ),
    *(
        Case(f"an IDX file of {data!r}", lambda folder: read_idx(folder / "input"), file("input", data), 2, (says,))
        for data, says in IDX.items()
    ),
    Case("a folder as a bundle", lambda folder: paws.load(folder), code=2, says=("holds no bundle",)),
    Case("an array of floats as a picture", pixels(np.zeros((4, 4))), code=2, says=("float64", "uint8")),
    Case(
        "an array of four channels as a picture",
        pixels(np.zeros((4, 4, 4), np.uint8)),
        code=2,
        says=("(4, 4, 4)",),
    ),
    Case("an empty array as a picture", pixels(np.zeros((0, 4), np.uint8)), code=2, says=("holds no pixel",)),
    Case("a grey array as a picture", pixels(np.zeros((4, 4), np.uint8)), says=("(3, 4, 4)",)),
    Case("a picture of Pillow", pixels(Image.new("LA", (4, 4))), says=("(3, 4, 4)",)),
    Case("a backbone of another width", backbone(lambda x: x.mean((2, 3))[:, :2]), code=2, says=("2 features, not the 3",)),
    Case("a backbone that gives maps", backbone(lambda x: x), code=2, says=("must give features of shape (2, width)",)),
    Case("a backbone of the right width", backbone(lambda x: x.mean((2, 3))), says=("mine",)),
    Case(
        "a vote among embeddings of zeros",
        finite(soft_nn, torch.zeros(2, 3), torch.zeros(4, 3), torch.eye(4)),
        says=("finite",),
        silent=("not",),
    ),
    Case(
        "a vote at a temperature of 1e-4",
        finite(soft_nn, torch.ones(2, 3), torch.eye(3), torch.eye(3), 1e-4),
        says=("finite",),
        silent=("not",),
    ),
    Case("sharpening a certain prediction", finite(sharpen, torch.eye(3), 0.25), says=("finite",), silent=("not",)),
]
