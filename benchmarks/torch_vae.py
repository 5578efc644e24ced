"""The VAEs of the benchmark in PyTorch: networks, loss and Adam. It needs torch and numpy only."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional

CONVOLUTIONS = {
    "conv": ((32, 4), (32, 4), (64, 2), (64, 2)),
    "burgess": ((32, 4),) * 4,
}
"""(channels, kernel) of the encoder's layers."""
TRANSPOSED = {"conv": (64, 32, 32), "burgess": (32, 32, 32)}
DENSE = {"conv": (256,), "burgess": (256, 256)}
LATENTS, SIDE, BETA = 10, 64, 4.0


def networks(name: str) -> tuple[nn.Module, nn.Module]:
    """Encoder: [B, 1, 64, 64] -> [B, 20]; decoder: [B, 10] -> [B, 4096] logits in any shape."""
    if name == "mlp":
        encoder = nn.Sequential(nn.Flatten(), *_dense((SIDE**2, 1200, 1200), nn.ReLU), nn.Linear(1200, 2 * LATENTS))
        return encoder, nn.Sequential(*_dense((LATENTS, 1200, 1200, 1200), nn.Tanh), nn.Linear(1200, SIDE**2))
    channels, layers = 1, []
    for features, kernel in CONVOLUTIONS[name]:
        layers += [nn.Conv2d(channels, features, kernel, 2, kernel // 2 - 1 if kernel == 4 else 0), nn.ReLU()]
        channels = features
    widths = (16 * channels, *DENSE[name])
    encoder = nn.Sequential(*layers, nn.Flatten(), *_dense(widths, nn.ReLU), nn.Linear(widths[-1], 2 * LATENTS))
    layers = [*_dense((LATENTS, *DENSE[name], 16 * channels), nn.ReLU), nn.Unflatten(1, (channels, 4, 4))]
    for features in TRANSPOSED[name]:
        layers += [nn.ConvTranspose2d(channels, features, 4, 2, 1), nn.ReLU()]
        channels = features
    return encoder, nn.Sequential(*layers, nn.ConvTranspose2d(channels, 1, 4, 2, 1))


class BetaVAE(nn.Module):
    """Bernoulli likelihood; the loss is the module's result."""

    def __init__(self, name: str):
        super().__init__()
        self.encoder, self.decoder = networks(name)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Images [B, 1, 64, 64] -> mean loss of the batch."""
        mean, logvar = self.encoder(image).chunk(2, dim=1)
        z = mean + torch.exp(logvar / 2) * torch.randn_like(mean)
        logits = self.decoder(z).flatten(1)
        nll = functional.binary_cross_entropy_with_logits(logits, image.flatten(1), reduction="sum") / len(image)
        kl = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).sum(1).mean()
        return nll + BETA * kl


def training(
    name: str, images: np.ndarray, form: str, threads: int, device: str = "cpu", precision: str = "float32"
) -> Callable[[int], None]:
    """`run(n)` does n updates. Form: "eager", "tuned" or "compiled". Precision: "float32", "TF32" or "bfloat16"."""
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision != "float32"
    model = BetaVAE(name).to(device)
    image = torch.tensor(images).to(device)
    if form != "eager" and name != "mlp":
        model = model.to(memory_format=torch.channels_last)
        image = image.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=form != "eager")
    loss_of = torch.compile(model) if form == "compiled" else model

    def run(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
                loss = loss_of(image)
            loss.backward()
            optimizer.step()
        if device != "cpu":
            torch.cuda.synchronize()

    return run


def _dense(widths: tuple[int, ...], activation: Callable[[], nn.Module]) -> list[nn.Module]:
    return [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), activation())]
