"""A training step as one CUDA graph: its hundreds of small kernels are launched at once instead of one by one.

PyTorch's recipe for a whole step: the first steps run as usual on a side stream, which settles libraries and the
optimiser's state; then one is captured, and from there on it is replayed on new contents of the same buffers.
"""

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

WARM_UP_STEPS = 3

Step = Callable[[Tensor, Tensor], None]


class CapturedStep:
    """Calls ``step`` through a CUDA graph from the fourth call on.

    Args:
        step: (index [R, B], KL weight []) -> None; CUDA operations only, none of which waits for its result.
        generators: those that ``step`` draws from. They may be seeded anew between calls.

    If the capture fails, training goes on without a graph, more slowly, and a warning says why.
    """

    def __init__(self, step: Step, generators: Sequence[torch.Generator]):
        self.step, self.generators = step, generators
        self._call: Callable[[], None] | None = None
        self._calls = 0

    def __call__(self, index: Tensor, weight: float) -> None:
        if self._calls == 0:
            self._index, self._weight = index.clone(), torch.full((), weight, device=index.device)
        self._index.copy_(index)
        self._weight.fill_(weight)
        self._calls += 1
        if self._calls <= WARM_UP_STEPS:
            _aside(self._eager)
            return
        if self._call is None:
            try:
                self._call = _capture(self._eager, self.generators)
            except RuntimeError as error:
                reason = str(error.__context__ or error).partition("\n")[0]  # the end of a failed capture fails, too
                warnings.warn(
                    f"training goes on without a CUDA graph, as none could be captured: {reason}", stacklevel=2
                )
                self._call = self._eager
        self._call()

    def _eager(self) -> None:
        self.step(self._index, self._weight)


def _aside(call: Callable[[], None]) -> None:
    """Run ``call`` on a side stream, between what was and what will be asked of the current one."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        call()
    torch.cuda.current_stream().wait_stream(stream)


def _capture(call: Callable[[], None], generators: Sequence[torch.Generator]) -> Callable[[], None]:
    """Capture what ``call`` launches, without running it; the function returned does."""
    graph = torch.cuda.CUDAGraph()
    if torch.__version__ < "2.13":  # later ones find them by themselves
        for generator in generators:
            graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        call()
    return graph.replay
