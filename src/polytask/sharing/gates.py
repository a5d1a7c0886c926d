"""Gates: how much of each expert a task gets.

Shapes: B examples, D features, E experts, k selectors, m binary digits of an expert's number.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from polytask.backbones.base import Backbone
from polytask.types import Features

# The share of the past that running means keep with each step, once they are warm.
KEPT = 0.99


def mixed(weights: Tensor, experts: Tensor) -> Tensor:
    """The weighted sum of experts' outputs: `[B, E]` and `[B, E, ...]` to `[B, ...]`."""
    return torch.einsum("be,be...->b...", weights.to(experts.dtype), experts)


def smooth_step(t: Tensor, gamma: float) -> Tensor:
    """A cubic from exactly 0 at `-gamma / 2` to exactly 1 at `gamma / 2` (Hazimeh 2020)."""
    x = (t / gamma).clamp(-0.5, 0.5)
    return -2 * x**3 + 1.5 * x + 0.5


def selected(digits: Tensor, codes: Tensor) -> Tensor:
    """The weight that soft binary digits give to each expert.

    Args:
        digits: `[..., m]` in [0, 1].
        codes: `[E, m]` bool, the binary number of each expert.

    Returns:
        `[..., E]`: one 1 and otherwise 0 where all digits are 0 or 1.
    """
    digits = digits.unsqueeze(-2)
    return torch.where(codes, digits, 1 - digits).prod(-1)


class SoftmaxGate(nn.Module):
    """`softmax(W x)` (Ma 2018), without a bias as in the paper.

    Args:
        in_features: D of the pooled features.
        experts: E.
    """

    def __init__(self, in_features: int, experts: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, experts, bias=False)

    def forward(self, pooled: Tensor) -> Tensor:
        """`[B, D]` to `[B, E]`."""
        weights: Tensor = self.linear(pooled).float().softmax(1)
        return weights


class SelectorGate(nn.Module):
    """k selectors of one expert each, mixed by a softmax (DSelect-k, Hazimeh 2021).

    A selector writes the number of its expert in soft binary digits; a digit that has reached
    0 or 1 stays exactly there, so at most k experts have weight in the end.

    Args:
        in_features: D of the pooled features.
        experts: E, at least 2.
        selectors: k.
        per_example: Whether digits and softmax depend on the features.
        gamma: The width of the smooth step.
        entropy: The weight of the selectors' entropy in the penalty.
    """

    codes: Tensor

    def __init__(
        self,
        in_features: int,
        experts: int,
        *,
        selectors: int,
        per_example: bool,
        gamma: float,
        entropy: float,
    ) -> None:
        super().__init__()
        count = math.ceil(math.log2(experts))
        places = torch.arange(experts).unsqueeze(1) >> torch.arange(count)
        self.register_buffer("codes", (places & 1).bool(), persistent=False)
        self.gamma, self.entropy = gamma, entropy
        self.whole = experts == 2**count
        self.latest: Tensor | None = None
        self.digits: nn.Linear | nn.Parameter
        self.weights: nn.Linear | nn.Parameter
        if per_example:
            self.digits = nn.Linear(in_features, selectors * count)
            self.weights = nn.Linear(in_features, selectors)
        else:
            self.digits = nn.Parameter(torch.empty(selectors * count))
            self.weights = nn.Parameter(torch.empty(selectors))
        # The authors' ranges: digits begin undecided, and no two selectors alike.
        for made, bound in ((self.digits, gamma / 100), (self.weights, 0.05)):
            for values in made.parameters() if isinstance(made, nn.Linear) else (made,):
                nn.init.uniform_(values, -bound, bound)

    def forward(self, pooled: Tensor) -> Tensor:
        """`[B, D]` to `[B, E]`."""
        digits, weights = (
            made(pooled) if isinstance(made, nn.Linear) else made.unsqueeze(0)
            for made in (self.digits, self.weights)
        )
        weights = weights.float()
        digits = digits.float().view(*weights.shape, -1)
        chosen = selected(smooth_step(digits, self.gamma), self.codes)  # [B or 1, k, E]
        if self.training and torch.is_grad_enabled():
            self.latest = self._penalty_of(chosen)
        return (weights.softmax(1).unsqueeze(2) * chosen).sum(1).expand(pooled.shape[0], -1)

    def penalty(self) -> Tensor | None:
        """The penalty of the latest training pass, once."""
        penalty, self.latest = self.latest, None
        return penalty

    def _penalty_of(self, chosen: Tensor) -> Tensor | None:
        """What keeps selectors `[B or 1, k, E]` decided, and on numbers that experts have."""
        terms = []
        if self.entropy:
            terms.append(-self.entropy * (chosen * (chosen + 1e-6).log()).sum((1, 2)).mean())
        if not self.whole:
            terms.append((1 / chosen.sum(2).clamp(min=1e-6)).sum(1).mean())
        return torch.stack(terms).sum() if terms else None


class Mixer(nn.Module):
    """A gate and the weighted sum that it decides; notes how much of each expert it takes.

    Args:
        gate: From pooled features `[B, D]` to weights `[B, E]`.
        experts: E.

    Attributes:
        mean: `[E]`, running mean of the weights over the examples of training passes.
        load: `[E]`, running share of examples whose greatest weight is the expert's.
        seen: The number of training passes.
    """

    mean: Tensor
    load: Tensor
    seen: Tensor

    def __init__(self, gate: nn.Module, experts: int) -> None:
        super().__init__()
        self.gate = gate
        self.register_buffer("mean", torch.zeros(experts))
        self.register_buffer("load", torch.zeros(experts))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, pooled: Tensor, experts: Tensor) -> Tensor:
        """`[B, D]` and `[B, E, ...]` to `[B, ...]`."""
        weights: Tensor = self.gate(pooled)
        if self.training:
            self._note(weights.detach())
        return mixed(weights, experts)

    @torch.no_grad()
    def _note(self, weights: Tensor) -> None:
        """Take weights `[B, E]` into the running means; the first ones count alike."""
        self.seen += 1
        rate = (1 / self.seen.to(self.mean.dtype)).clamp(min=1 - KEPT)
        leads = nn.functional.one_hot(weights.argmax(1), weights.shape[1])
        self.mean.lerp_(weights.to(self.mean.dtype).mean(0), rate)
        self.load.lerp_(leads.to(self.load.dtype).mean(0), rate)


def gate_input(features: Features, width: int) -> Tensor:
    """What a gate sees of features of any kind: their mean over pixels or frames, `[B, D]`.

    Args:
        features: Vectors, maps or sequences.
        width: D that the gate was made for.

    Raises:
        ValueError: If the features have another width.
    """
    pooled = features.pooled()
    if pooled.shape[1] != width:
        raise ValueError(
            f"The gates were made for features of width {width}, the backbone's `in_features`. "
            f"Found features of width {pooled.shape[1]}. Make the backbone with "
            f"`in_features={pooled.shape[1]}`."
        )
    return pooled


def entering_width(backbone: Backbone) -> int:
    """C or D in front of a backbone.

    Raises:
        ValueError: If the backbone does not say.
    """
    if backbone.in_features is None:
        raise ValueError(
            f"This topology needs to know the width of what enters the backbone, and "
            f"{type(backbone).__name__} has `in_features=None`. Pass `in_features=` to "
            "SequentialBackbone, or set the attribute in your own."
        )
    return backbone.in_features


def alike(backbones: Sequence[Backbone]) -> Sequence[Backbone]:
    """The same backbones, whose outputs can be added.

    Raises:
        ValueError: If their stages differ in width.
    """
    widths = {backbone.widths for backbone in backbones}
    if len(widths) > 1:
        raise ValueError(
            f"Experts are mixed, so all need stages of the same widths. Found {sorted(widths)}. "
            "Does `make` give the same architecture each time?"
        )
    return backbones
