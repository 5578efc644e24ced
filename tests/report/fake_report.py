"""A made-up run: blobs whose place, size and colour follow made-up latents."""

import numpy as np

from jaxvae.report.data import ReportData

FACTORS = ("shape", "scale", "orientation", "x", "y")


def blobs(codes: np.ndarray, size: int = 64, channels: int = 1) -> np.ndarray:
    """Soft ellipses [n, size, size, channels]: codes [n, D] give x, y, scale, angle, squareness, as far as D goes."""
    x, y, scale, angle, square = (codes[:, d] if d < codes.shape[1] else np.zeros(len(codes)) for d in range(5))
    x, y, scale, angle, square = (v[:, None, None] for v in (x, y, scale, angle, square))
    grid = np.linspace(-1, 1, size)
    dx, dy = grid[None, None, :] - 0.28 * x, grid[None, :, None] - 0.28 * y
    u = (np.cos(angle) * dx + np.sin(angle) * dy) / (0.26 * np.exp(0.25 * scale))
    v = (np.cos(angle) * dy - np.sin(angle) * dx) / (0.15 * np.exp(0.25 * scale))
    power = 2 + 2 / (1 + np.exp(-2 * square))
    shape = 1 / (1 + np.exp(np.minimum(8 * (np.abs(u) ** power + np.abs(v) ** power - 1), 50)))
    tint = np.array([1.0, 0.75, 0.35])[:channels] if channels == 3 else np.ones(channels)
    return shape[..., None] * tint


def fake_report(
    *, latents: int = 10, num_images: int = 16, num_values: int = 11, size: int = 64, channels: int = 1, seed: int = 0
) -> ReportData:
    rng = np.random.default_rng(seed)
    used = min(latents, 5)
    codes = rng.normal(size=(num_images, used))
    kl = np.concatenate([rng.uniform(1.2, 3.6, used), rng.uniform(0, 0.04, latents - used)])[rng.permutation(latents)]
    order = np.argsort(-kl)
    values = np.linspace(-2, 2, num_values)
    swept = np.where(np.eye(latents)[:, None, :] > 0, values[None, :, None], 0.3).reshape(-1, latents)
    information = np.abs(rng.normal(scale=0.03, size=(latents, len(FACTORS))))
    entropy = np.log([3, 6, 40, 32, 32])
    carried = ("x", "y", "scale", "orientation", "shape")[:used]
    for place, name in enumerate(carried):
        k = FACTORS.index(name)
        information[order[place], k] = (0.86, 0.83, 0.61, 0.32, 0.18)[place] * entropy[k]
    share = np.sort(information / entropy, axis=0)
    gaps = share[-1] - (share[-2] if latents > 1 else 0)
    steps = np.arange(100, 20_001, 100)
    return ReportData(
        title="beta-tc-vae on sprites",
        summary={
            "method": "beta-tc-vae",
            "data": "sprites, 737,280 images of 64x64x1",
            "steps": "20,000 of 128 images",
            "seed": "0",
            "parameters": "505,109",
            "training time": "812 s",
            "speed": "24.6 steps/s",
        },
        about_data=(
            "White shapes on black: 3 shapes x 6 scales x 40 orientations x 32 x 32 positions. A square looks the same "
            "after a quarter turn and an ellipse after a half, so orientation is not one clean factor."
        ),
        images=np.round(blobs(codes, size, channels)),
        reconstructions=blobs(codes + 0.1 * rng.normal(size=codes.shape), size, channels),
        traversals=blobs(swept, size, channels).reshape(latents, num_values, size, size, channels),
        traversal_values=values,
        by_quantile=False,
        latent_order=order,
        latent_factor=(*carried, *[None] * (latents - used)),
        pictures={},
        map_correlation=None,
        spectra=None,
        cosines=None,
        of_columns=None,
        prior_samples=blobs(rng.normal(size=(32, used)), size, channels),
        kl_per_latent=kl,
        change_per_latent=None,
        mutual_information=information,
        factor_names=FACTORS,
        factor_entropy=entropy,
        scores={
            "mig": {
                "score": float(gaps.mean()),
                "definition": "discretised MIG, 20 equal-width bins per code",
                "per_factor": gaps.tolist(),
                "warnings": ["factors [2, 3, 4] take more values than the 20 bins can tell apart"],
            }
        },
        history=[_row(int(step), rng) for step in steps],
        config={
            "method": "beta-tc-vae",
            "data": "sprites",
            "steps": 20_000,
            "hyperparameters": {"learning_rate": 1e-3, "beta": 6.0, "schedule": {"warmup": None}},
        },
        reproduce="jaxvae train beta-tc-vae \\\n    --data sprites \\\n    --steps 20000",
        versions={"python": "3.11.7", "jaxvae": "0.1.0", "jax": "0.10.2"},
    )


def _row(step: int, rng: np.random.Generator) -> dict[str, float]:
    noise = 1 + 0.02 * rng.normal()
    reconstruction, kl = 45 * noise + 650 * np.exp(-step / 500), 14 * noise * (1 - np.exp(-step / 900))
    return {
        "step": step,
        "loss": reconstruction + kl,
        "reconstruction": reconstruction,
        "kl": kl,
        "mutual_information": 0.8 * kl,
        "total_correlation": 0.02 + 0.8 * np.exp(-step / 3000) * noise,
        "dimensionwise_kl": 0.15 * kl,
        "seconds": 4.0,
        "steps_per_second": 25.0,
    }
