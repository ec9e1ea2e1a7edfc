"""Hyperbolic space H^n as the hyperboloid of the Lorentz model, -x0^2 + x1^2 + ... + xn^2 = -1 with x0 > 0.

A point is fixed by its space coordinates x1..xn, and a tangent vector by its own: everything is computed from these, in
float64, and the time coordinate x0 is filled in. A point that was rounded to float32 lies off the hyperboloid by up to
exp(2 r) 1e-7 at radius r, which naive formulas turn into NaN; read this way it is a point nearby.

All maps are made of boosts. The boost L_x is the isometry that moves the origin to x along the geodesic between them,
so its restriction to tangent vectors at the origin is parallel transport to x (Nagano et al. 2019, Eq. 3-8, in an
arrangement without their cancellations).

Shapes: points and tangent vectors [..., n+1], which broadcast; distances and radii have curvature -1. Float64 inside,
the dtype of the arguments outside. An angle that a coordinate cannot resolve is a length of sinh(r) times that at
radius r: at r = 15 float64 places a point to 2e-10, float32 to 0.1. Points beyond a radius of 100, which float32 cannot
hold, are out of range. Up to there gradients are finite, at x = y too, where that of `distance`, which has none, is
zero.
"""

import torch
from torch import Tensor


def origin(n: int, device=None, dtype=None) -> Tensor:
    """The point (1, 0, ..., 0) [n+1] of H^n."""
    return torch.eye(1, n + 1, device=device, dtype=dtype).squeeze(0)


def inner(x: Tensor, y: Tensor) -> Tensor:
    """Lorentzian inner product -x0 y0 + x1 y1 + ... + xn yn [...] of any two vectors, as they are."""
    product = x.double() * y.double()
    return (product[..., 1:].sum(-1) - product[..., 0]).to(_dtype(x, y))


def exp_map(x: Tensor, u: Tensor) -> Tensor:
    """The point at distance |u| from ``x`` along the geodesic that leaves it in the direction of ``u`` in T_x."""
    base = _space(x)
    return with_time(move(base, expand(_frame(base, _space(u))))).to(_dtype(x, u))


def log_map(x: Tensor, y: Tensor) -> Tensor:
    """The tangent vector in T_x with exp_map(x, log_map(x, y)) = y, zero where y = x."""
    base = _space(x)
    return _tangent(base, frame_log(base, _space(y))).to(_dtype(x, y))


def parallel_transport(x: Tensor, y: Tensor, v: Tensor) -> Tensor:
    """``v`` of T_x carried to T_y along the geodesic from ``x`` to ``y``; it keeps lengths and angles."""
    base = _space(x)
    seen, _ = _seen_from(base, _space(y))  # L_x takes the transport from the origin to the one from x
    carried = _tangent(seen, _frame(base, _space(v)))
    return _boost(base, carried[..., :1], carried[..., 1:]).to(_dtype(x, y, v))


def distance(x: Tensor, y: Tensor) -> Tensor:
    """Geodesic distance arccosh(-<x, y>) [...]."""
    q = _chord2(_space(x), _space(y)).squeeze(-1)
    apart = ~(q <= 0)  # NaN stays NaN
    length = 2 * (torch.where(apart, q, 1.0).sqrt() / 2).asinh()
    return torch.where(apart, length, 0.0).to(_dtype(x, y))


def to_poincare(x: Tensor) -> Tensor:
    """The points [..., n] of the unit ball in the Poincare model; their norm is tanh(r / 2) at radius r."""
    space = _space(x)
    return (space / (1 + _time(space))).to(x.dtype)


# Building blocks of the maps, and of the wrapped normal distribution: space coordinates [..., n] in float64.


def with_time(space: Tensor) -> Tensor:
    """The point [..., n+1] with these space coordinates."""
    return torch.cat([_time(space), space], dim=-1)


def expand(v: Tensor) -> Tensor:
    """The exponential map at the origin, sinh(|v|) / |v| v."""
    return v * sinhc(v.square().sum(-1, keepdim=True))


def move(base: Tensor, point: Tensor) -> Tensor:
    """The point that the boost L_base makes of ``point``."""
    time, base_time = _time(point), _time(base)
    along, square = (base * point).sum(-1, keepdim=True), base.square().sum(-1, keepdim=True)
    # From a base far out back over the origin, time and along cancel; there their squares are subtracted by factors.
    back = (along < 0) & (square > 1)
    square = torch.where(back, square, 1.0)
    ratio = torch.where(back, along, -1.0) / square
    across = point - base * ratio
    across = across - base * ((base * across).sum(-1, keepdim=True) / square)  # what rounding has left along base
    width = (1 + across.square().sum(-1, keepdim=True)).sqrt()
    turned = across + base * ((width - ratio) * (width + ratio) / (time - base_time * ratio))
    return torch.where(back, turned, point + base * (time + along / (1 + base_time)))


def frame_log(base: Tensor, point: Tensor) -> Tensor:
    """log_map(base, point) in coordinates of the frame at base that parallel transport brings there from the origin."""
    seen, q = _seen_from(base, point)
    return seen * _arc_over_chord(q) / (1 + q / 4).sqrt()  # d / sinh(d)


def sinhc(square: Tensor) -> Tensor:
    """sinh(r) / r as a smooth function of ``square`` = r^2 >= 0."""
    small = square < 1e-3
    r = torch.where(small, 1.0, square).sqrt()
    series = 1 + square / 6 * (1 + square / 20 * (1 + square / 42))  # next term 3e-18
    return torch.where(small, series, r.sinh() / r)


def log_sinhc(square: Tensor) -> Tensor:
    """log(sinh(r) / r) as a smooth function of ``square`` = r^2 >= 0, for any r."""
    small = square < 1e-3
    r = torch.where(small, 1.0, square).sqrt()
    series = square / 6 * (1 - square / 30 * (1 - square * 4 / 63 * (1 - square * 3 / 40)))  # next term 2e-21
    return torch.where(small, series, r + torch.log(-torch.expm1(-2 * r) / (2 * r)))


def _arc_over_chord(q: Tensor) -> Tensor:
    """2 arcsinh(s / 2) / s as a smooth function of q = s^2 >= 0."""
    small = q < 1e-3
    s = torch.where(small, 1.0, q).sqrt()
    series = 1 - q / 24 * (1 - q * 9 / 80 * (1 - q * 25 / 168 * (1 - q * 49 / 288)))  # next term 2e-20
    return torch.where(small, series, 2 * (s / 2).asinh() / s)


def _space(x: Tensor) -> Tensor:
    return x[..., 1:].double()


def _time(space: Tensor) -> Tensor:
    """Time coordinate [..., 1] of a point."""
    return (1 + space.square().sum(-1, keepdim=True)).sqrt()


def _boost(base: Tensor, time: Tensor, space: Tensor) -> Tensor:
    """L_base of the vector with these coordinates, [..., n+1]."""
    along = (base * space).sum(-1, keepdim=True)
    base_time = _time(base)
    moved = space + base * (time + along / (1 + base_time))
    return torch.cat([base_time * time + along, moved], dim=-1)


def _tangent(base: Tensor, v: Tensor) -> Tensor:
    """L_base of the tangent vector (0, v) at the origin."""
    along = (base * v).sum(-1, keepdim=True)
    return torch.cat([along, v + base * (along / (1 + _time(base)))], dim=-1)


def _frame(base: Tensor, u: Tensor) -> Tensor:
    """The tangent vector at the origin that L_base takes to the one with space coordinates ``u``."""
    time = _time(base)
    return u - base * ((base * u).sum(-1, keepdim=True) / (time * (1 + time)))


def _seen_from(base: Tensor, point: Tensor) -> tuple[Tensor, Tensor]:
    """The point that L_base takes to ``point``, of space coordinates of length sinh(d), and q = 2 cosh(d) - 2."""
    q = _chord2(base, point)
    difference, time = point - base, _time(base)
    rise = (difference * (point + base)).sum(-1, keepdim=True) / (_time(point) + time)  # difference of the times
    return difference - base * ((rise + q / 2) / (1 + time)), q


def _chord2(x: Tensor, y: Tensor) -> Tensor:
    """q = <y-x, y-x> = 2 cosh(d) - 2 = (2 sinh(d / 2))^2, [..., 1].

    Expanded on the same side of the origin, q = (4 |y-x|^2 + 4 |x ^ y|^2) / (2 + 2 x0 y0 + 2 x.y), and on opposite
    sides, q = 2 x0 y0 - 2 x.y - 2, nothing cancels; near the origin the first serves all.
    """
    difference = y - x
    dot, times = (x * y).sum(-1, keepdim=True), _time(x) * _time(y)
    lower = torch.where(x.square().sum(-1, keepdim=True) < y.square().sum(-1, keepdim=True), x, y)
    square = lower.square().sum(-1, keepdim=True)
    along, apart = (lower * difference).sum(-1, keepdim=True), difference.square().sum(-1, keepdim=True)
    # |x ^ y|^2 from the part of y - x across the point nearer the origin, where it errs least.
    across = difference - lower * (along / torch.where(square < 1, 1.0, square))
    wedge = torch.where(square < 1, square * apart - along.square(), square * across.square().sum(-1, keepdim=True))
    near = 2 * (apart + wedge)
    return torch.where(dot < -1, 2 * (times - dot - 1), near / (1 + times + dot.clamp_min(-1)))


def _dtype(*tensors: Tensor) -> torch.dtype:
    dtype = tensors[0].dtype
    for tensor in tensors[1:]:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype if dtype.is_floating_point else torch.get_default_dtype()
