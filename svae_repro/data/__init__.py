"""One loader per data set, and their stand-ins. The files' way here is `source`'s business."""

from svae_repro.data.circle import Circle, circle_map, load_circle
from svae_repro.data.mnist import Images, Pixels, load_mnist

__all__ = ["Circle", "Images", "Pixels", "circle_map", "load_circle", "load_mnist"]
