"""Models of the library `transformers` in folders, as people have them."""

from pathlib import Path
from typing import Any

import torch


def saved(model: Any, folder: Path) -> Any:
    """The model in evaluation mode, written to a folder.

    Fresh biases are zero, and would hide one that is left out: all weights are moved a little.
    """
    model.eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model
