"""Figures from the arrays that cells store: matplotlib for static ones, plotly for stand-alone interactive pages."""

from .blog import (
    blog_elbo,
    blog_grids,
    blog_kl_terms,
    blog_latent_spaces,
    blog_planes,
    blog_reconstructions,
    blog_walks,
)
from .checks import bessel_errors, bessel_frontier, gradient_bias, gradient_spread, sampler_map, training_effect
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
    unit_square,
    validation_curves,
)
from .pages import hyperboloid_page, sphere_page
from .rejection import acceptance, envelopes, rejection_animation
from .vmf import algorithm, soap_bubble, sphere_pairs, sphere_scatter_page, surface_area, von_mises

__all__ = [
    "acceptance",
    "algorithm",
    "aligned",
    "analogies",
    "analogy_grid",
    "bessel_errors",
    "bessel_frontier",
    "blog_elbo",
    "blog_grids",
    "blog_kl_terms",
    "blog_latent_spaces",
    "blog_planes",
    "blog_reconstructions",
    "blog_walks",
    "circle_aggregates",
    "circle_angles",
    "circle_latents",
    "circle_numbers",
    "confusions",
    "envelopes",
    "gradient_bias",
    "gradient_spread",
    "hyperboloid_page",
    "image_grid",
    "knn_accuracy",
    "latent_spaces",
    "log_likelihood",
    "longitude_latitude",
    "manifolds",
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
