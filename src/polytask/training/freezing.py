"""Parts that do not learn, for good or for the first epochs."""

from collections.abc import Iterator, Mapping, Sequence

from torch import nn

from polytask.errors import ConfigError


class Freezing:
    """Which parts of a model learn in which epoch; a pure function of the epoch.

    A frozen part is as in evaluation: its normalisations keep their statistics and nothing is
    dropped.

    Args:
        model: The model.
        freeze: Beginnings of parameters' names that never learn.
        unfreeze: For how many first epochs a beginning does not learn. Of several beginnings that
            fit a name the longest counts; between equal ones this one.

    Raises:
        ConfigError: If a beginning fits no parameter, or nothing is left to learn.
    """

    def __init__(
        self, model: nn.Module, freeze: Sequence[str] = (), unfreeze: Mapping[str, int] = {}
    ) -> None:
        until: dict[str, float] = {**dict.fromkeys(freeze, float("inf")), **unfreeze}
        self.parameters: list[tuple[nn.Parameter, float]] = []
        self.until = until
        names = [name for name, _ in model.named_parameters()]
        for beginning in until:
            if not any(fits(beginning, name) for name in names):
                parts = sorted({".".join(name.split(".")[:2]) for name in names})
                raise ConfigError(
                    f"training.freeze or training.unfreeze names '{beginning}', which begins no "
                    f"parameter's name. Parameters begin with: {', '.join(parts)}."
                )
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and self._until(name) > 0:
                self.parameters.append((parameter, self._until(name)))
        self.modules = list(self._whole(model)) if until else []
        forever = {id(p) for p, end in self.parameters if end == float("inf")}
        if all(id(p) in forever or not p.requires_grad for p in model.parameters()):
            raise ConfigError("training.freeze leaves nothing to learn. Take a part out of it.")

    def _until(self, name: str) -> float:
        """For how many epochs what has this name does not learn."""
        found = [beginning for beginning in self.until if fits(beginning, name)]
        return self.until[max(found, key=len)] if found else 0.0

    def _whole(self, model: nn.Module) -> Iterator[tuple[nn.Module, float]]:
        """Modules inside frozen beginnings, with the first epoch in which all of them learn."""
        for name, module in model.named_modules():
            if name and self._until(name) > 0:
                yield module, self._until(name)

    def apply(self, epoch: int) -> bool:
        """Freeze what does not learn in an epoch, counted from 0; every other part learns.

        Returns:
            Whether that is another set of parameters than before.
        """
        changed = False
        for parameter, end in self.parameters:
            learns = epoch >= end
            changed |= parameter.requires_grad != learns
            parameter.requires_grad_(learns)
        for module, end in self.modules:
            if epoch < end and module.training:
                module.training = False
        return changed


def fits(beginning: str, name: str) -> bool:
    """Whether a dotted name begins with another."""
    return name == beginning or name.startswith(beginning + ".")
