import pytest
import torch

from nst_core.optimizers import Adam


@pytest.mark.parametrize("lr", [1e-3, 0.5])
def test_adam_follows_torch(lr: float) -> None:
    """A lane's trajectory is that of torch.optim.Adam on that image alone, in float64."""
    start = torch.rand(3, 3, 6, 5, dtype=torch.float64)
    target = torch.rand_like(start)
    alone = start[1:2].clone().requires_grad_()
    oracle = torch.optim.Adam([alone], lr=lr)
    lanes, optimizer = start.clone(), Adam()
    state = optimizer.init(lanes)
    lr_N = torch.tensor([9.0, lr, 0.1], dtype=torch.float64)
    for step in range(1, 40):
        oracle.zero_grad()
        (alone - target[1:2]).square().sum().backward()
        oracle.step()
        grad = 2 * (lanes - target)
        lanes, state = optimizer.update(
            lanes, grad, state, lr_N=lr_N, step_N=torch.full((3,), step)
        )
    torch.testing.assert_close(lanes[1:2], alone.detach(), rtol=1e-12, atol=1e-12)
