"""Figures from the arrays that cells store: matplotlib for static ones, plotly for stand-alone interactive pages."""

from .circle import aligned, circle_aggregates, circle_angles, circle_latents, circle_numbers
from .common import remark, save, save_page, stored
from .m1m2 import (
    analogies,
    analogy_grid,
    confusions,
    semi_supervised_accuracy,
    semi_supervised_curves,
)
from .mnist import (
    image_grid,
    knn_accuracy,
    latent_spaces,
    log_likelihood,
    longitude_latitude,
    manifolds,
    samples,
    separate,
    sphere_page,
    unit_square,
    validation_curves,
)

__all__ = [
    "aligned",
    "analogies",
    "analogy_grid",
    "circle_aggregates",
    "circle_angles",
    "circle_latents",
    "circle_numbers",
    "confusions",
    "image_grid",
    "knn_accuracy",
    "latent_spaces",
    "log_likelihood",
    "longitude_latitude",
    "manifolds",
    "remark",
    "samples",
    "save",
    "save_page",
    "semi_supervised_accuracy",
    "semi_supervised_curves",
    "separate",
    "sphere_page",
    "stored",
    "unit_square",
    "validation_curves",
]
