"""Formulas of the paper and of the blog post that do not hold as printed, each with numbers that show it.

"Paper" is Davidson et al. (2018), of which we have the main text without appendices; "blog" the final post on
constant-curvature VAEs. Each check evaluates the formula as printed, the correction, and the truth from an independent
source: quadrature, SciPy, or a case everybody knows. The paper's other equations, 3 to 9, hold, as far as the tests of
this project reach; that 4 to 6 do is shown by `vmf_checks`. Of the post's, those are listed that change a result.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import integrate, special, stats


@dataclass(frozen=True)
class Erratum:
    """A formula in LaTeX as printed and as it should be, what is wrong, and values of a case that tells them apart."""

    where: str
    printed: str
    correct: str
    what: str
    case: str
    value_printed: float
    value_correct: float
    truth: float


def errata() -> list[Erratum]:
    """All of them, computed now."""
    return [
        _surface_area(),
        _normaliser_of_von_mises(),
        _householder(),
        _envelope(),
        _proposal_density(),
        _prior_term(),
        _entropy_sign(),
        _dropped_f(),
        _inverse_transport(),
        _norm_of_transport(),
        _log_sigma(),
        _wrapped_kl(),
    ]


def _surface_area() -> Erratum:
    r = 2.0
    return Erratum(
        "paper, Eq. 10",
        r"S(m-1) = r^m \frac{2\pi^{m/2}}{\Gamma(m/2)}",
        r"S(m-1) = r^{m-1} \frac{2\pi^{m/2}}{\Gamma(m/2)}",
        "the power of the radius is one too high; at r = 1, all the paper needs, it makes no difference",
        "circumference of a circle of radius 2",
        r**2 * 2 * math.pi / math.gamma(1),
        r * 2 * math.pi / math.gamma(1),
        2 * math.pi * r,
    )


def _normaliser_of_von_mises() -> Erratum:
    kappa = 2.0
    integral, _ = integrate.quad(lambda x: math.exp(kappa * math.cos(x)), -math.pi, math.pi)
    c = 2 * math.pi * special.i0(kappa)
    return Erratum(
        "blog, von Mises distribution",
        r"C(\kappa) = \int e^{\kappa\cos x}\,dx = 2\pi I_0(\kappa)",
        r"C(\kappa) = 1 / (2\pi I_0(\kappa))",
        "the factor in front of the density is the reciprocal of the integral",
        "integral of the density, kappa = 2",
        c * integral,
        integral / c,
        1.0,
    )


def _householder() -> Erratum:
    mu = np.array([0.6, 0.8])
    u = (np.array([1.0, 0.0]) - mu) / np.linalg.norm(np.array([1.0, 0.0]) - mu)
    printed, correct = (np.eye(2) - factor * np.outer(u, u) for factor in (1, 2))
    return Erratum(
        "blog, Householder transform",
        r"U = I - \hat u \hat u^T",
        r"U = I - 2\,\hat u \hat u^T",
        "a factor of 2; the blog's code has it",
        "length of U e1",
        float(np.linalg.norm(printed[:, 0])),
        float(np.linalg.norm(correct[:, 0])),
        1.0,
    )


def _envelope() -> Erratum:
    m, kappa = 5, 10.0
    b = (m - 1) / (2 * kappa + math.sqrt(4 * kappa**2 + (m - 1) ** 2))
    w = np.linspace(-1, 1, 2001)
    envelope = 2 * b ** ((m - 1) / 2) / (1 + b - w * (1 - b)) ** (m - 1)
    ratio = np.exp(kappa * w) / envelope
    return Erratum(
        "blog, envelope",
        r"\frac{2b^{(m-1)/2}}{(1+b-\omega(1-b))^{m-1}} > e^{\kappa\omega}",
        r"M\,\frac{2b^{(m-1)/2}}{(1+b-\omega(1-b))^{m-1}} \geq e^{\kappa\omega}",
        "without the constant M of rejection sampling the proposal is no envelope",
        "largest ratio of the right side to the left, m = 5, kappa = 10",
        float(ratio.max()),
        float((ratio / ratio.max()).max()),
        1.0,
    )


def _proposal_density() -> Erratum:
    m, b = 5, 0.2

    def epsilon(w):
        return (1 - w) / (1 + b - w * (1 - b))

    law = stats.beta((m - 1) / 2, (m - 1) / 2)
    printed, _ = integrate.quad(lambda w: law.pdf(epsilon(w)), -1, 1)
    correct, _ = integrate.quad(lambda w: law.pdf(epsilon(w)) * 2 * b / (1 + b - w * (1 - b)) ** 2, -1, 1)
    return Erratum(
        "blog, Naesseth's simplification",
        r"r = s \circ h^{-1}",
        r"r = (s \circ h^{-1})\,\lvert dh^{-1}/d\omega\rvert",
        "the Jacobian; the next line adds it out of nowhere, so that the result is right",
        "integral of r, m = 5, b = 0.2",
        printed,
        correct,
        1.0,
    )


def _prior_term() -> Erratum:
    m, kappa = 5, 4.0
    log_area = math.log(2) + m / 2 * math.log(math.pi) - special.gammaln(m / 2)
    log_c = (m / 2 - 1) * math.log(kappa) - m / 2 * math.log(2 * math.pi) - math.log(special.iv(m / 2 - 1, kappa))
    rest = log_c + kappa * special.iv(m / 2, kappa) / special.iv(m / 2 - 1, kappa)
    w = np.linspace(-1, 1, 200_001)
    p, u = np.exp(kappa * (w - 1)) * (1 - w * w), 1 - w * w  # m = 5: the power (m-3)/2 is 1
    p, u = p / integrate.simpson(p, x=w), u / integrate.simpson(u, x=w)
    inside = slice(1, -1)
    truth = integrate.simpson(p[inside] * np.log(p[inside] / u[inside]), x=w[inside])
    return Erratum(
        "blog, KL of vMF and uniform",
        r"\ldots - \log 2 - \tfrac m2\log\pi + \log\Gamma(\tfrac m2)",
        r"\ldots + \log 2 + \tfrac m2\log\pi - \log\Gamma(\tfrac m2)",
        "the uniform density is the reciprocal of the area, so minus its logarithm is plus that of the area; the sign "
        "does not matter to the gradient",
        "KL in nats, m = 5, kappa = 4",
        rest - log_area,
        rest + log_area,
        float(truth),
    )


def _entropy_sign() -> Erratum:
    scale = 0.5
    law = stats.norm(0, scale)
    expectation, _ = integrate.quad(lambda z: law.pdf(z) * law.logpdf(z), -10, 10)
    return Erratum(
        "blog, loss of Naesseth et al.",
        r"\mathbb E_q[\log q] = \mathbb H[q],\quad L = \mathbb E[f] + \mathbb H \text{ is minimised}",
        r"\mathbb E_q[\log q] = -\mathbb H[q],\quad L \text{ is maximised}",
        "sign of the entropy; L is the ELBO, not a loss",
        "entropy of N(0, 1/4) in nats",
        expectation,
        -expectation,
        float(law.entropy()),
    )


def _dropped_f() -> Erratum:
    """Eq. 8 for f(w) = w, m = 5, kappa = 1, by quadrature over the accepted epsilon."""
    m, kappa, step = 5, 1.0, 1e-5
    epsilon = np.linspace(0, 1, 20_001)[1:-1]
    beta = stats.beta((m - 1) / 2, (m - 1) / 2).pdf(epsilon)

    def h(k):
        b = (m - 1) / (2 * k + math.sqrt(4 * k**2 + (m - 1) ** 2))
        return b, (1 - (1 + b) * epsilon) / (1 - (1 - b) * epsilon)

    def log_ratio(k):  # log g - log r at h(epsilon, k)
        b, w = h(k)
        log_g = k * w + (m - 3) / 2 * np.log(1 - w**2)
        grid = np.linspace(-1, 1, 20_001)
        log_g = log_g - math.log(integrate.simpson(np.exp(k * grid) * (1 - grid**2) ** ((m - 3) / 2), x=grid))
        return log_g - np.log(beta * (1 - (1 - b) * epsilon) ** 2 / (2 * b))

    accepted = beta * np.exp(log_ratio(kappa))
    pathwise = (h(kappa + step)[1] - h(kappa - step)[1]) / (2 * step)
    score = (log_ratio(kappa + step) - log_ratio(kappa - step)) / (2 * step)
    a = special.iv(m / 2, kappa) / special.iv(m / 2 - 1, kappa)
    return Erratum(
        "blog, gradient of the loss",
        r"\ldots + \mathbb E_\pi\left[\nabla_\phi \log \tfrac qr\right]",
        r"\ldots + \mathbb E_\pi\left[f\,\nabla_\phi \log \tfrac qr\right]",
        "the factor f is lost on the way; what is left has mean zero, so the printed gradient is the uncorrected one. "
        "The paper's Eq. 8 has it",
        "d/dkappa of E[w], m = 5, kappa = 1",
        float(integrate.simpson(accepted * (pathwise + score), x=epsilon)),
        float(integrate.simpson(accepted * (pathwise + h(kappa)[1] * score), x=epsilon)),
        float(1 - a * a - (m - 1) * a / kappa),
    )


# --- hyperbolic space ------------------------------------------------------------------------------------------------


def _inner(x: np.ndarray, y: np.ndarray) -> float:
    return float(-x[0] * y[0] + x[1:] @ y[1:])


def _transport(nu: np.ndarray, mu: np.ndarray, v: np.ndarray) -> np.ndarray:
    alpha = -_inner(nu, mu)
    return v + _inner(mu - alpha * nu, v) / (alpha + 1) * (nu + mu)


ORIGIN, POINT = np.array([1.0, 0.0]), np.array([math.cosh(1.0), math.sinh(1.0)])
TANGENT = np.array([0.0, 1.0])  # at the origin


def _inverse_transport() -> Erratum:
    u = _transport(ORIGIN, POINT, TANGENT)
    return Erratum(
        "blog, parallel transport",
        r"v = PT^{-1}_{\nu\to\mu}(u) = PT_{\mu\to\nu}(v)",
        r"v = PT^{-1}_{\nu\to\mu}(u) = PT_{\mu\to\nu}(u)",
        "the argument is the transported vector",
        "second coordinate of v = (0, 1), from the origin to distance 1 and back",
        float(_transport(POINT, ORIGIN, TANGENT)[1]),
        float(_transport(POINT, ORIGIN, u)[1]),
        1.0,
    )


def _norm_of_transport() -> Erratum:
    alpha = -_inner(ORIGIN, POINT)
    c = _inner(POINT, TANGENT) / (alpha + 1)
    across = _inner(TANGENT, ORIGIN + POINT)
    return Erratum(
        "blog, transport keeps norms",
        r"\langle\xi,\xi\rangle + C\langle\xi,\mu_0+\mu\rangle - 2C^2(1+\alpha)",
        r"\langle\xi,\xi\rangle + 2C\langle\xi,\mu_0+\mu\rangle - 2C^2(1+\alpha)",
        "the binomial formula's 2; as printed the terms do not cancel, though the last line says they do",
        "squared norm of a transported unit vector",
        1 + c * across - 2 * c * c * (1 + alpha),
        1 + 2 * c * across - 2 * c * c * (1 + alpha),
        _inner(_transport(ORIGIN, POINT, TANGENT), _transport(ORIGIN, POINT, TANGENT)),
    )


def _log_sigma() -> Erratum:
    log_sigma = 1.0
    # the blog's sampler: the Cholesky factor of diag(exp(log_sigma))
    deviation = math.sqrt(math.exp(log_sigma))
    return Erratum(
        "blog, code of the wrapped normal",
        r"\mathrm{log\_sigma} = \log\sigma",
        r"\mathrm{log\_sigma} = \log\sigma^2",
        "sampler, density and KL all take it for a log-variance; only the name is wrong",
        "standard deviation of the samples at log_sigma = 1",
        math.exp(log_sigma),
        math.exp(log_sigma / 2),
        deviation,
    )


def _wrapped_kl() -> Erratum:
    """On H^2 with the posterior's mean at distance 1.5 from the origin and standard deviation 1, by quadrature."""
    distance, sigma, n = 1.5, 1.0, 2
    nodes, weights = np.polynomial.legendre.leggauss(120)
    radius, angle = 4 * (nodes + 1), math.pi * (nodes + 1)  # polar coordinates of the tangent vector at the mean
    r, t = np.meshgrid(radius, angle, indexing="ij")
    area = np.outer(4 * weights, math.pi * weights) * r
    density = np.exp(-(r**2) / (2 * sigma**2)) / (2 * math.pi * sigma**2)
    # distance from the origin by the hyperbolic law of cosines; t is the angle away from the origin
    x0 = np.cosh(distance) * np.cosh(r) + np.sinh(distance) * np.sinh(r) * np.cos(t)
    rho = np.arccosh(x0)
    log_q = -(r**2) / (2 * sigma**2) - math.log(2 * math.pi * sigma**2) - np.log(np.sinh(r) / r)
    log_p = -(rho**2) / 2 - math.log(2 * math.pi) - np.log(np.sinh(rho) / rho)
    truth = float((area * density * (log_q - log_p)).sum())
    printed = 0.5 * (n * sigma**2 + distance**2 - n - n * math.log(sigma**2))
    rng = np.random.default_rng(0)
    v = sigma * rng.normal(size=(400_000, n))
    length, cosine = np.linalg.norm(v, axis=1), v[:, 0] / np.linalg.norm(v, axis=1)
    rho = np.arccosh(np.cosh(distance) * np.cosh(length) + np.sinh(distance) * np.sinh(length) * cosine)
    ratio = -(length**2) / (2 * sigma**2) - math.log(sigma**2) - np.log(np.sinh(length) / length)
    sampled = (ratio + rho**2 / 2 + np.log(np.sinh(rho) / rho)).mean()
    return Erratum(
        "blog, code: KL of wrapped normals",
        r"\tfrac12\left(\mathrm{tr}\,\Sigma + d(\mu,\mu_0)^2 - n - \log\det\Sigma\right)",
        r"\mathbb E_q[\log q - \log p] \text{, by Monte Carlo}",
        "the KL of the normals in the two tangent spaces; the true one has no closed form",
        "KL in nats on H^2, mean at distance 1.5, standard deviation 1",
        printed,
        float(sampled),
        truth,
    )
