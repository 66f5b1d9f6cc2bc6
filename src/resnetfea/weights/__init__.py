"""Any weights file -> canonical arrays (torchvision's names, OIHW, float32) and what they are."""

from resnetfea.weights.reading import Weights, look, read
from resnetfea.weights.recipe import Recipe

__all__ = ["Recipe", "Weights", "look", "read"]
