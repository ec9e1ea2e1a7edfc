"""torch-geometric, imported where graphs are needed: its import takes seconds."""

import importlib
import warnings
from types import ModuleType


def torch_geometric(module: str) -> ModuleType:
    """``torch_geometric.<module>``, without the warning that it uses what torch is going to drop."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.script", category=FutureWarning)
        return importlib.import_module(f"torch_geometric.{module}")
