"""What the studies of mixed curvature have in common: what each factor is used for, comparisons in pairs, verdicts.

Both ask whether a product of spaces serves better than a single one of the same total dimension, by the
importance-sampled log-likelihood (LL). Runs of one seed share the order of their data and are compared in pairs.
"""

from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np
import pandas as pd
import torch

from ..curvature import Curved, learnable
from ..distributions import kl_estimate
from ..evaluation import Batch, index_blocks
from ..models import VAE
from ..spaces import Product, Space, space
from ..store import Outcome, Results
from ..study import Job
from ..verdicts import compared_in_pairs, paired_p

Model = tuple[str, str]  # space, "fixed" or "learned"


def configurations(fixed: Sequence[str], learned: Sequence[str]) -> list[dict]:
    """Those of spaces with fixed curvatures, then those of spaces that learn them."""
    curvatures = [("fixed", name) for name in fixed] + [("learned", name) for name in learned]
    return [{"d": space(name).dim, "space": name, "curvature": curvature} for curvature, name in curvatures]


def latent_space(job: Job) -> Space:
    """The latent space of a job's configuration; learned radii begin with 1 in every run."""
    name, curvature = (job.configuration[key] for key in ("space", "curvature"))
    return learnable(name, torch.ones(len(job.seeds))) if curvature == "learned" else space(name)


def add_factors(
    outcomes: list[Outcome], model: VAE, batch: Batch, size: int, generators: list[torch.Generator]
) -> list[Outcome]:
    """The outcomes of a model's runs with what is to be known of each factor, and without arrays for other figures.

    ``factor_kl`` has, for each factor of the space, the mean KL divergence of the test examples: what it is used for;
    ``factor_curvature`` its curvature at the end.
    """
    divergences = _factor_kl(model, batch, size, generators)
    for run, (outcome, of_run) in enumerate(zip(outcomes, divergences, strict=True)):
        outcome.metrics["factor_kl"] = of_run.tolist()
        outcome.metrics["factor_curvature"] = [_curvature(f.of_run(run)) for f in _factors(model.space)]
        outcome.arrays = {"validation_curve": outcome.arrays["validation_curve"]}
    return outcomes


def _factors(latent: Space) -> list[Space]:
    return list(latent.factors) if isinstance(latent, Product) else [latent]


def _curvature(factor: Space) -> float:
    return factor.curvature.item() if isinstance(factor, Curved) else {"e": 0.0, "s": 1.0, "h": -1.0}[factor.letter]


@torch.no_grad()
def _factor_kl(model: VAE, batch: Batch, size: int, generators: list[torch.Generator]) -> torch.Tensor:
    """Mean KL divergence [R, factors] in nats of the examples' posteriors."""
    factors = _factors(model.space)
    sizes = [f.n_params for f in factors]
    total = 0
    for index in index_blocks(model, size):
        params = model.encoder(batch(index)).split(sizes, dim=-1)
        parts = []
        for factor, own in zip(factors, params, strict=True):
            posterior = factor.posterior(own)
            z = posterior.rsample(generator=generators)
            parts.append(kl_estimate(posterior, factor.prior(model.device), z).sum(1, dtype=torch.float64))
        total = total + torch.stack(parts, dim=1)
    return total / size


def title(name: str) -> str:
    """A space's name in print, ``s4s4h2`` as "(S^4)^2 x H^2" in Unicode."""
    raised = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
    factors = [f.name for f in _factors(space(name))]
    parts = []
    for factor, group in groupby(factors):
        letter = "ℝ" if factor[0] == "e" else "ℍ" if factor[0] == "h" else "S"
        one, count = letter + factor[1:].translate(raised), len(list(group))
        parts.append(one if count == 1 else f"({one})" + str(count).translate(raised))
    return " × ".join(parts)


def model_title(model: Model) -> str:
    name, curvature = model
    return title(name) + (", learned" if curvature == "learned" else "")


def models(cells: Sequence[dict]) -> list[Model]:
    """The models that have runs among these cells."""
    return list(dict.fromkeys((c["configuration"]["space"], c["configuration"]["curvature"]) for c in cells))


def metrics_of(results: Results, model: Model) -> list[dict]:
    """The metrics of a model's runs, in order of seed."""
    return [cell["metrics"] for cell in results.where(space=model[0], curvature=model[1])]


def differences(results: Results, first: Model, second: Model) -> np.ndarray:
    """LL of one model less that of another, for the seeds that both have."""
    return results.differences("LL", *({"space": name, "curvature": curvature} for name, curvature in (first, second)))


def dimensions(results: Results) -> list[int]:
    """The total dimensions that have runs."""
    return sorted({cell["configuration"]["d"] for cell in results.cells})


def comparison(results: Results, d: int) -> pd.DataFrame:
    """One row for each model of dimension ``d`` that has runs, best first, against the Euclidean one in pairs.

    Columns: space, curvature; mean, std and n of the LL; ELBO and KL, means; gap, gap_std and p, that of the paired
    t-test (NaN for less than two pairs).
    """
    rows = []
    for model in models(results.where(d=d)):
        metrics = metrics_of(results, model)
        likelihood = pd.Series([m["LL"] for m in metrics])
        gaps = pd.Series(differences(results, model, (f"e{d}", "fixed")), dtype=float)
        means = [np.mean([m[key] for m in metrics]) for key in ("ELBO", "KL")]
        own = (likelihood.mean(), likelihood.std(ddof=1), len(likelihood))
        rows.append((*model, *own, *means, gaps.mean(), gaps.std(ddof=1), paired_p(gaps)))
    columns = ["space", "curvature", "mean", "std", "n", "ELBO", "KL", "gap", "gap_std", "p"]
    return pd.DataFrame(rows, columns=columns).sort_values("mean", ascending=False, ignore_index=True)


def markdown(results: Results, heading: str, score: Callable[[dict], float]) -> str:
    """`comparison` for every dimension as a table, with the mean of another score of a run's metrics as last column."""
    lines = [f"| d | space | LL | n | gap | p | ELBO | KL | {heading} |", "| " + "--- | " * 9]
    for d in dimensions(results):
        for row in comparison(results, d).itertuples():
            model = (row.space, row.curvature)
            gap, p = "–" if np.isnan(row.gap) else f"{row.gap:+.2f}", "–" if np.isnan(row.p) else f"{row.p:.2g}"
            gap += f" ± {row.gap_std:.2f}" if row.gap_std > 0 else ""
            likelihood = f"{row.mean:.2f}" + ("" if np.isnan(row.std) else f" ± {row.std:.2f}")
            last = np.mean([score(metrics) for metrics in metrics_of(results, model)])
            cells = [
                d,
                model_title(model),
                likelihood,
                row.n,
                gap,
                p,
                f"{row.ELBO:.2f}",
                f"{row.KL:.2f}",
                f"{last:.1f}",
            ]
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def judge(
    results: Results, pairs: Sequence[tuple[Model, Model]], margin: float | None = None, candidates: int = 1
) -> tuple[str, str]:
    """Whether the first model of every pair is better by the LL than the second, or reaches it: `compared_in_pairs`."""
    gaps = {
        f"{model_title(first)} − {model_title(second)}": differences(results, first, second) for first, second in pairs
    }
    return compared_in_pairs(gaps, "LL in nats", margin, candidates)
