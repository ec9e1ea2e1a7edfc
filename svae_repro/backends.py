"""Where cells are trained: the processes of this machine, or a Dask or Ray cluster, all through joblib."""

import contextlib
from collections.abc import Iterator

from .errors import UserError

BACKENDS = ("loky", "dask", "ray")


@contextlib.contextmanager
def cluster(backend: str, address: str | None = None) -> Iterator[None]:
    """Connects to the Dask scheduler at ``address`` or tells joblib of Ray; nothing to do for other back ends."""
    if address is not None and backend != "dask":
        raise UserError(f"--scheduler {address} is for --backend dask: give both or neither")
    if backend == "ray":
        try:
            from ray.util.joblib import register_ray
        except ImportError:
            raise UserError("--backend ray needs the package ray: pip install ray") from None
        register_ray()
    if backend != "dask":
        yield
        return
    try:
        from dask.distributed import Client
    except ImportError:
        raise UserError("--backend dask needs the package dask[distributed]: pip install 'dask[distributed]'") from None
    if address is None:
        raise UserError("--backend dask needs --scheduler ADDRESS, such as tcp://host:8786")
    try:
        client = Client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise UserError(f"no Dask scheduler at {address}: {error}") from None
    with client:
        yield
