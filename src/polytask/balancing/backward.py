"""`backward`: the one place where task losses become gradients.

T tasks, A active ones, P shared parameters (entries).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from polytask.balancing.base import (
    Balancer,
    DropsFeatures,
    GradientBalancer,
    GramianBalancer,
    LossBalancer,
    SolverError,
    TakesTurns,
    UsesIndependentBatches,
)
from polytask.balancing.dropping import dropped, pushes
from polytask.balancing.graph import Differentiate, Losses, Shared, leaves
from polytask.balancing.passes import Passes, Rows, gramian, identity
from polytask.errors import TrainingError


def backward(
    losses: Tensor | Sequence[Tensor],
    balancer: Balancer,
    shared: Iterable[Tensor] = (),
    *,
    active: Tensor | None = None,
    features: Sequence[Tensor | None] | None = None,
    differentiate: Differentiate = Tensor.backward,
    reduce: Callable[[Tensor], Tensor] = identity,
    independent: Tensor | Sequence[Tensor] | None = None,
    measured: Iterable[Tensor] | None = None,
    estimate: Tensor | Sequence[Tensor] | None = None,
    groups: int = 1,
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

    Cost in backward passes: loss balancers one (and one more through the heads if neither
    `features` nor `weight_heads`); the others one through the heads and one per active task (or per
    task whose turn it is) through the shared part, or a single one with `at='features'`. Tasks
    with their own batches are differentiated through their own graphs only.

    A gradient scaler behind `differentiate` is measured and divided out before a balancer sees
    a gradient; gradients in `.grad` carry its factor, as after a plain scaled backward.

    Args:
        losses: `[T]`, best straight from `torch.stack`, or T scalars. One per task.
        balancer: How they are combined.
        shared: Parameters that several tasks train.
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

    Returns:
        The weights `[T]`, zero for inactive tasks; None if the balancer has none.

    Raises:
        TrainingError: If no task is active, or a loss or gradient is not finite.
    """
    pieces = Losses(losses)
    tasks = _active(pieces, balancer, active)
    passes = Passes(
        losses=pieces,
        tasks=tasks,
        shared=Shared(shared),
        features=None if features is None else _aliases(features, tasks, balancer),
        call=differentiate,
        reduce=reduce,
    )
    values = _values(passes)
    second = _second(balancer, passes, independent)
    apart = measured is not None or estimate is not None or groups != 1
    if apart and not isinstance(balancer, GramianBalancer):
        raise ValueError(
            "`measured`, `estimate` and `groups` are for balancers that see the Gramian."
        )
    with balancer.about(tasks):
        if isinstance(balancer, LossBalancer):
            weights = _loss_weights(balancer, values, passes)
            passes.weighted(weights, balancer.weight_heads)
        elif isinstance(balancer, GramianBalancer):
            known = balancer.remembered()
            if known is None:
                if apart:
                    probes = _probes(balancer, passes, measured, estimate, groups)
                    weights = _by_probes(balancer, values, passes, probes)
                else:
                    weights = _by_rows(balancer, values, passes, second)
            else:
                weights = known.to(values)
                passes.weighted(weights, balancer.weight_heads)
        elif isinstance(balancer, GradientBalancer):
            _by_gradients(balancer, values, passes)
            return None
        else:
            raise TypeError(
                "`balancer` should be a LossBalancer, GramianBalancer or GradientBalancer. "
                f"Found {type(balancer).__name__}."
            )
    everyone = weights.new_zeros(balancer.num_tasks)
    everyone[tasks] = weights
    return everyone


def _active(losses: Losses, balancer: Balancer, active: Tensor | None) -> list[int]:
    """The numbers of the active tasks."""
    count = len(losses.values)
    if count != balancer.num_tasks:
        raise ValueError(
            f"`losses` should have one entry per task (num_tasks={balancer.num_tasks}). "
            f"Found {count}. Did a task have no label? Keep its entry and pass `active=`."
        )
    if active is None:
        return list(range(count))
    if active.dtype != torch.bool or active.shape != (count,):
        raise ValueError(
            f"`active` should be a bool tensor of shape ({count},). "
            f"Found {active.dtype} of shape {tuple(active.shape)}."
        )
    tasks = [t for t, on in enumerate(active.tolist()) if on]
    if not tasks:
        raise TrainingError("No task is active in this step: there is nothing to learn from.")
    return tasks


def _aliases(
    features: Sequence[Tensor | None], tasks: list[int], balancer: Balancer
) -> list[Tensor | None]:
    """The features of the active tasks, each a tensor of its own."""
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
    values = passes.losses.values[passes.tasks]
    values = passes.reduce(values if values.dtype == torch.float64 else values.float())
    if not bool(values.isfinite().all()):
        found = {t: v for t, v in zip(passes.tasks, values.tolist(), strict=True) if v - v != 0}
        raise TrainingError(f"The losses of these tasks are not finite (task: loss): {found}.")
    if passes.reduce is identity:
        nodes = passes.losses.nodes(passes.tasks)
        loose = [t for t, node in zip(passes.tasks, nodes, strict=True) if node is None]
        if loose:
            raise ValueError(
                f"The losses of tasks {loose} depend on no parameter. "
                "Did they have no label? Pass `active=`."
            )
    return values


def _loss_weights(balancer: LossBalancer, values: Tensor, passes: Passes) -> Tensor:
    """Weights `[A]`; the balancer's own parameters receive their gradient."""
    with torch.enable_grad():
        leaf = values.detach().requires_grad_()
        total = balancer(leaf)
        own = [p for p in balancer.parameters() if p.requires_grad]
        (weights,) = torch.autograd.grad(total, leaf, retain_graph=bool(own))
        if own:
            passes.call(total, inputs=own)
    weights = balancer.scaled(weights)
    if not bool(weights.isfinite().all()):
        raise TrainingError(
            f"{type(balancer).__name__} gave weights that are not finite, {weights.tolist()}, "
            f"for the losses {values.tolist()} of tasks {passes.tasks}."
        )
    return weights


def _second(
    balancer: Balancer, passes: Passes, independent: Tensor | Sequence[Tensor] | None
) -> Passes | None:
    """The passes over a second batch, if the balancer uses one."""
    name = type(balancer).__name__
    if not isinstance(balancer, UsesIndependentBatches):
        if independent is not None:
            raise ValueError(f"{name} uses one batch. Leave `independent` out.")
        return None
    if independent is None:
        raise ValueError(
            f"{name} compares gradients of two independent batches. Pass the losses of the same "
            "tasks on another batch as `independent=`."
        )
    losses = Losses(independent)
    _active(losses, balancer, None)
    return replace(passes, losses=losses, features=None)


def _probes(
    balancer: GramianBalancer,
    passes: Passes,
    measured: Iterable[Tensor] | None,
    estimate: Tensor | Sequence[Tensor] | None,
    groups: int,
) -> list[Passes]:
    """The passes that make the Gramian, where they aren't those that make the gradients."""
    if groups < 1:
        raise ValueError(f"`groups` should be at least 1. Found {groups}.")
    if balancer.at == "features" or isinstance(balancer, UsesIndependentBatches):
        raise ValueError(
            "`measured`, `estimate` and `groups` need at='parameters' and a single batch."
        )
    losses = passes.losses if estimate is None else Losses(estimate)
    _active(losses, balancer, None)
    shared = passes.shared if measured is None else Shared(measured)
    if not set(shared.parameters) <= set(passes.shared.parameters):
        raise ValueError("`measured` should be parameters among `shared`.")
    features = passes.features if estimate is None else None
    return [
        replace(passes, losses=losses, shared=group, features=features)
        for group in shared.divided(groups)
    ]


def _by_probes(
    balancer: GramianBalancer, values: Tensor, passes: Passes, probes: list[Passes]
) -> Tensor:
    """Weights `[A]` from a Gramian measured apart, applied by one more backward."""
    _need_shared(balancer, probes[0])
    factor = balancer.amplification = passes.amplification()
    first = probes[0]
    starts = None if first.features is None else first.cotangents(heads=False)
    count = len(passes.tasks)
    products = torch.zeros(count, count, dtype=torch.float64)
    for probe in probes:
        products += gramian(probe.jacobian(starts, factor, heads=False))
    weights = _choose(balancer, products / factor**2, values, passes, factor)
    passes.weighted(weights, balancer.weight_heads)
    return weights


def _by_rows(
    balancer: GramianBalancer,
    values: Tensor,
    passes: Passes,
    second: Passes | None,
) -> Tensor:
    """Weights `[A]` from inner products of gradients, and all gradients put in place."""
    _need_shared(balancer, passes)
    at_features = balancer.at == "features"
    if at_features:
        _need_features(passes)
    factor = balancer.amplification = passes.amplification()
    heads = not balancer.weight_heads
    cotangents = None if passes.features is None else passes.cotangents(heads)
    reached = _reached(passes)
    rows: Tensor | None = None
    groups: list[Rows] = []
    if at_features:
        assert cotangents is not None
        products, groups = passes.feature_rows(cotangents)
    else:
        rows = passes.jacobian(cotangents, factor, heads)
        others = None if second is None else second.jacobian(None, factor, heads=False)
        products = gramian(rows, others)
        rows = rows if others is None else (rows + others) / 2
    weights = _choose(balancer, products / factor**2, values, passes, factor)
    if rows is None:
        assert cotangents is not None
        passes.features_weighted(cotangents, groups, weights, factor, heads)
    else:
        passes.shared.add(weights.to(rows) @ rows, reached)
    if not heads:
        passes.others_weighted(weights)
    return weights


def _choose(
    balancer: GramianBalancer, products: Tensor, values: Tensor, passes: Passes, factor: float
) -> Tensor:
    """The balancer's weights `[A]` for a Gramian."""
    if not bool(products.isfinite().all()):
        _raise_unless_scaled(products, passes, factor)
        return torch.ones_like(values)
    try:
        weights = balancer.scaled(balancer(products, values.cpu().double()))
    except SolverError:
        balancer.failures += 1
        raise
    balancer.remember(weights)
    balancer.zero_updates += int(float(weights @ products @ weights) == 0.0)
    return weights.to(values)


def _by_gradients(balancer: GradientBalancer, values: Tensor, passes: Passes) -> None:
    """The update from the gradients themselves."""
    _need_shared(balancer, passes)
    factor = balancer.amplification = passes.amplification()
    if isinstance(balancer, DropsFeatures) and balancer.at == "features":
        _by_features(balancer, values, passes, factor)
        return
    cotangents = None if passes.features is None else passes.cotangents(heads=True)
    reached = _reached(passes)
    if isinstance(balancer, TakesTurns):
        rows = _rows_in_turn(balancer, passes, cotangents, factor)
    else:
        rows = passes.jacobian(cotangents, factor, heads=True)
    if not bool(rows.isfinite().all()):
        _raise_unless_scaled(rows, passes, factor)
        update = rows.sum(0)
    else:
        update = balancer(rows / factor if factor != 1.0 else rows, values) * factor
        balancer.zero_updates += int(not bool(update.any()))
    passes.shared.add(update, reached)


def _by_features(balancer: GradientBalancer, values: Tensor, passes: Passes, factor: float) -> None:
    """The gradients of the features, without what the balancer drops, and one trunk backward."""
    assert isinstance(balancer, DropsFeatures)
    _need_features(passes)
    cotangents = passes.cotangents(heads=True)
    signed = pushes(passes, cotangents)
    if not bool(signed.isfinite().all()):
        _raise_unless_scaled(signed, passes, factor)
        kept = torch.ones_like(signed)
    else:
        kept = balancer.kept(signed, values)
        balancer.zero_updates += int(not bool((kept * signed).any()))
    dropped(passes, cotangents, kept, factor)


def _rows_in_turn(
    balancer: TakesTurns, passes: Passes, cotangents: list[Tensor | None] | None, factor: float
) -> Tensor:
    """Gradients `[K, P]` of the tasks whose turn it is; what is not shared learns from all."""
    turn = balancer.turn()
    features = passes.features
    some = replace(
        passes,
        tasks=[passes.tasks[i] for i in turn],
        features=None if features is None else [features[i] for i in turn],
    )
    if features is None or cotangents is None:
        rows = some.jacobian(None, factor, heads=False)
        passes.others_weighted(passes.ones())
        return rows
    rows = some.jacobian([cotangents[i] for i in turn], factor, heads=False)
    mine = set(passes.shared.parameters)
    below = [p for p in leaves(f.grad_fn for f in features if f is not None) if p not in mine]
    if below:  # Encoders of one task's own.
        passes.pull(range(len(cotangents)), cotangents, factor, inputs=below)
    return rows


def _need_shared(balancer: Balancer, passes: Passes) -> None:
    if not passes.shared:
        raise ValueError(
            f"{type(balancer).__name__} combines gradients at shared parameters. Pass `shared=`, "
            "the parameters that several tasks train (at least one must require gradients)."
        )


def _need_features(passes: Passes) -> None:
    if passes.features is None:
        raise ValueError("`at='features'` needs `features=`: one alias per task.")


def _reached(passes: Passes) -> list[Tensor] | None:
    """The leaves that any active task reaches; None (all) if other processes may reach more."""
    if passes.reduce is not identity:
        return None
    if passes.features is None:
        return leaves(passes.losses.nodes(passes.tasks))
    return leaves(f.grad_fn for f in passes.features if f is not None)


def _raise_unless_scaled(values: Tensor, passes: Passes, factor: float) -> None:
    """Overflow is an everyday event under a gradient scaler, which then skips the step."""
    if factor != 1.0:
        return
    bad = (~values.isfinite()).all(1) if values.shape[0] == values.shape[1] else None
    rows = range(len(values)) if bad is None else [i for i, b in enumerate(bad.tolist()) if b]
    names = [passes.tasks[i] for i in rows if not bool(values[i].isfinite().all())]
    raise TrainingError(f"The gradients of tasks {names} at shared parameters are not finite.")
