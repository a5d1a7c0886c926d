"""An exponential moving average of a model's weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from polytask.training.sharding import part, spread


class WeightAverage:
    """The average that evaluation sees while training moves the weights themselves.

    The decay starts small and grows to `decay`, so that the average forgets the random start:
    `min(decay, (1 + n) / (10 + n))` after n updates (as in TensorFlow's moving average).

    Args:
        model: The model; its floating-point parameters and buffers are averaged, others copied.
        decay: Share of the average that each step keeps, in [0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.average = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the model's present weights."""
        self.updates += 1
        keep = min(self.decay, (1 + self.updates) / (10 + self.updates))
        ours: list[Tensor] = []
        theirs: list[Tensor] = []
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                ours.append(part(self.average[name]))
                theirs.append(part(value))
            else:
                self.average[name].copy_(value)
        torch._foreach_lerp_(ours, theirs, 1.0 - keep)

    def state_dict(self) -> dict[str, object]:
        """Everything that a resumed run needs."""
        return {"updates": self.updates, "average": self.average}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Take up a saved state."""
        updates, average = state["updates"], state["average"]
        assert isinstance(updates, int) and isinstance(average, dict)
        self.updates = updates
        for name, value in average.items():
            self.average[name].copy_(spread(value, self.average[name]))


@contextmanager
def borrowed_weights(model: nn.Module, state: Mapping[str, Tensor] | None) -> Iterator[None]:
    """Inside, the model has the weights of `state`; afterwards its own. None changes nothing."""
    if state is None:
        yield
        return
    own = {name: value.detach().clone() for name, value in model.state_dict().items()}
    model.load_state_dict(state)
    try:
        yield
    finally:
        model.load_state_dict(own)
