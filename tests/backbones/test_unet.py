"""Down and up again."""

import pytest
import torch

from polytask.backbones import UNetBackbone
from polytask.errors import ConfigError
from polytask.types import Features


@pytest.mark.parametrize(("stride", "size"), [(1, (13, 22)), (2, (6, 11)), (4, (3, 5))])
def test_features_come_out_at_the_stride_whatever_the_size(
    stride: int, size: tuple[int, int]
) -> None:
    network = UNetBackbone(3, widths=(4, 6, 8, 10), stride=stride)  # type: ignore[arg-type]
    out = network(Features(torch.randn(2, 3, 13, 22)))
    assert out.values.shape == (2, network.out_features, *size)
    assert network.widths == (network.out_features,) * 2


def test_what_is_small_reaches_the_output_by_the_shortcut_and_what_is_far_by_the_way_down() -> None:
    torch.manual_seed(0)
    network = UNetBackbone(1, widths=(4, 4, 4, 4), depth=1, activation="gelu").eval()
    picture = torch.randn(1, 1, 32, 32, requires_grad=True)
    network(Features(picture)).values[0, :, 16, 16].sum().backward()
    assert picture.grad is not None
    seen = picture.grad[0, 0].abs() > 0
    assert seen[16, 16] and seen[2:30].any(1).sum() > 16  # four 3x3 layers alone would see 9 rows


def test_every_parameter_learns() -> None:
    network = UNetBackbone(2, widths=(4, 6, 8))
    network(Features(torch.randn(2, 2, 8, 8))).values.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_pictures_that_are_too_small_and_strides_without_a_level_are_errors() -> None:
    with pytest.raises(ConfigError, match="too small for this network: 1x1"):
        UNetBackbone(3, widths=(4, 4, 4))(Features(torch.randn(1, 3, 2, 2)))
    with pytest.raises(ConfigError, match="more than 2 entries for a stride of 4"):
        UNetBackbone(3, widths=(4, 4), stride=4)
