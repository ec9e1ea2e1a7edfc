"""Figures from the arrays that cells store: matplotlib for static ones, plotly for stand-alone interactive pages."""

from .checks import (
    ESTIMATOR_STYLES,
    bessel_errors,
    bessel_frontier,
    gradient_bias,
    gradient_spread,
    sampler_map,
    training_effect,
)
from .circle import aligned, circle_aggregates, circle_angles, circle_latents, circle_numbers
from .common import remark, save, save_animation, save_page, stored
from .m1m2 import analogies, analogy_grid, confusions, semi_supervised_accuracy, semi_supervised_curves
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
from .rejection import acceptance, envelopes, rejection_animation
from .vgae import graph_latents, link_prediction, paired_differences
from .vmf import algorithm, soap_bubble, sphere_pairs, sphere_scatter_page, surface_area, von_mises

__all__ = [
    "ESTIMATOR_STYLES",
    "acceptance",
    "algorithm",
    "aligned",
    "analogies",
    "analogy_grid",
    "bessel_errors",
    "bessel_frontier",
    "circle_aggregates",
    "circle_angles",
    "circle_latents",
    "circle_numbers",
    "confusions",
    "envelopes",
    "gradient_bias",
    "gradient_spread",
    "graph_latents",
    "image_grid",
    "knn_accuracy",
    "latent_spaces",
    "link_prediction",
    "log_likelihood",
    "longitude_latitude",
    "manifolds",
    "paired_differences",
    "rejection_animation",
    "remark",
    "sampler_map",
    "samples",
    "save",
    "save_animation",
    "save_page",
    "semi_supervised_accuracy",
    "semi_supervised_curves",
    "separate",
    "soap_bubble",
    "sphere_page",
    "sphere_pairs",
    "sphere_scatter_page",
    "stored",
    "surface_area",
    "training_effect",
    "unit_square",
    "validation_curves",
    "von_mises",
]
