"""The table of ecosystems: a row for each renaming rule, from a canonical name (torchvision's) to the ecosystem's own.

The tests hold every one to be one-to-one over all depths, so the way back is exact and nothing is ever guessed from a
likeness.
"""

from __future__ import annotations

from typing import Any

from resnetfea.network.variant import BLOCKS, Variant
from resnetfea.weights import recipe
from resnetfea.weights.caffe2_names import CAFFE2, CAFFE2_BESIDE, CAFFE2_NECK, CAFFE2_PARTS, CAFFE2_SPELLINGS
from resnetfea.weights.ecosystem import Ecosystem, Rules, pyramid

MINDSPORE_NORM: Rules = (
    (r"(bn\d|downsample\.1)\.weight$", r"\1.gamma"),
    (r"(bn\d|downsample\.1)\.bias$", r"\1.beta"),
    (r"running_mean$", "moving_mean"),
    (r"running_var$", "moving_variance"),
)
# what MindSpore's optimisers and callbacks leave in a checkpoint
MINDSPORE_BESIDE = r"(moments|accum|stat)\..*|global_step|learning_rate|momentum|epoch_num|step_num"

# the source document's cell: mindspore-ai/models eab643f, .../maskrcnn_resnet50/src/maskrcnn/resnet50.py
RESNETFEA = Ecosystem(
    name="resnetfea",
    prefixes=("", "backbone."),
    rules=(
        *MINDSPORE_NORM,
        (r"downsample\.0\.", "conv_down_sample."),
        (r"downsample\.1\.", "bn_down_sample."),
        (r"(_blocks\.\d\.1)\.weight$", r"\1.gamma"),
        (r"(_blocks\.\d\.1)\.bias$", r"\1.beta"),
        *pyramid(
            "fpn_ncek.lateral_convs_list.{}",
            "fpn_ncek.fpn_convs_list.{}",
            norms=("fpn_ncek.lateral_norms.{}", "fpn_ncek.fpn_norms.{}"),  # and below, network/fpn.py's own
        ),
        (r"^fpn\.extra_blocks\.", "fpn_ncek."),
    ),
    neck=r"fpn_ncek\..*",
    beside=rf"(fpn_ncek|rpn_with_loss|rcnn(_cls|_mask)?|bbox_assigner.*)\..*|{MINDSPORE_BESIDE}",
    variant=Variant(),
    recipe=recipe.MINDSPORE,
)

# keras 3.15.1, applications/resnet.py and imagenet_utils.py; layer/variable is how h5_file.py gives every layout.
# The zeros around their pool stand behind a ReLU, where they are as good as none. Of heads, the usual names are known.
KERAS = Ecosystem(
    name="keras",
    prefixes=("",),
    rules=(
        (r"^conv1\.", "conv1_conv."),
        (r"^bn1\.", "conv1_bn."),
        (r"^layer1\.", "conv2_block."),
        (r"^layer2\.", "conv3_block."),
        (r"^layer3\.", "conv4_block."),
        (r"^layer4\.", "conv5_block."),
        *((rf"_block\.{index}\.", f"_block{index + 1}_") for index in range(max(BLOCKS[152]))),  # Keras counts from 1
        (r"_conv(\d)\.", r"_\1_conv."),
        (r"_bn(\d)\.", r"_\1_bn."),
        (r"_downsample\.0\.", "_0_conv."),
        (r"_downsample\.1\.", "_0_bn."),
        (r"_bn\.weight$", "_bn/gamma"),
        (r"_bn\.bias$", "_bn/beta"),
        (r"_bn\.running_mean$", "_bn/moving_mean"),
        (r"_bn\.running_var$", "_bn/moving_variance"),
        (r"^fc\.", "predictions."),
        (r"(_conv|^predictions)\.weight$", r"\1/kernel"),
        (r"(_conv|^predictions)\.bias$", r"\1/bias"),
    ),
    beside=r"(predictions|probs|logits|fc1000|dense(_\d+)?)/(kernel|bias)|optimizer(_weights)?/.*"
    r"|(.*/)?layers/dense(_\d+)?/vars/[01]",
    variant=Variant(stride_in="1x1", pool="pad1", bn_eps=1.001e-5),
    recipe=recipe.KERAS,
    conv_bias=True,
    channels_last=True,
)

ECOSYSTEMS = (
    # torchvision 0.29.2, models/resnet.py; timm aa4b585 has the same names
    Ecosystem(
        name="torchvision",
        prefixes=("",),
        rules=(),
        beside=r"fc\.(weight|bias)",
        variant=Variant(pool="pad1"),
        recipe=recipe.TORCHVISION,
    ),
    # torchvision 0.29.2, models/detection: FrozenBatchNorm2d with eps 1e-5. The published COCO_V1 files are the
    # exception: their loader sets eps 0, and nothing in such a file tells.
    Ecosystem(
        name="torchvision-detection",
        prefixes=("backbone.body.",),
        rules=((r"^fpn\.", "backbone.fpn."),),
        spellings=((r"(fpn\.(?:inner|layer)_blocks\.\d)\.(weight|bias)$", r"\1.0.\2"),),  # up to torchvision 0.12
        neck=r"backbone\.fpn\..*",
        beside=r"(backbone\.fpn|rpn|roi_heads|head)\..*",
        variant=Variant(pool="pad1"),
        recipe=recipe.TORCHVISION,
    ),
    # maskrcnn-benchmark 57eec25, modeling/backbone/resnet.py: STRIDE_IN_1X1, FrozenBatchNorm2d without eps
    Ecosystem(
        name="maskrcnn-benchmark",
        prefixes=("backbone.body.",),
        rules=(
            (r"^(conv1|bn1)\.", r"stem.\1."),
            *pyramid(
                "backbone.fpn.fpn_inner{}",
                "backbone.fpn.fpn_layer{}",
                first=1,
                norms=("backbone.fpn.fpn_inner{}.1", "backbone.fpn.fpn_layer{}.1"),
            ),
            (r"^fpn\.extra_blocks\.", "backbone.fpn.top_blocks."),
        ),
        spellings=(
            (r"^roi_heads\.box\.feature_extractor\.head\.layer4\.", "backbone.body.layer4."),  # the C4 bodies
            (r"\.conv2\.conv\.weight$", ".conv2.weight"),  # DFConv2d holds two convolutions, offset and conv
            (r"(fpn_(?:inner|layer)\d)\.0\.", r"\1."),  # with a norm behind it
        ),
        neck=r"backbone\.fpn\..*",
        beside=r"(backbone\.fpn|rpn|roi_heads)\..*",
        variant=Variant(stride_in="1x1", pool="pad1", bn_eps=0.0),
        recipe=recipe.DETECTRON,
    ),
    # detectron2 02b5c4e, modeling/backbone/resnet.py; config/defaults.py: STRIDE_IN_1X1, FrozenBN with eps 1e-5, BGR
    Ecosystem(
        name="detectron2",
        prefixes=("backbone.bottom_up.", "backbone.", ""),
        rules=(
            (r"^conv1\.", "stem.conv1."),
            (r"^bn1\.", "stem.conv1.norm."),
            (r"^layer1\.", "res2."),
            (r"^layer2\.", "res3."),
            (r"^layer3\.", "res4."),
            (r"^layer4\.", "res5."),
            (r"\.bn(\d)\.", r".conv\1.norm."),
            (r"conv2\.offset\.", "conv2_offset."),
            (r"downsample\.0\.", "shortcut."),
            (r"downsample\.1\.", "shortcut.norm."),
            *pyramid(
                "backbone.fpn_lateral{}",
                "backbone.fpn_output{}",
                first=2,
                norms=("backbone.fpn_lateral{}.norm", "backbone.fpn_output{}.norm"),
            ),
            (r"^fpn\.extra_blocks\.", "backbone.top_block."),
            (r"^fc\.", "linear."),
        ),
        spellings=(
            (r"^roi_heads\.res5\.", "backbone.res5."),  # the C4 bodies
            (
                r"^stem\.fc\.",
                "linear.",
            ),  # convert-torchvision-to-d2.py puts `stem.` in front of all but the stages
        ),
        neck=r"backbone\.(fpn_|top_block\.).*",
        beside=r"backbone\.(fpn_|top_block\.).*|(proposal_generator|roi_heads|head|sem_seg_head|anchor_generator)\..*"
        r"|pixel_(mean|std)"
        r"|(stem\.)?(fc|linear)\.(weight|bias)",
        variant=Variant(stride_in="1x1", pool="pad1"),
        recipe=recipe.DETECTRON2,
    ),
    # Caffe2's names with the norms' own statistics, as in ImageNetPretrained/MSRA/R-50.pkl of detectron2's zoo
    # (02b5c4e, checkpoint/c2_model_loading.py: convert_basic_c2_names, and its two spellings of the statistics)
    Ecosystem(
        name="detectron2",
        prefixes=("",),
        rules=(
            *CAFFE2,
            (r"_bn\.weight$", "_bn_gamma"),
            (r"_bn\.bias$", "_bn_beta"),
            (r"_bn\.running", "_bn_running"),
            *CAFFE2_PARTS,
        ),
        spellings=(
            *CAFFE2_SPELLINGS,
            (r"^conv1_bn_", "res_conv1_bn_"),
            (r"_bn_rm$", "_bn_running_mean"),
            (r"_bn_riv$", "_bn_running_var"),
        ),
        neck=CAFFE2_NECK,
        beside=CAFFE2_BESIDE,
        variant=Variant(stride_in="1x1", pool="pad1"),
        recipe=recipe.DETECTRON2,
    ),
    # Detectron's own, as in ImageNetPretrained/MSRA/R-50.pkl of its zoo: norms that are scale and shift only
    # (maskrcnn-benchmark 57eec25, utils/c2_model_loading.py)
    Ecosystem(
        name="detectron1",
        prefixes=("",),
        rules=(*CAFFE2, (r"_bn\.weight$", "_bn_s"), (r"_bn\.bias$", "_bn_b"), *CAFFE2_PARTS),
        spellings=CAFFE2_SPELLINGS,
        neck=CAFFE2_NECK,
        beside=CAFFE2_BESIDE,
        variant=Variant(stride_in="1x1", pool="pad1", bn_eps=0.0),
        recipe=recipe.DETECTRON,
        fused=True,
    ),
    # mmpretrain ee7f2e8 and mmdetection 00e9730: torchvision's names behind a prefix; style="pytorch"
    Ecosystem(
        name="mmpretrain",
        prefixes=("backbone.",),
        rules=((r"^fc\.", "head.fc."),),
        beside=r"head\.(?!mlp\.|last_layer\.).*|data_preprocessor\..*",
        variant=Variant(pool="pad1"),
        recipe=recipe.TORCHVISION,
    ),
    Ecosystem(
        name="mmdet",
        prefixes=("backbone.",),
        rules=(
            *pyramid(
                "neck.lateral_convs.{}.conv",
                "neck.fpn_convs.{}.conv",
                norms=("neck.lateral_convs.{}.bn", "neck.fpn_convs.{}.bn"),
            ),
            (r"conv2\.offset\.", "conv2.conv_offset."),
        ),
        spellings=(
            (r"^(roi_head\.)?shared_head\.layer4\.", "backbone.layer4."),  # the C4 bodies
            (r"\.conv2_offset\.", ".conv2.conv_offset."),  # mmcv's deformable convolutions before their version 2
            (r"^(neck\.(?:lateral|fpn)_convs\.\d)\.gn\.", r"\1.bn."),
        ),
        neck=r"neck\..*",
        # 00e9730, models/detectors: two-stage, one-stage, masks, panoptic, and DETR's family
        beside=r"(neck|(rpn|roi|bbox|mask|mask_iou|segm|semantic|panoptic|shared|query|track)_head|data_preprocessor)\..*"
        r"|(encoder|decoder|query_embedding|reference_points_fc|memory_trans_(fc|norm)|dn_query_generator)\..*"
        r"|level_embed",
        variant=Variant(pool="pad1"),
        recipe=recipe.TORCHVISION,
    ),
    # DINO 7c446df, main_dino.py: the full checkpoint's teacher and student; the backbone alone has torchvision's names
    Ecosystem(
        name="dino",
        prefixes=("backbone.",),
        rules=(),
        beside=r"head\.(mlp|last_layer)\..*",
        variant=Variant(pool="pad1"),
        recipe=recipe.DINO,
    ),
    # transformers 5.23.0 (ae005ce), models/resnet/modeling_resnet.py; microsoft/resnet-50 is resized bicubically
    Ecosystem(
        name="transformers",
        prefixes=("resnet.", ""),
        rules=(
            (r"^conv1\.", "embedder.embedder.convolution."),
            (r"^bn1\.", "embedder.embedder.normalization."),
            (r"^layer1\.", "encoder.stages.0.layers."),
            (r"^layer2\.", "encoder.stages.1.layers."),
            (r"^layer3\.", "encoder.stages.2.layers."),
            (r"^layer4\.", "encoder.stages.3.layers."),
            (r"(?<=\.)conv1\.", "layer.0.convolution."),
            (r"(?<=\.)conv2\.", "layer.1.convolution."),
            (r"(?<=\.)conv3\.", "layer.2.convolution."),
            (r"(?<=\.)bn1\.", "layer.0.normalization."),
            (r"(?<=\.)bn2\.", "layer.1.normalization."),
            (r"(?<=\.)bn3\.", "layer.2.normalization."),
            (r"downsample\.0\.", "shortcut.convolution."),
            (r"downsample\.1\.", "shortcut.normalization."),
            (r"^fc\.", "classifier.1."),
        ),
        beside=r"classifier\.1\.(weight|bias)",
        variant=Variant(pool="pad1"),
        recipe=recipe.TRANSFORMERS,
    ),
    # MoCo 010242b, main_lincls.py and detection/convert-pretrain-to-detectron2.py: the query encoder is the one
    Ecosystem(
        name="moco",
        prefixes=("encoder_q.",),
        rules=(),
        beside=r"encoder_q\.fc\..*|encoder_k\..*|queue(_ptr)?",
        variant=Variant(pool="pad1"),
        recipe=recipe.TORCHVISION,
    ),
    # SwAV 06b1b7c, src/resnet50.py: pads 1, then convolves with padding 2, which is padding 3; DeepCluster-v2 as well
    Ecosystem(
        name="swav",
        prefixes=("",),
        rules=(),
        beside=r"(projection_head|prototypes)\..*",
        variant=Variant(pool="pad1"),
        recipe=recipe.SWAV,
    ),
    # mindspore-ai/models eab643f, official/cv/ResNet/src/resnet.py. Its Mask R-CNN's loader puts `backbone.` in front
    # (official/cv/MaskRCNN/maskrcnn_resnet50/train.py), and skips the optimiser's entries listed here.
    Ecosystem(
        name="modelzoo",
        prefixes=("", "backbone."),
        rules=(*MINDSPORE_NORM, (r"downsample\.", "down_sample_layer."), (r"^fc\.", "end_point.")),
        beside=rf"end_point\..*|{MINDSPORE_BESIDE}",
        variant=Variant(pool="same", conv_pad="same", bn_eps=1e-4),
        recipe=recipe.MINDSPORE,
    ),
    RESNETFEA,
    # mindcv 51b0636, mindcv/models/resnet.py
    Ecosystem(
        name="mindcv",
        prefixes=("",),
        rules=(*MINDSPORE_NORM, (r"downsample\.", "down_sample."), (r"^fc\.", "classifier.")),
        beside=r"classifier\.(weight|bias)",
        variant=Variant(pool="same"),
        recipe=recipe.MINDSPORE,
    ),
    KERAS,
)

# Who wrote a detectron2 pickle (its `__author__`, in small letters) says how that network computes and what its pixels
# are: detectron2's tools/convert-torchvision-to-d2.py, and MoCo 010242b, detection/configs/*_moco.yaml.
TORCHVISION_IN_DETECTRON2: dict[str, Any] = {"variant": Variant(pool="pad1"), "recipe": recipe.DETECTRON2_RGB}
BY_AUTHOR = {("detectron2", author): TORCHVISION_IN_DETECTRON2 for author in ("torchvision", "moco")}
