"""Reconstruction losses of a graph from node embeddings, whose dot products are the logits of the edges.

`weighted_bce` is the loss of Kipf and Welling (2016) over all N^2 pairs of nodes, evaluated exactly but in blocks;
`sampled_bce` replaces the pairs without an edge by as many random ones as there are edges.

Letters: R runs, N nodes, E edges, m coordinates of an embedding.
"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from .. import pairs
from ..distributions.noise import Generators, draw

BLOCK = {"cpu": 256, "cuda": 4096}  # nodes along the side of a block: on a CPU what its cache holds
FACTORS = 64  # of a product of numbers in [1/2, 1], which float32 holds


def weighted_bce(embedding: Tensor, edges: Tensor) -> Tensor:
    """Weighted cross-entropy [R] in nats over all ordered pairs of nodes, a node being linked to itself.

    norm * mean_ij [w A_ij softplus(-s_ij) + (1 - A_ij) softplus(s_ij)] with logits s_ij = y_i.y_j. As in the authors'
    code A has the self-links, but w = (N^2 - 2E) / 2E and norm = N^2 / (2 (N^2 - 2E)) do not count them.

    Args:
        embedding: y [R, N, m].
        edges: [R, E, 2], each undirected edge once.
    """
    nodes, linked = embedding.shape[1], 2 * edges.shape[1]
    unlinked = nodes**2 - linked
    # A linked pair adds w softplus(-s) where the sum over all pairs has softplus(s) = s + softplus(-s).
    both = (logits(embedding, edges), 2), (embedding.square().sum(-1), 1)  # an edge is two ordered pairs
    linked_terms = sum(times * ((unlinked / linked - 1) * logsigmoid(s) + s).sum(1) for s, times in both)
    return (softplus_of_all_products(embedding) - linked_terms) / (2 * unlinked)


def sampled_bce(embedding: Tensor, edges: Tensor, generators: Generators = None) -> Tensor:
    """Cross-entropy [R] in nats, its mean over the edges plus its mean over as many random pairs without an edge.

    The loss of torch-geometric's `GAE.recon_loss`. ``edges`` [R, E, 2] must stand in ascending order of their numbers.
    """
    runs, count = edges.shape[:2]
    absent = pairs.count(embedding.shape[1]) - count
    uniform = draw(torch.rand, (runs, count), generators, edges.device)
    random_pairs = pairs.non_edges((uniform * absent).long(), pairs.encode(edges))
    return -logsigmoid(logits(embedding, edges)).mean(1) - logsigmoid(-logits(embedding, random_pairs)).mean(1)


def logits(embedding: Tensor, of: Tensor) -> Tensor:
    """Dot products [R, K] of ``embedding`` [R, N, m] at the pairs ``of`` [R, K, 2]."""
    ends = [embedding.gather(1, end.unsqueeze(-1).expand(-1, -1, embedding.shape[-1])) for end in of.unbind(-1)]
    return (ends[0] * ends[1]).sum(-1)


def softplus_of_all_products(embedding: Tensor) -> Tensor:
    """sum_ij softplus(y_i.y_j) [R] over all ordered pairs of the rows of y [R, N, m], in memory of order N m.

    The gradient is computed along with the value, so that no block is needed twice. With the sigmoid at hand,
    softplus(s) = max(s, 0) - log max(sigmoid(s), 1 - sigmoid(s)) costs next to nothing.
    """
    return _SoftplusOfAllProducts.apply(embedding)


class _SoftplusOfAllProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y: Tensor) -> Tensor:
        side = BLOCK[y.device.type]
        blocks = y.split(side, dim=1)
        total = torch.zeros(len(y), dtype=torch.float64, device=y.device)
        grad = torch.zeros_like(y)
        grads = grad.split(side, dim=1)
        for i in range(len(blocks)):
            for j in range(i + 1):  # the products are symmetric
                times = 1 if i == j else 2
                s = blocks[i] @ blocks[j].mT
                total += times * s.clamp(min=0).sum((1, 2)).double()
                sigma = s.sigmoid_()
                total -= times * _sum_of_logs(torch.maximum(sigma, 1 - sigma)).double()
                grads[i].baddbmm_(sigma, blocks[j], alpha=2)
                if i != j:
                    grads[j].baddbmm_(sigma.mT, blocks[i], alpha=2)
        ctx.save_for_backward(grad)
        return total.to(y.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> Tensor:
        return grad[:, None, None] * ctx.saved_tensors[0]


def _sum_of_logs(x: Tensor) -> Tensor:
    """Sum [R] of the logarithms of x [R, rows, columns] in [1/2, 1], one logarithm for up to `FACTORS` of them."""
    whole = x.shape[1] - x.shape[1] % FACTORS
    parts = [x[:, :whole].unflatten(1, (-1, FACTORS)).prod(2), x[:, whole:].prod(1, keepdim=True)]
    return sum(part.log().sum((1, 2)) for part in parts)
