"""Interactive pages: latent points on a curved surface, to turn with the mouse."""

import math

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from .mnist import CLASS_COLOURS

SYMBOLS = ("circle", "square", "diamond", "cross", "x")


def sphere_page(points: np.ndarray, labels: np.ndarray) -> go.Figure:
    """Points [N, 3] on a sphere; classes by colour, symbol and a digit at their centres."""
    longitude, height = np.meshgrid(np.linspace(-math.pi, math.pi, 73), np.linspace(-1, 1, 37))
    radius = 0.985 * np.sqrt(1 - height**2)  # a little inside, or it would cut the points in half
    ball = (radius * np.cos(longitude), radius * np.sin(longitude), 0.985 * height)
    centres = {k: points[labels == k].mean(0, dtype=np.float64) for k in np.unique(labels)}
    centres = {k: 1.1 * centre / np.linalg.norm(centre) for k, centre in centres.items()}
    return _page(ball, points, labels, centres, "Latent space of the S-VAE, d = 2: test images on S²")


def hyperboloid_page(points: np.ndarray, labels: np.ndarray) -> go.Figure:
    """Points [N, 3] of the hyperboloid, the time coordinate upwards; classes as on the sphere's page."""
    upright = points[:, [1, 2, 0]].astype(np.float64)
    angle, radius = np.meshgrid(
        np.linspace(-math.pi, math.pi, 73), np.linspace(0, np.arcsinh(np.linalg.norm(upright[:, :2], axis=1).max()), 37)
    )
    across = np.sinh(radius)
    sheet = (across * np.cos(angle), across * np.sin(angle), np.cosh(radius) - 0.02 * np.cosh(radius.max()))
    centres = {k: np.median(upright[labels == k], axis=0) for k in np.unique(labels)}
    for centre in centres.values():  # above the sheet, which is convex
        centre[2] = 1.1 * math.sqrt(1 + centre[0] ** 2 + centre[1] ** 2) + 0.3
    page = _page(sheet, upright, labels, centres, "Latent space of the H-VAE, d = 2: test images on H²")
    # A shallow dish: seen from above and near, or it would leave half of the page empty and hide the points within.
    return page.update_layout(scene_camera_eye={"x": 0.8, "y": 0.8, "z": 1.3})


def _page(surface: tuple, points: np.ndarray, labels: np.ndarray, centres: dict, title: str) -> go.Figure:
    grey = {"colorscale": [[0, "#eeeeee"], [1, "#eeeeee"]], "showscale": False, "hoverinfo": "skip"}
    x, y, z = _rounded(surface)
    page = go.Figure(go.Surface(x=x, y=y, z=z, **grey))
    for k, centre in centres.items():
        x, y, z = points[labels == k].astype(np.float32).T
        centre = _rounded(centre)
        colour = "rgb({:.0f},{:.0f},{:.0f})".format(*(255 * c for c in CLASS_COLOURS[k % 10]))
        marker = {"size": 2.5, "color": colour, "symbol": SYMBOLS[k % 5]}
        group = {"name": str(k), "legendgroup": str(k)}
        page.add_scatter3d(x=x, y=y, z=z, mode="markers", marker=marker, hoverinfo="name", **group)
        page.add_scatter3d(x=centre[:1], y=centre[1:2], z=centre[2:], mode="text", text=[f"<b>{k}</b>"], **group)
        page.data[-1].update(showlegend=False, hoverinfo="skip", textfont={"size": 28, "color": "black"})
    hidden = {axis: {"visible": False} for axis in ("xaxis", "yaxis", "zaxis")}
    page.update_layout(scene={**hidden, "aspectmode": "data"}, legend={"title": "digit", "itemsizing": "constant"})
    page.update_layout(title_text=title, template="none", margin={"l": 0, "r": 0, "b": 0, "t": 60})
    return page


def _rounded(coordinates: ArrayLike) -> np.ndarray:
    """Float64 to six decimals in float32: the same bytes on every processor, as only its last digits differ."""
    return (np.round(coordinates, 6) + 0.0).astype(np.float32)
