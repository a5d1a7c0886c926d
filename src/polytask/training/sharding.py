"""A trunk whose parameters are spread over the processes, of which each holds a part (FSDP2).

Zhao et al. 2023, "PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel". Nothing but
the trunk's shared and frozen parameters is spread: heads, encoders and what is one task's own are
in every process, as ever.
"""

import inspect
import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from lightning_fabric.wrappers import _FabricModule
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from polytask.balancing import Balancer, LooksAhead
from polytask.balancing.graph import leaves
from polytask.balancing.needs import sees_parameters
from polytask.errors import ConfigError, TrainingError
from polytask.model import MultiTaskModel
from polytask.sharing.base import Trunk
from polytask.training.processes import all_reduced
from polytask.types import Batch, Features

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def strategy(processes: int) -> ModelParallelStrategy:
    """Fabric's way to set up a model whose trunk is spread over so many processes."""
    return ModelParallelStrategy(shard, data_parallel_size=processes, tensor_parallel_size=1)


def shards(fabric: Fabric) -> bool:
    """Whether models that this Fabric sets up are spread over its processes."""
    return isinstance(fabric.strategy, ModelParallelStrategy)


def require_shardable(model: MultiTaskModel, balancer: Balancer, precision: str) -> None:
    """Make sure that a model can be trained with a trunk that is spread.

    Raises:
        ConfigError: If it can't be.
    """
    trunk, name = model.trunk, type(model.trunk).__name__
    if sees_parameters(balancer):
        kind = type(balancer).__name__
        movable = "at" in inspect.signature(type(balancer)).parameters
        advice = "set balancer.at to 'features', or choose" if movable else "choose"
        raise ConfigError(
            f"training.sharding: {kind} needs each task's gradient at the trunk's parameters, and "
            "of these a process has only a part. Leave training.sharding out, or "
            f"{advice} a balancer that sees losses alone."
        )
    if isinstance(balancer, LooksAhead):
        raise ConfigError(
            f"training.sharding: {type(balancer).__name__} looks a step ahead, for which each "
            "process needs the whole trunk. Leave training.sharding out, or choose another "
            "balancer."
        )
    if trunk.apart or type(trunk)._penalty is not Trunk._penalty or not spread_names(model):
        raise ConfigError(
            f"training.sharding: a trunk of kind {name} can't be spread over processes. "
            "It can be where tasks pass through shared stages together, without a penalty of the "
            "trunk's own. Choose another trunk.kind, such as 'hard', or leave training.sharding "
            "out."
        )
    if precision == "fp16":
        raise ConfigError(
            "training.sharding: not with training.precision 'fp16', whose scaler has to see whole "
            "gradients. Choose 'bf16' or 'fp32'."
        )


def spread_names(model: MultiTaskModel) -> set[str]:
    """The names of the parameters that are spread: the trunk's, without those of one among several
    tasks, whose gradients no balancer weights.
    """
    trunk = model.trunk
    shared = {id(p) for p in trunk.shared_parameters()}
    return {
        f"trunk.{name}"
        for name, p in trunk.named_parameters()
        if id(p) in shared or not p.requires_grad or len(trunk.tasks) == 1
    }


def shard(model: MultiTaskModel, mesh: "DeviceMesh") -> MultiTaskModel:
    """Leave this process its part of what is spread, and give it the first one's copy of the rest.

    A stage of a backbone is whole while it computes, forward and backward, and no longer.

    Args:
        model: The model, whole in each process.
        mesh: The processes, by the two dimensions that Fabric gives them.
    """
    trunk, along = model.trunk, mesh["data_parallel"]
    names = spread_names(model)
    # FSDP2 warns of views, since it would not notice an operation in place on one, and gradients
    # would be wrong. What a trunk gives nobody changes: heads read aliases, and `backward` forbids
    # to change those. A stage may change what the one before it gave, so it gets no view.
    view = rf"FSDP2-wrapped module \(FSDP{type(trunk).__name__}\) returned a view"
    warnings.filterwarnings("ignore", message=view)
    whole = {p for name, p in model.named_parameters() if name not in names}
    for name, p in model.named_parameters():
        if name in names:  # FSDP2 takes no other order in memory, such as channels_last.
            p.data = p.data.contiguous()
    stages = list(dict.fromkeys(stage for b in trunk.backbones() for stage in b.stages))
    for stage in stages:
        stage.register_forward_hook(unviewed)
    for unit in [*stages, trunk]:
        if not whole.issuperset(unit.parameters()):
            # Root units are taken apart after forward too, as nothing outside a pass may see them
            # whole: neither a state dict nor an optimizer.
            fully_shard(unit, mesh=along, reshard_after_forward=True, ignored_params=whole)
    if type(trunk).with_drafts is not Trunk.with_drafts:
        register_fsdp_forward_method(trunk, "with_drafts")
    model.to(next(p.device for p in model.parameters() if isinstance(p, DTensor)))
    for tensor in [*model.parameters(), *model.buffers()]:
        if not isinstance(tensor, DTensor):
            torch.distributed.broadcast(tensor.detach(), 0)
    return model


def unviewed(stage: nn.Module, given: object, features: Features) -> Features:
    """What a stage gives, as a tensor of its own: a forward hook."""
    values, mask = features
    return features if values._base is None else Features(values.clone(), mask)


def gathered(features: Iterable[Tensor | None], known: Iterable[Tensor]) -> list[Tensor]:
    """The spread parameters as they were whole in the pass that made these features.

    They are what gradients of the features arrive at, beside the parameters that are always whole.

    Args:
        features: What the trunk gave.
        known: All other parameters that learn.
    """
    own = {id(p) for p in known}
    found = leaves(feature.grad_fn for feature in features if feature is not None)
    return [leaf for leaf in found if id(leaf) not in own]


def is_spread(tensor: Tensor) -> bool:
    """Whether this process holds only a part of a tensor."""
    return isinstance(tensor, DTensor)


def part(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor: all of one that isn't spread."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(state: Any, keep: bool) -> Any:
    """Plain values in which spread tensors are put together, on the CPU. All processes take part.

    Args:
        state: Numbers, text, tensors, lists, and mappings of them, in which tensors may be spread.
        keep: Whether this process wants the tensors; one that doesn't has None in their place.
    """
    if isinstance(state, DTensor):
        together = state.full_tensor().detach()
        return together.cpu() if keep else None
    if isinstance(state, Mapping):
        return {key: whole(value, keep) for key, value in state.items()}
    return state


def spread(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor as another one is: this process's part of it, where that is spread."""
    if not isinstance(like, DTensor) or isinstance(tensor, DTensor):
        return tensor
    there = tensor.to(like.device).contiguous()
    return distribute_tensor(there, like.device_mesh, like.placements, src_data_rank=None)


def load_weights(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load whole weights into a model that may be spread.

    Raises:
        RuntimeError: If they are not those of such a model.
    """
    own = model.state_dict()
    model.load_state_dict({k: spread(v, own[k]) if k in own else v for k, v in state.items()})


def load_moments(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load an optimizer's whole state where parameters may be spread.

    Raises:
        ValueError, KeyError: If it is not that of such an optimizer.
    """
    owners = dict(enumerate(p for group in optimizer.param_groups for p in group["params"]))
    moments = {
        index: {
            name: spread(value, owners[index])
            if isinstance(value, Tensor) and value.shape == owners[index].shape
            else value
            for name, value in of_one.items()
        }
        for index, of_one in state["state"].items()
    }
    groups = [
        {**saved, "fused": group["fused"]} if "fused" in group else saved  # SGD's, if not spread
        for saved, group in zip(state["param_groups"], optimizer.param_groups, strict=True)
    ]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})


def clip_gradients(
    fabric: Fabric, model: _FabricModule, optimizer: torch.optim.Optimizer, most: float
) -> Tensor:
    """Scale all gradients to a norm of at most `most`, also where parameters are spread.

    Returns:
        The norm before.
    """
    if not shards(fabric):
        norm = fabric.clip_gradients(model, optimizer, max_norm=most, error_if_nonfinite=False)
        assert norm is not None
        return norm
    grads = [p.grad for g in optimizer.param_groups for p in g["params"] if p.grad is not None]
    apart = [part(grad) for grad in grads if isinstance(grad, DTensor)]
    plain = [grad for grad in grads if not isinstance(grad, DTensor)]
    there, everywhere = (
        torch.nn.utils.get_total_norm(some).to(fabric.device).square() for some in (apart, plain)
    )
    norm = (all_reduced(fabric, there, "sum") + everywhere).sqrt()
    torch._foreach_mul_(apart + plain, (most / (norm + 1e-6)).clamp(max=1.0))
    return norm


def require_alike(fabric: Fabric, batch: Batch, inputs: Iterable[str]) -> None:
    """Make sure that all processes have examples of the same inputs, so that all of them put the
    trunk together as often.

    Raises:
        TrainingError: If they don't.
    """
    names = sorted(set(inputs))
    there = torch.tensor([float(name in batch.inputs) for name in names], device=fabric.device)
    shares = all_reduced(fabric, there).tolist()
    lacking = [name for name, share in zip(names, shares, strict=True) if 0.0 < share < 1.0]
    if lacking:
        raise TrainingError(
            f"Some of the processes have no example of {', '.join(map(repr, lacking))} in this "
            "step, and with training.sharding all have to put the trunk together as often. Raise "
            "batches.size, or take fewer processes."
        )
