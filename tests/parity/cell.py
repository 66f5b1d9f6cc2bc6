"""Weights by torchvision's names, straight into a ResNetFea: the project's network without the project's loader."""

from __future__ import annotations

import numpy as np
from mindspore import Parameter, Tensor

from resnetfea.network.resnet import ResidualBlockUsing, ResNetFea
from resnetfea.network.variant import Variant
from rich_weights import State

NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def build_cell(state: State, variant: Variant) -> ResNetFea:
    """The cell with every parameter set, or KeyError: a tensor left over and a parameter left out both count."""
    cell = ResNetFea(ResidualBlockUsing, variant.layer_nums, variant.in_channels, variant.out_channels, variant=variant)
    parameters: dict[str, Parameter] = {parameter.name: parameter for parameter in cell.get_parameters()}
    tensors = {cell_name(name): tensor for name, tensor in state.items()}
    if parameters.keys() != tensors.keys():
        raise KeyError(f"in the cell or in the weights alone: {sorted(parameters.keys() ^ tensors.keys())[:8]}")
    for name, parameter in parameters.items():
        if parameter.shape != tensors[name].shape:
            raise KeyError(f"{name} is {parameter.shape} in the cell, {tensors[name].shape} in the weights")
        parameter.set_data(Tensor(np.ascontiguousarray(tensors[name])))
    cell.set_train(False)
    return cell


def cell_name(name: str) -> str:
    """layer1.0.downsample.1.running_var as layer1.0.bn_down_sample.moving_variance."""
    *path, kind = name.replace("downsample.0", "conv_down_sample").replace("downsample.1", "bn_down_sample").split(".")
    return ".".join([*path, NORM[kind] if path[-1].startswith("bn") else kind])
