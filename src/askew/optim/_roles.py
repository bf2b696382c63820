"""Rules that select parameters by what they do in a model, never by their names."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from torch import nn

_TABLES = (nn.Embedding, nn.EmbeddingBag)
_NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)
_CONVOLUTIONS = (nn.modules.conv._ConvNd,)
_LISTS = (nn.ModuleList, nn.Sequential)


def hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """Select the matrices of the linear maps inside a model, as a rule of a part.

    These are the parameters that Muon is for: the weights of `nn.Linear`, of the projections in
    `nn.MultiheadAttention`, and of every other module that has a matrix and a bias as long as one
    side of it, such as `Conv1D` of transformers. Tables, also where an output layer shares one,
    input layers and output layers are left out: see `embeddings` and `heads`. So are kernels of
    convolutions, weights of recurrent layers, and tensors that a module holds for itself.

    Args:
        model: The model. Its modules are registered in the order in which data flows.

    Returns:
        The parameters, in the order of the model.

    Example:
        >>> layers = [nn.Embedding(9, 4), nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 4)]
        >>> model = nn.Sequential(*layers, nn.Linear(4, 9))
        >>> [tuple(matrix.shape) for matrix in hidden_matrices(model)]
        [(6, 4), (4, 6)]

    References:
        Muon is Scalable for LLM Training, 2025, arXiv:2502.16982.
    """
    ends = {*embeddings(model), *heads(model)}
    return [one.weight for one in _maps(model) if one.weight not in ends and one.linear]


def embeddings(model: nn.Module) -> list[nn.Parameter]:
    """Select what turns input into the width of a model, as a rule of a part.

    These are the tables of `nn.Embedding` and `nn.EmbeddingBag`, with those that an output layer
    shares, and the kernels of input layers. A linear map or a convolution is an input layer if no
    module before it gives the width that it reads. The same must hold for the first map of the
    module that holds it, and it must not lie in one of several layers of one class.

    Args:
        model: The model. Its modules are registered in the order in which data flows.

    Returns:
        The parameters, in the order of the model.

    Example:
        >>> model = nn.Sequential(nn.Conv1d(3, 4, 5), nn.ReLU(), nn.Linear(4, 6), nn.Linear(6, 2))
        >>> [tuple(kernel.shape) for kernel in embeddings(model)]
        [(4, 3, 5)]
    """
    tables = {module.weight for module in model.modules() if isinstance(module, _TABLES)}
    chosen = tables.union(_ends(model, first=True))
    return [weight for weight in model.parameters() if weight in chosen]


def heads(model: nn.Module) -> list[nn.Parameter]:
    """Select the matrices of output layers, as a rule of a part.

    A linear map is an output layer if no module after it reads the width that it gives. The same
    must hold for the last map of the module that holds it, and it must not lie in one of several
    layers of one class. An output layer that shares the table of the input is in `embeddings`.

    Args:
        model: The model. Its modules are registered in the order in which data flows.

    Returns:
        The parameters, in the order of the model.

    Example:
        >>> model = nn.ModuleDict({"body": nn.Linear(4, 6), "a": nn.Linear(6, 2)})
        >>> model["b"] = nn.Linear(6, 3)
        >>> [tuple(matrix.shape) for matrix in heads(model)]
        [(2, 6), (3, 6)]
    """
    taken = set(embeddings(model))
    return [weight for weight in _ends(model, first=False) if weight not in taken]


def norms_and_biases(model: nn.Module) -> list[nn.Parameter]:
    """Select vectors and numbers, as a rule of a part: gains of norms, biases, temperatures.

    These are all parameters with fewer than two dimensions, and those of the norms of PyTorch
    with any number of them.

    Args:
        model: The model.

    Returns:
        The parameters, in the order of the model.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6))
        >>> [tuple(vector.shape) for vector in norms_and_biases(model)]
        [(6,), (6,), (6,)]
    """
    norms = [module for module in model.modules() if isinstance(module, _NORMS)]
    held = {weight for norm in norms for weight in norm.parameters(recurse=False)}
    return [weight for weight in model.parameters() if weight.ndim < 2 or weight in held]


class _Map(NamedTuple):
    """A linear map or a convolution: its kernel, the widths it reads and gives, where it is."""

    weight: nn.Parameter
    reads: int
    gives: int
    module: nn.Module
    place: int
    holder: str

    @property
    def linear(self) -> bool:
        """Whether it is no convolution."""
        return not isinstance(self.module, _CONVOLUTIONS)


def _maps(model: nn.Module) -> list[_Map]:
    """List the maps of a model in its order."""
    found = []
    for place, (name, module) in enumerate(model.named_modules()):
        for weight, reads, gives in _weights(module):
            found.append(_Map(weight, reads, gives, module, place, name.rpartition(".")[0]))
    return found


def _weights(module: nn.Module) -> Iterator[tuple[nn.Parameter, int, int]]:
    """Yield the kernels that a module itself holds, each with the widths it reads and gives."""
    weight = getattr(module, "weight", None)
    if isinstance(module, nn.MultiheadAttention):
        for matrix in module.parameters(recurse=False):
            if matrix.ndim == 2:
                yield matrix, matrix.shape[1], module.embed_dim
    elif not isinstance(weight, nn.Parameter):  # it may be computed from others
        return
    elif isinstance(module, nn.Linear):
        yield weight, module.in_features, module.out_features
    elif isinstance(module, _CONVOLUTIONS):
        yield weight, module.in_channels, module.out_channels
    elif weight.ndim == 2 and not isinstance(module, (*_TABLES, *_NORMS)):
        bias, (rows, columns) = getattr(module, "bias", None), weight.shape
        length = len(bias) if isinstance(bias, nn.Parameter) and bias.ndim == 1 else None
        if length == rows:
            yield weight, columns, rows
        elif length == columns:  # stored the other way round
            yield weight, rows, columns


def _ends(model: nn.Module, *, first: bool) -> list[nn.Parameter]:
    """Return the weights of the maps at the input, or at the output."""
    maps, places = _maps(model), _widths(model)
    repeated = _repeated(model)
    is_end: Callable[[_Map], bool] = partial(_is_first if first else _is_last, places=places)
    outermost: dict[str, _Map] = {}
    for one in maps if first else reversed(maps):
        outermost.setdefault(one.holder, one)
    return [
        one.weight
        for one in maps
        if (one.linear or first)
        and not isinstance(one.module, nn.MultiheadAttention)
        and is_end(one)
        and is_end(outermost[one.holder])
        and not any(one.holder == path or one.holder.startswith(f"{path}.") for path in repeated)
    ]


def _is_first(one: _Map, *, places: list[tuple[set[int], set[int]]]) -> bool:
    return not any(one.reads in gives for _, gives in places[: one.place])


def _is_last(one: _Map, *, places: list[tuple[set[int], set[int]]]) -> bool:
    return not any(one.gives in reads for reads, _ in places[one.place + 1 :])


def _widths(model: nn.Module) -> list[tuple[set[int], set[int]]]:
    """Return for every module the widths that it reads and gives by parameters of its own."""
    found = []
    for module in model.modules():
        maps = list(_weights(module))
        reads, gives = {reads for _, reads, _ in maps}, {gives for _, _, gives in maps}
        if isinstance(module, nn.RNNBase):
            reads, gives = {module.input_size}, {module.hidden_size, 2 * module.hidden_size}
        elif isinstance(module, _TABLES):
            gives = {module.embedding_dim}
        elif not maps:  # a norm has the width of its input; a tensor added to it ends with it
            own = [weight for weight in module.parameters(recurse=False) if weight.ndim]
            reads = gives = {weight.shape[-1] for weight in own}
        found.append((reads, gives))
    return found


def _repeated(model: nn.Module) -> set[str]:
    """Return the paths of layers that lie in a list beside another layer of their class."""
    paths = set()
    for name, module in model.named_modules():
        if isinstance(module, _LISTS):
            children = [child for child in module if not isinstance(child, _LISTS)]
            kinds = [type(child) for child in children]
            paths |= {
                f"{name}.{key}".lstrip(".")
                for key, child in module.named_children()
                if kinds.count(type(child)) > 1
            }
    return paths
