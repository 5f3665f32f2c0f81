"""A widened network does what the narrow one does, and its copies learn different things."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from derain_ros.nets import widen as widen_module  # noqa: E402
from derain_ros.nets.fast import STRIDE, FastRestorer  # noqa: E402
from derain_ros.nets.widen import widen  # noqa: E402


@pytest.fixture
def narrow() -> FastRestorer:
    torch.manual_seed(0)
    net = FastRestorer(3, 16, 2)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return net


@pytest.mark.parametrize(("width", "blocks"), [(32, 2), (48, 3)])
def test_it_begins_as_the_narrow_one(narrow: FastRestorer, width: int, blocks: int,
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(widen_module, "NOISE", 0.0)
    wide = FastRestorer(3, width, blocks)
    widen(wide, narrow.state_dict())
    image = torch.rand(1, 3, STRIDE, 2 * STRIDE)
    for ours, theirs in zip(wide(image), narrow(image), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_copies_are_not_alike(narrow: FastRestorer) -> None:
    wide = FastRestorer(3, 32, 2)
    widen(wide, narrow.state_dict())
    first, second = wide.stem.weight.detach().split(8)
    assert not torch.equal(first, second) and (first - second).std() < 0.2 * first.std()


def test_what_does_not_fit_is_told(narrow: FastRestorer) -> None:
    with pytest.raises(ValueError, match="24 wide for 3 channels cannot begin as one 16 wide"):
        widen(FastRestorer(3, 24, 2), narrow.state_dict())
    with pytest.raises(ValueError, match="for 1 channels"):
        widen(FastRestorer(1, 32, 2), narrow.state_dict())
