"""OpenMMLab's models from the configurations in their packages, saved by mmengine's Runner, configuration and all."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import nn
from torch.optim import SGD
from torch.utils.data import DataLoader


def build(package: str, config: str) -> tuple[nn.Module, Config]:
    """The model that a configuration of this package describes, untrained."""
    module = import_module(package)
    assert module.__file__
    import_module(f"{package}.models")  # registers them
    settings = Config.fromfile(Path(module.__file__).parent / ".mim/configs" / config)
    with DefaultScope.overwrite_default_scope(package):
        model: nn.Module = import_module(f"{package}.registry").MODELS.build(settings.model)
    return model.eval(), settings


def save(model: nn.Module, settings: Config, folder: Path) -> Path:
    """As the first epoch of a training run leaves it."""
    runner = Runner(
        model,
        work_dir=str(folder / "log"),
        train_dataloader=DataLoader([0]),
        train_cfg={"by_epoch": True, "max_epochs": 1},
        optim_wrapper=OptimWrapper(SGD(model.parameters(), lr=0.1)),
        default_scope=settings.default_scope,
        log_level="ERROR",
        experiment_name=f"{folder.parent.name}-{folder.name}",
        cfg=settings,
    )
    runner.save_checkpoint(str(folder), "epoch_1.pth", save_optimizer=False, save_param_scheduler=False)
    return folder / "epoch_1.pth"
