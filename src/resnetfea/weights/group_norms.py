"""Names of ResNets whose norms are group norms: as their ecosystem's others, but for the norms.

The number of groups stands in no file; all who publish such weights take 32. torchvision's names without statistics
(timm's resnet50_gn) are not here: norms whose statistics were folded away look the same.
"""

from __future__ import annotations

from dataclasses import replace

from resnetfea.network.variant import Variant
from resnetfea.weights import recipe
from resnetfea.weights.caffe2_names import CAFFE2, CAFFE2_BESIDE, CAFFE2_PARTS, CAFFE2_SPELLINGS
from resnetfea.weights.ecosystem import Ecosystem
from resnetfea.weights.ecosystems import ECOSYSTEMS

# stride in the 3x3: maskrcnn-benchmark 57eec25, configs/gn_baselines; detectron2 989f52d, configs/Misc/*_gn.yaml
GROUP_NORM = Variant(pool="pad1", norm="group")
BY_NAME = {one.name: one for one in reversed(ECOSYSTEMS)}  # of two with one name the first

GROUP_NORMS = (
    # Their batch norms always store statistics, so that names of norms without any are group norms'.
    replace(BY_NAME["maskrcnn-benchmark"], variant=GROUP_NORM),
    replace(BY_NAME["detectron2"], variant=GROUP_NORM),
    # ImageNetPretrained/47261647/R-50-GN.pkl of Detectron's zoo (maskrcnn-benchmark 57eec25, utils/c2_model_loading.py)
    Ecosystem(
        name="detectron1",
        prefixes=("",),
        rules=(
            *CAFFE2,
            (r"^res_conv1_bn\.", "conv1_bn."),
            (r"_bn\.weight$", "_gn_s"),
            (r"_bn\.bias$", "_gn_b"),
            *CAFFE2_PARTS,
        ),
        spellings=CAFFE2_SPELLINGS,
        beside=CAFFE2_BESIDE,
        variant=GROUP_NORM,
        recipe=recipe.DETECTRON,
    ),
    # mmdetection 2e97ad7, configs/gn; mmcv's build_norm_layer calls it gn1 to gn3. Its backbones come without a prefix.
    replace(
        BY_NAME["mmdet"],
        prefixes=("backbone.", ""),
        rules=(*BY_NAME["mmdet"].rules, (r"(^|\.)bn(\d)\.", r"\1gn\2.")),
        variant=GROUP_NORM,
        recipe=recipe.DETECTRON2,
    ),
)
