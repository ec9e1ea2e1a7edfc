"""The variational graph auto-encoder over any latent space (Kipf and Welling 2016; Davidson et al. 2018, Section 5.4).

A graph convolution takes node features X to A_hat X W, where A_hat = D^-1/2 (A + I) D^-1/2. The runs of an experiment
have graphs of their own, as each has its own split of the edges. Together they are one graph of R N nodes without edges
between the runs, torch-geometric's way to batch graphs, and A_hat of all is one sparse matrix.

Letters: R runs, N nodes, E edges, F features, m ambient dimension.
"""

import warnings
from collections.abc import Sequence
from copy import copy

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import normalize

from ..distributions import kl_estimate
from ..distributions.noise import Generators, draw
from ..geometric import torch_geometric
from ..spaces import Space, Sphere
from .layers import glorot_uniform

NORMALISED_LENGTH = 1.8  # of a node's features in the VGNAE (Ahn and Kim 2021)


class TrainingGraphs:
    """What the encoders of R runs see: the features, which they share, and the edges that each trains on.

    Args:
        features: [N, F].
        edges: [R, E, 2], each undirected edge once, without the validation and test edges.
    """

    def __init__(self, features: Tensor, edges: Tensor):
        gcn_norm = torch_geometric("nn.conv.gcn_conv").gcn_norm
        self.edges = edges
        self.runs, self.nodes = len(edges), len(features)
        size = self.runs * self.nodes
        run = torch.arange(self.runs, device=edges.device).view(-1, 1)
        one_way = (edges + run.unsqueeze(-1) * self.nodes).flatten(0, 1).T
        index, weight = gcn_norm(torch.cat([one_way, one_way.flip(0)], dim=1), num_nodes=size, dtype=features.dtype)
        self.adjacency = SparseMatrix(index, weight, (size, size))
        row, column = features.nonzero().T
        index = torch.stack([row + run * self.nodes, column + run * features.shape[1]]).flatten(1)
        values = features[row, column].repeat(self.runs)
        self.features = SparseMatrix(index, values, (size, self.runs * features.shape[1]))

    def propagate(self, x: Tensor) -> Tensor:
        """A_hat x for x [R, N, k]."""
        return (self.adjacency @ x.flatten(0, 1)).view(x.shape)

    def project(self, weight: Tensor, dropout: float = 0.0, generators: Generators = None) -> Tensor:
        """X W [R, N, k] for W [R, F, k]; a share ``dropout`` of the features is left out and the others scaled up."""
        x = self.features
        if dropout:
            x = x.with_values(_dropout(x.values.view(self.runs, -1), dropout, generators).flatten())
        return (x @ weight.flatten(0, 1)).view(self.runs, self.nodes, -1)


class SparseMatrix:
    """A constant sparse matrix of which products with dense ones are differentiable in these.

    It holds its transpose too: PyTorch's own backward pass would transpose it anew in every step.

    Args:
        index: rows and columns [2, K] of the entries, none twice.
        values: [K].
        shape: rows, columns.
    """

    def __init__(self, index: Tensor, values: Tensor, shape: tuple[int, int]):
        order = (index[0] * shape[1] + index[1]).argsort()
        row, column = index[:, order]
        self._across = (column * shape[0] + row).argsort()  # the order of the transpose's values
        self._patterns = [
            (torch._convert_indices_from_coo_to_csr(r, size=size[0]), c, size)
            for r, c, size in ((row, column, shape), (column[self._across], row[self._across], shape[::-1]))
        ]
        self._fill(values[order])

    def _fill(self, values: Tensor) -> None:
        self.values = values
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "in beta state"
            self.matrix, self.transpose = (
                torch.sparse_csr_tensor(rows, columns, v, size, check_invariants=False)
                for (rows, columns, size), v in zip(self._patterns, (values, values[self._across]), strict=True)
            )

    def with_values(self, values: Tensor) -> "SparseMatrix":
        """The same pattern with other values [K], in the order of `values`."""
        new = copy(self)
        new._fill(values)
        return new

    def __matmul__(self, x: Tensor) -> Tensor:
        return _SparseProduct.apply(self, x)


class _SparseProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx, matrix: SparseMatrix, x: Tensor) -> Tensor:
        ctx.transpose = matrix.transpose
        return matrix.matrix @ x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor):
        return None, ctx.transpose @ grad


class GCNEncoder(nn.Module):
    """Two graph convolutions without bias, ReLU between them: graph -> parameters of the posteriors [R, N, outputs].

    Args:
        features, hidden, outputs: widths.
        generators: one for each run; weights are Glorot uniform.
        dropout: share of the features and of the hidden units left out in training.
    """

    def __init__(
        self,
        features: int,
        hidden: int,
        outputs: int,
        generators: Sequence[torch.Generator],
        dropout: float = 0.0,
    ):
        super().__init__()
        self.first = nn.Parameter(glorot_uniform(features, hidden, generators))
        self.second = nn.Parameter(glorot_uniform(hidden, outputs, generators))
        self.dropout = dropout

    def forward(self, graph: TrainingGraphs, generators: Generators = None) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        hidden = graph.propagate(graph.project(self.first, dropout, generators)).relu()
        if dropout:
            hidden = _dropout(hidden, dropout, generators)
        return graph.propagate(hidden @ self.second)


class NormalisedEncoder(nn.Module):
    """The encoder of the VGNAE (Ahn and Kim 2021): linear maps of the features, propagated once; no hidden layer.

    Every node's part of the location is scaled to length `NORMALISED_LENGTH` before the propagation, so that nodes with
    few or no links do not end up near zero. The other parameters are propagated as they are.

    Args:
        features: width.
        dim: of the location, the first of the ``outputs`` parameters.
        generators: one for each run; weights are Glorot uniform, biases zero.
    """

    def __init__(self, features: int, dim: int, outputs: int, generators: Sequence[torch.Generator]):
        super().__init__()
        self.dim = dim
        self.weight = nn.Parameter(glorot_uniform(features, outputs, generators))
        self.bias = nn.Parameter(torch.zeros(len(self.weight), 1, outputs))

    def forward(self, graph: TrainingGraphs, generators: Generators = None) -> Tensor:
        location, other = (graph.project(self.weight) + self.bias).tensor_split([self.dim], dim=-1)
        location = NORMALISED_LENGTH * normalize(location, dim=-1)
        return graph.propagate(torch.cat([location, other], dim=-1))


class VGAE(nn.Module):
    """Encoder, latent space and dot-product decoder for R runs at once.

    Args:
        space: the latent space, which defines posterior and prior.
        encoder: graph -> parameters [R, N, n_params], such as `GCNEncoder`.
        stochastic: False turns the model into the plain graph auto-encoder: the latent point is the posterior's mode
            and the KL divergence is reported as zero.

    On a sphere the dot product, a cosine there, is multiplied by a learnable positive scale for each run, 1 at first.
    """

    def __init__(self, space: Space, encoder: nn.Module, runs: int, stochastic: bool = True):
        super().__init__()
        self.space = space
        self.encoder = encoder
        self.stochastic = stochastic
        self.log_scale = nn.Parameter(torch.zeros(runs)) if isinstance(space, Sphere) else None

    def posterior(self, graph: TrainingGraphs, generators: Generators = None) -> Distribution:
        """q(z | graph) with batch shape [R, N]."""
        return self.space.posterior(self.encoder(graph, generators))

    def embed(self, z: Tensor) -> Tensor:
        """The latent points [R, N, m], scaled so that their dot products are the logits of the edges."""
        return z if self.log_scale is None else z * (self.log_scale / 2).exp()[:, None, None]

    def sample(self, graph: TrainingGraphs, generators: Generators = None) -> tuple[Tensor, Tensor]:
        """Embeddings [R, N, m] of one latent point for each node, and the KL divergences [R, N] in nats."""
        posterior = self.posterior(graph, generators)
        if not self.stochastic:
            return self.embed(posterior.mode), posterior.mode.new_zeros(posterior.batch_shape)
        z = posterior.rsample(generator=generators)
        return self.embed(z), kl_estimate(posterior, self.space.prior(z.device, z.dtype), z)


def _dropout(x: Tensor, share: float, generators: Generators) -> Tensor:
    kept = draw(torch.rand, x.shape, generators, x.device, x.dtype) >= share
    return x * kept / (1 - share)
