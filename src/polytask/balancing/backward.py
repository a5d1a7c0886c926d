"""`backward`: the one place where task losses become gradients.

T tasks, A active ones, P shared parameters (entries).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from polytask.balancing.base import (
    Balancer,
    GradientBalancer,
    GramianBalancer,
    LossBalancer,
    WeighingBalancer,
)
from polytask.balancing.by_gradients import by_gradients
from polytask.balancing.by_gramian import by_probes, by_rows, probes_of
from polytask.balancing.graph import Differentiate, Losses, Shared
from polytask.balancing.needs import active_tasks, need_balancer, need_rows, need_whole
from polytask.balancing.passes import Passes, identity, precisely
from polytask.balancing.weighing import weighted
from polytask.errors import TrainingError


@torch.enable_grad()  # As `Tensor.backward`, which works within `torch.no_grad()` too.
def backward(
    losses: Tensor | Sequence[Tensor | None],
    balancer: Balancer,
    shared: Iterable[Tensor] = (),
    *,
    sharded: Iterable[Tensor] = (),
    active: Tensor | None = None,
    features: Sequence[Tensor | None] | None = None,
    differentiate: Differentiate = Tensor.backward,
    reduce: Callable[[Tensor], Tensor] = identity,
    independent: Tensor | Sequence[Tensor] | None = None,
    measured: Iterable[Tensor] | None = None,
    estimate: Tensor | Sequence[Tensor] | None = None,
    groups: int = 1,
    at_once: int = 1,
) -> Tensor | None:
    """Differentiate several losses, in place of `losses.sum().backward()`.

    Afterwards `.grad` of each `shared` parameter has grown by the balancer's combination of the
    task gradients, and `.grad` of every other parameter (heads, encoders of one task's own) by the
    sum of its own gradients, unweighted unless `balancer.weight_heads`. If nothing is declared
    shared, a loss balancer weights everything, and the other kinds raise.

    Several processes: hand in losses whose *mean over processes* is the true loss, and `reduce`
    that averages a tensor over processes. After the call the gradients of shared parameters are
    averaged, in every path; all other gradients are this process's own, for the caller to average.
    The balancer's own parameters get the same gradient everywhere.

    Cost in backward passes: loss balancers one (and one more through the heads where a parameter of
    several tasks isn't in `shared`, or a weight is next to zero); the others one through the heads
    and one per active task (or per task whose turn it is) through the shared part, or a single one
    with `at='features'`. Tasks with their own batches are differentiated through their own graphs
    only.

    A gradient scaler behind `differentiate` is measured and divided out before a balancer sees
    a gradient; gradients in `.grad` carry its factor, as after a plain scaled backward.

    Args:
        losses: `[T]`, best straight from `torch.stack`, or T scalars. One per task; None for a
            task that is not active.
        balancer: How they are combined.
        shared: Parameters that several tasks train. Their gradients are dense.
        sharded: More of them, of which each process holds a part: the whole ones that the graph
            ends in (for FSDP2, `gathered` of `polytask.training.sharding` finds them). Their
            gradients are taken away as they arrive, by whoever averages and divides them among
            the processes, so no balancer can see them: it is one of losses, or `at='features'`.
        active: `[T]` bool, the tasks that have a label in this step (on any process). Entries of
            other tasks may hold anything and are not differentiated. None: all.
        features: Per task its own alias of the shared features (`z.view_as(z)`), through which
            alone its loss depends on `shared`. Makes heads cost one pass. Make each alias right
            before its head runs, so that no more than one gradient of features is alive at a time.
        differentiate: Called as `differentiate(tensor, **kwargs)` with `Tensor.backward`'s
            keywords; `fabric.backward` fits.
        reduce: Mean over processes.
        independent: The losses of the same tasks on a second, independent batch, for balancers
            that use one (`UsesIndependentBatches`); only shared parameters learn from it.
        measured: Parameters among `shared` whose gradients alone make the Gramian, such as the
            last shared layer. Passes go no deeper; one more backward applies the weights.
        estimate: Losses of the same tasks whose gradients make the Gramian in the place of those
            of `losses`: of a part of the batch, or computed in bf16. One more backward applies
            the weights to `losses`.
        groups: More than 1: never hold the gradients `[A, P]`. The Gramian is summed over so many
            groups of parameters, in the order of `shared`, of which one is in memory at a time.
            Each group takes a pass per task, down to its lowest parameter and no deeper; one more
            backward applies the weights.
        at_once: More than 1, for gradients at parameters: so many tasks' passes below one tensor
            of `features` are made as one, by `torch.vmap`. That takes so many times the memory of
            a pass, and fewer and larger operations, which a small network on a large device wants.

    Returns:
        The weights `[T]`, zero for inactive tasks; None if the balancer has none.

    Raises:
        TrainingError: If no task is active, or a loss or gradient is not finite.
    """
    pieces = Losses(losses)
    need_balancer(balancer)
    tasks = active_tasks(pieces, balancer.num_tasks, active)
    passes = Passes(
        losses=pieces,
        tasks=tasks,
        shared=Shared(shared, sharded),
        features=None if features is None else _aliases(features, tasks, balancer),
        call=differentiate,
        reduce=reduce,
        at_once=at_once,
    )
    need_whole(balancer, passes)
    values = _values(passes)
    second = _second(balancer, passes, independent)
    apart = measured is not None or estimate is not None or groups != 1
    if apart and not isinstance(balancer, GramianBalancer):
        raise ValueError(
            "`measured`, `estimate` and `groups` are for balancers that see the Gramian."
        )
    if at_once != 1:
        need_rows(balancer, passes, estimate)
    with precisely(pieces.values.device.type), balancer.about(tasks):
        if isinstance(balancer, LossBalancer):
            weights = _loss_weights(balancer, values, passes)
            weighted(passes, weights, balancer.weight_heads)
        elif isinstance(balancer, GramianBalancer):
            known = balancer.remembered()
            if known is None:
                if apart:
                    probes = probes_of(balancer, passes, measured, estimate, groups)
                    weights = by_probes(balancer, values, passes, probes)
                else:
                    weights = by_rows(balancer, values, passes, second)
            else:
                weights = known.to(values)
                weighted(passes, weights, balancer.weight_heads)
        elif isinstance(balancer, GradientBalancer):
            by_gradients(balancer, values, passes)
            return None
        else:
            raise TypeError(
                "`balancer` should be a LossBalancer, GramianBalancer or GradientBalancer. "
                f"Found {type(balancer).__name__}."
            )
    if len(tasks) == balancer.num_tasks:
        return weights
    everyone = weights.new_zeros(balancer.num_tasks)
    everyone[tasks] = weights
    return everyone


def _aliases(
    features: Sequence[Tensor | None], tasks: list[int], balancer: Balancer
) -> list[Tensor | None]:
    """The features of the active tasks, each a tensor of its own."""
    if isinstance(features, Tensor):
        raise TypeError(
            "`features` should be a list with an alias of the shared features per task, "
            f"[z.view_as(z) for _ in range({balancer.num_tasks})]. Found one tensor."
        )
    if len(features) != balancer.num_tasks:
        raise ValueError(
            f"`features` should have one entry per task (num_tasks={balancer.num_tasks}). "
            f"Found {len(features)}."
        )
    aliases = [features[t] for t in tasks]
    given = [alias for alias in aliases if alias is not None]
    if len({id(alias) for alias in given}) < len(given):
        raise ValueError(
            "Two tasks have the very same tensor in `features`, so their gradients can't be told "
            "apart. Give each its own alias, `z.view_as(z)`."
        )
    return aliases


def _values(passes: Passes) -> Tensor:
    """The active losses `[A]`, averaged over processes; float32 or better."""
    values = passes.losses.values
    if len(passes.tasks) < len(values):
        values = values[passes.tasks]
    values = passes.reduce(values if values.dtype == torch.float64 else values.float())
    if passes.reduce is identity:
        nodes = passes.losses.nodes(passes.tasks)
        loose = [t for t, node in zip(passes.tasks, nodes, strict=True) if node is None]
        if loose:
            raise ValueError(
                f"The losses of tasks {loose} depend on no parameter that learns. Did they have no "
                "label? Pass `active=`. Were they made under `torch.no_grad()`, by `.item()` or "
                "`.detach()`, of whole numbers, or of frozen parameters alone?"
            )
    plain = zip(passes.tasks, values.tolist(), strict=True)
    if endless := {t: v for t, v in plain if not math.isfinite(v)}:
        raise TrainingError(f"The losses of these tasks are not finite (task: loss): {endless}.")
    return values


def _loss_weights(balancer: LossBalancer, values: Tensor, passes: Passes) -> Tensor:
    """Weights `[A]`; the balancer's own parameters receive their gradient."""
    own = [p for p in balancer.parameters() if p.requires_grad]
    if own:
        balancer.expect_an_optimizer()
    awaited = any(p._backward_hooks or p._post_accumulate_grad_hooks for p in own)
    if isinstance(balancer, WeighingBalancer) and balancer.weighs() and not awaited:
        weights = balancer.weigh(values).to(values)
        factor = passes.amplification() if own else 1.0
        for p, gradient in balancer.own_gradients(values, weights) if own else ():
            if p.requires_grad:
                added = (gradient if factor == 1 else gradient * factor).to(p)
                p.grad = added if p.grad is None else p.grad.add_(added)
    else:
        leaf = values.detach().requires_grad_()
        total = balancer(leaf)
        if own:
            passes.call(total, inputs=[leaf, *own])  # One pass: the engine's start is what costs.
            assert leaf.grad is not None
            weights = leaf.grad / passes.amplification()
        else:
            (weights,) = torch.autograd.grad(total, leaf)
    weights = balancer.scaled(weights)
    plain = weights.tolist()
    if not all(map(math.isfinite, plain)):
        raise TrainingError(
            f"{type(balancer).__name__} gave weights that are not finite, {plain}, "
            f"for the losses {values.tolist()} of tasks {passes.tasks}."
        )
    return weights


def _second(
    balancer: Balancer, passes: Passes, independent: Tensor | Sequence[Tensor] | None
) -> Passes | None:
    """The passes over a second batch, if the balancer uses one."""
    name = type(balancer).__name__
    if not getattr(balancer, "batches", None):  # The protocol's own check takes 50 us in a step.
        if independent is not None:
            raise ValueError(f"{name} uses one batch. Leave `independent` out.")
        return None
    if independent is None:
        raise ValueError(
            f"{name} compares gradients of two independent batches. Pass the losses of the same "
            "tasks on another batch as `independent=`."
        )
    losses = Losses(independent)
    active_tasks(losses, balancer.num_tasks, None)
    return replace(passes, losses=losses, features=None)
