"""The paper's figures: what their pictures show in numbers, and a line for each of them in the overview.

Table rows have published numbers, pictures have none. Where the paper says what its picture shows, the same is measured
in ours, of the one run that is drawn (seed 0), as the paper's pictures are of one run each; Figure 1 has claims on all.
"""

import math
from collections.abc import Callable

import numpy as np
from scipy import special, stats
from sklearn.neighbors import NearestNeighbors

from . import plots
from .experiments import circle
from .experiments.m1m2 import TOPOLOGIES
from .store import Results
from .verdicts import SIGNIFICANCE, counted, overall, paired_p

RECOGNISED = 0.75  # share of restyled images from which we say that a column is a class


def evenness(points: np.ndarray, cells: int = 10) -> tuple[float, float]:
    """How evenly points [N, m] of R^2 or S^2 use their space, divided into ``cells`` x ``cells`` of equal prior mass.

    Returns the share of the cells that hold a point, and the KL divergence in nats from the points' distribution over
    the cells to the even one; the latter is 0 for perfectly even use.
    """
    counts = np.histogram2d(*plots.unit_square(points).T, bins=cells, range=[[0, 1], [0, 1]])[0].ravel()
    return float(np.mean(counts > 0)), float(stats.entropy(counts, np.ones(cells**2)))


def central(points: np.ndarray, radius: float = 0.5) -> tuple[np.ndarray, float]:
    """Which points [N, 2] lie within ``radius`` of the origin [N], and what share of N(0, I) does."""
    return np.linalg.norm(points, axis=1) < radius, 1 - math.exp(-(radius**2) / 2)


def own_class(points: np.ndarray, labels: np.ndarray, neighbours: int = 5) -> float:
    """Mean share of the nearest neighbours of a point [N, m], itself apart, that have its class [N].

    On the sphere chord and arc give the same neighbours.
    """
    nearest = NearestNeighbors(n_neighbors=neighbours).fit(points.astype(float)).kneighbors(return_distance=False)
    return float((labels[nearest] == labels[:, None]).mean())


def recognised(restyled: np.ndarray) -> float:
    """Share of images [S styles, K classes, P] that are nearest, in pixels, to the mean of their own class.

    An image is left out of its own class's mean. 1 / K is chance.
    """
    images = restyled.astype(float)
    styles, classes, _ = images.shape
    without = (images.sum(0) - images) / (styles - 1)  # [S, K, P]
    hits = 0
    for k in range(classes):
        means = np.broadcast_to(images.mean(0), images.shape).copy()
        means[:, k] = without[:, k]
        hits += int((np.square(images[:, None, k] - means).sum(-1).argmin(1) == k).sum())
    return hits / (styles * classes)


def slant(images: np.ndarray) -> np.ndarray:
    """Horizontal shift by row of square images [N, P], in pixels for each pixel upwards: positive leans right."""
    side = math.isqrt(images.shape[-1])
    ink = images.reshape(-1, side, side).astype(float)
    ink = ink / ink.sum((1, 2), keepdims=True)
    y, x = np.mgrid[:side, :side]
    x, y = (axis - (ink * axis).sum((1, 2), keepdims=True) for axis in (x, y))
    return -(ink * x * y).sum((1, 2)) / (ink * y**2).sum((1, 2))


def style_kept(originals: np.ndarray, restyled: np.ndarray) -> tuple[float, float]:
    """Pearson's correlation, and its p, of the slant of originals [S, P] and the mean slant of their rows [S, K, P]."""
    rows = slant(restyled.reshape(-1, restyled.shape[-1])).reshape(restyled.shape[:2]).mean(1)
    found = stats.pearsonr(slant(originals), rows)
    return float(found.statistic), float(found.pvalue)


def overview(found: list[Results]) -> str:
    """A Markdown table of the paper's figures: what each shows, and what can be said of ours from ``found``.

    "agrees", "partly" and "differs" are said of the drawn run of the paper preset on real data, "drawn" of any other
    and where there is no claim to test, "open" where there is no run. Figures 1 and 6 have verdicts of their own.
    """
    by_name = {results.experiment: results for results in found}
    rows = [
        ("1", "01", "a circle in R^100 and four models' latent spaces", *_judged(_figure1, by_name["circle"])),
        ("2", "02", "MNIST in the latent plane and on the sphere", *_judged(_figure2, by_name["mnist_vae"])),
        ("3", "05", "the nodes of Cora in the plane and on the sphere", *_judged(_figure3, by_name["vgae"])),
        ("4", "06", "sampling a vMF in four steps", "drawn", "with the steps' own formulas; nothing to test"),
        ("5", "", "", "–", "in the paper's appendix, which we do not have; its text does not mention it"),
        ("6", "06", "the surface area of a sphere by its dimension", *_figure6()),
        ("7", "02", "samples of the N-VAE", *_images(by_name["mnist_vae"], "e", "samples")),
        ("8", "02", "samples of the S-VAE", *_images(by_name["mnist_vae"], "s", "samples")),
        ("9", "02", "decoded plane and sphere", *_images(by_name["mnist_vae"], "es", "grid")),
        ("10", "04", "one style in every class", *_judged(_figure10, by_name["m1m2"])),
    ]
    lines = ["| figure | notebook | what it shows | ours | why |", "| --- | --- | --- | --- | --- |"]
    lines += [f"| {figure} | {book} | {what} | **{word}** | {why} |" for figure, book, what, word, why in rows]
    return "\n".join(lines) + "\n"


def _judged(figure: Callable[[Results], tuple[str, str]], results: Results) -> tuple[str, str]:
    word, why = figure(results)
    if note := plots.remark(results):
        return ("open" if word == "open" else "drawn"), f"{note}; {why}"
    return word, why


def _figure1(results: Results) -> tuple[str, str]:
    words = [word for _, word, _ in circle.claims(results)]
    if "open" in words:
        return "open", "a model has fewer than two runs"
    correlations = [
        f"{name} {np.mean([cell['metrics']['circular_correlation'] for cell in results.where(model=model)]):.2f}"
        for model, (_, _, name) in circle.MODELS.items()
    ]
    correlation = "correlation with the true angle: " + "; ".join(correlations)
    return overall(words), f"of {len(words)} claims {counted(words)}; {correlation}"


def _figure2(results: Results) -> tuple[str, str]:
    latent = {letter: results.arrays(d=2, space=letter) or {} for letter in "es"}
    measured = {letter: evenness(arrays["latent"]) for letter, arrays in latent.items() if "latent" in arrays}
    why = "; ".join(
        f"{name}: {measured[letter][0]:.0%} of 100 cells of equal prior probability hold a test image, "
        f"KL to even use {measured[letter][1]:.2f} nats"
        if letter in measured
        else f"{name}: not there yet"
        for letter, name in (("e", "N-VAE"), ("s", "S-VAE"))
    )
    if len(measured) < 2:
        return "open", why
    # One run of each: less than half as uneven is a difference to see, less by a few hundredths of a nat is not.
    plane, sphere = (measured[letter][1] for letter in "es")
    return "agrees" if sphere < plane / 2 else "partly" if sphere < plane else "differs", why


def plane_auc(results: Results) -> tuple[float, float, int]:
    """Figure 3's models on the test edges: S-VGAE minus N-VGAE in points of AUC, p of the paired test, splits (n)."""
    gaps = 100 * results.differences("AUC", *({"model": model, "protocol": "plane"} for model in "sn"))
    return float(np.mean(gaps)) if len(gaps) else math.nan, paired_p(gaps), len(gaps)


def _figure3(results: Results) -> tuple[str, str]:
    where = {"dataset": "Cora", "loss": "dense", "protocol": "plane"}
    latent = {model: results.arrays(**where, model=model) or {} for model in "ns"}
    if any("latent" not in arrays for arrays in latent.values()):
        return "open", "no run yet"
    inside, prior = central(latent["n"]["latent"])
    same = {model: own_class(arrays["latent"], arrays["labels"]) for model, arrays in latent.items()}
    gap, p, n = plane_auc(results)
    why = (
        f"N-VGAE: {inside.mean():.1%} of the nodes near the centre, of the prior {prior:.1%}; of a node's five nearest "
        f"{same['n']:.0%} have its class on the plane, {same['s']:.0%} on the sphere; AUC {gap:+.1f} points on the "
        f"sphere (n={n}" + (f", p = {p:.0e})" if n > 1 else ")")
    )
    holds = [inside.mean() < prior, same["s"] > same["n"], gap > 0 and p < SIGNIFICANCE]
    return "agrees" if all(holds) else "partly" if any(holds) else "differs", why


def _figure6() -> tuple[str, str]:
    m = np.arange(1, 100)
    largest = m[np.argmax(math.log(2) + m / 2 * math.log(math.pi) - special.gammaln(m / 2))]
    what = f"a formula: largest in R^{largest}, then vanishing, as the paper says"
    return "reproduced", f"{what}; Eq. 10 as printed has one r too many"


def _images(results: Results, letters: str, array: str) -> tuple[str, str]:
    stored = [
        (cell["configuration"]["space"], cell["configuration"]["d"])
        for cell in results.cells
        if cell["seed"] == 0 and cell["configuration"]["space"] in letters
    ]
    names = {"e": "plane", "s": "sphere"}
    there = [
        names[space] if array == "grid" else f"d = {d}"
        for space, d in stored
        if array in (results.arrays(d=d, space=space) or {})
    ]
    if not there:
        return "open", "no run yet"
    lacks = [names[letter] for letter in letters if array == "grid" and names[letter] not in there]
    return "drawn", "; ".join([", ".join(there) + ": for the eye, nothing to test", *(f"no {x} yet" for x in lacks)])


def _figure10(results: Results) -> tuple[str, str]:
    words, why = [], []
    for topology in TOPOLOGIES:
        arrays = results.arrays(dim_z1=5, dim_z2=5, topology=topology) or {}
        if "restyled" in arrays:
            word, text = disentangled(arrays["originals"], arrays["restyled"])
            words.append(word)
            why.append(f"{topology}: {text}")
    if not words:
        return "open", "no run yet"
    return overall(words), "; ".join(why)


def disentangled(originals: np.ndarray, restyled: np.ndarray) -> tuple[str, str]:
    """Whether columns are classes and rows are styles: "agrees", "partly" or "differs", and the numbers behind it."""
    share, (correlation, p) = recognised(restyled), style_kept(originals, restyled)
    halves = (share >= RECOGNISED) + (correlation > 0 and p < SIGNIFICANCE)
    text = f"{share:.0%} of the images look most like their column, slant along the rows r = {correlation:.2f}"
    return ("differs", "partly", "agrees")[halves], text
