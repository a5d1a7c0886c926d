"""A multilayer perceptron over vectors, or over each frame of a sequence.

Shapes: B examples, D features.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from polytask.backbones.base import ACTIVATIONS, Activation, Backbone, OnValues, require_widths


class PerceptronBackbone(Backbone):
    """Linear layers with normalisation, activation and dropout, each a stage.

    Layers of equal width in and out are residual, so that a deep trunk starts near the identity.

    Args:
        in_features: D of the input.
        widths: D after each layer.
        activation: The nonlinearity.
        dropout: Dropout after each activation.
        normalize: Whether each layer ends in layer normalisation before its activation.
    """

    def __init__(
        self,
        in_features: int,
        *,
        widths: Sequence[int] = (256, 256),
        activation: Activation = "gelu",
        dropout: float = 0.0,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        require_widths(widths)
        self.in_features = in_features
        ins = [in_features, *widths[:-1]]
        self.stages = nn.ModuleList(
            OnValues(PerceptronLayer(i, o, ACTIVATIONS[activation](), dropout, normalize))
            for i, o in zip(ins, widths, strict=True)
        )
        self.widths = tuple(widths)


class PerceptronLayer(nn.Module):
    """A linear layer, its normalisation, activation and dropout; residual where widths agree.

    Args:
        ins: D before.
        outs: D after.
        activation: The nonlinearity.
        dropout: Probability of zeroing an entry.
        normalize: Whether to normalise before the activation.
    """

    def __init__(
        self, ins: int, outs: int, activation: nn.Module, dropout: float, normalize: bool
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(ins, outs)
        self.norm = nn.LayerNorm(outs) if normalize else nn.Identity()
        self.activation = activation
        self.dropout = nn.Dropout(dropout)
        self.residual = ins == outs

    def forward(self, x: Tensor) -> Tensor:
        """`[B, ins]` (or `[B, L, ins]`) to `[B, outs]`."""
        y: Tensor = self.dropout(self.activation(self.norm(self.linear(x))))
        return x + y if self.residual else y
