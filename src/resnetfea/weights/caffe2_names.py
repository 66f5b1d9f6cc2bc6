"""Caffe2's names for a ResNet, in Detectron's and detectron2's model zoos.

maskrcnn-benchmark 57eec25, utils/c2_model_loading.py and detectron2 02b5c4e, checkpoint/c2_model_loading.py.
"""

from __future__ import annotations

from resnetfea.weights.ecosystem import Rules, pyramid

CAFFE2: Rules = (
    (r"^conv1\.", "conv1."),
    (r"^bn1\.", "res_conv1_bn."),
    (r"^layer1\.(\d+)\.", r"res2_\1_"),
    (r"^layer2\.(\d+)\.", r"res3_\1_"),
    (r"^layer3\.(\d+)\.", r"res4_\1_"),
    (r"^layer4\.(\d+)\.", r"res5_\1_"),
    (r"_conv1\.", "_branch2a."),
    (r"_conv2\.", "_branch2b."),
    (r"_conv3\.", "_branch2c."),
    (r"_bn1\.", "_branch2a_bn."),
    (r"_bn2\.", "_branch2b_bn."),
    (r"_bn3\.", "_branch2c_bn."),
    (r"_downsample\.0\.", "_branch1."),
    (r"_downsample\.1\.", "_branch1_bn."),
    (r"^fc\.", "fc1000."),
    *pyramid("fpn_inner_res{}_sum_lateral", "fpn_res{}_sum", first=2),
    (r"^fpn_inner_res5_sum_lateral", "fpn_inner_res5_sum"),  # the top has nothing to be added to
    (r"^fpn\.extra_blocks\.p(\d)\.", r"fpn_\1."),  # Detectron's modeling/FPN.py, FPN.EXTRA_CONV_LEVELS
)
CAFFE2_PARTS: Rules = ((r"\.weight$", "_w"), (r"\.bias$", "_b"))
CAFFE2_SPELLINGS: Rules = (
    (r"^(fpn_(?:inner_)?res\d)_\d+_sum", r"\1_sum"),  # a stage's last block, whose number is the depth's
    (r"^pred_", "fc1000_"),
)
CAFFE2_BESIDE = (
    r".*_momentum|lr|weight_order|conv1_b|(fpn|fc1000|pred|fc[67]|bbox_pred|cls_score|conv_rpn|rpn|retnet|mask|_\[mask\]"
    r"|conv5_mask|kps|conv_fcn\d|head_conv\d|body_conv_fcn\d|AnnIndex|Index_UV|[UV]_lowres)_.*"
)
CAFFE2_NECK = r"fpn_.*(?<!_momentum)"
