"""From the raw values of one input to features.

Shapes: B examples, C channels, H x W pixels, L frames, D features, N samples.
"""

from abc import ABC, abstractmethod

from torch import nn

from polytask.types import Features, Pooling


class Encoder(nn.Module, ABC):
    """One input's raw values to features, private to its input.

    Attributes:
        out_features: C of a map, D of a sequence or vector.
    """

    out_features: int

    @abstractmethod
    def forward(self, raw: Features) -> Features:
        """Encode a batch of raw values."""

    def views(self, raw: Features) -> tuple[Features, ...]:
        """The versions of an input whose outputs are averaged outside training: itself, and any
        others are mirrored left to right."""
        return (raw,)

    def regrouped(self, features: Features, raw: Features) -> Features:
        """What the steps of a sequence become after the input's own network, where several of
        them are one (pieces of a word); themselves."""
        return features

    def fit_to(self, raw: Features) -> None:
        """Start from training examples, if this encoder has a part that does."""


class StackedEncoder(Encoder):
    """A front end, and optionally a network of the input's own, pooling and a projection.

    Args:
        front: What turns raw values into numbers, such as normalised pixels or log-mel frames.
        body: A network with `out_features`, from features to features.
        pool: How the body's map or sequence becomes one vector per example. None keeps it.
        width: If given, a linear layer maps the vector (or each frame) to this width, so that
            inputs of different widths can meet in one trunk.
    """

    def __init__(
        self,
        front: Encoder,
        body: nn.Module | None = None,
        *,
        pool: Pooling | None = None,
        width: int | None = None,
    ) -> None:
        super().__init__()
        self.front = front
        self.body = body
        self.pool: Pooling | None = pool
        width_before = front.out_features if body is None else body.out_features
        assert isinstance(width_before, int)
        self.out_features = width_before
        if width is not None and width < 1:
            raise ValueError(f"`width` should be at least 1. Found {width}.")
        self.project = None if width is None else nn.Linear(width_before, width)
        if width is not None:
            self.out_features = width

    def forward(self, raw: Features) -> Features:
        """Encode a batch of raw values."""
        features: Features = self.front(raw)
        if self.body is not None:
            features = self.body(features)
        features = self.front.regrouped(features, raw)
        if self.pool is not None:
            features = Features(features.pooled(self.pool))
        if self.project is not None:
            features = Features(self.project(features.values), features.mask)
        return features

    def views(self, raw: Features) -> tuple[Features, ...]:
        """Those of the front."""
        return self.front.views(raw)

    def fit_to(self, raw: Features) -> None:
        """Let the front and the body start from raw training examples."""
        self.front.fit_to(raw)
        fit = getattr(self.body, "fit_to", None)
        if fit is not None:
            fit(self.front(raw))
