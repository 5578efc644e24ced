"""The table of simulated poses of the page poses.md, for scripts: the same numbers, without pandas."""

import numpy as np

JOINTS = ["nose", "spine", "tail", "front.left", "front.right", "hind.left", "hind.right", "ear"]
REST = np.array([[1, 0], [-1.5, 0], [-3, 0], [0.3, -0.6], [0.3, -0.6], [-2, -0.6], [-2, -0.6], [0.4, 0.3]])
BEHAVIOURS = ["rest", "walk", "groom", "rear"]
FRAMES, WINDOW, ANIMALS = 5000, 25, 6


def pose(behaviour: str, t: float) -> np.ndarray:
    """Joints [8, 2] at t seconds."""
    joints = REST.copy()
    swing = 0.5 * np.sin(2 * np.pi * 2.5 * t)
    if behaviour == "walk":
        joints[3:7, 0] += [swing, -swing, -swing, swing]
    if behaviour == "groom":
        joints[[3, 4]] = joints[0] + [-0.3, -0.2] + 0.15 * np.sin(2 * np.pi * 6 * t)
    if behaviour == "rear":
        joints[[0, 3, 4, 7], 1] += 1.2
        joints[1, 1] += 0.4
    return joints


def recording(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Behaviour of each frame, and joints [FRAMES, 8, 2] with the noise of tracking and a size of the animal."""
    told: list[str] = []
    while len(told) < FRAMES:
        told += [rng.choice(BEHAVIOURS)] * rng.integers(75, 200)
    size = rng.normal(1, 0.05)
    joints = np.stack([pose(behaviour, frame / 25) for frame, behaviour in enumerate(told[:FRAMES])])
    return np.array(told[:FRAMES]), size * joints + 0.05 * rng.normal(size=joints.shape)


def pose_windows(seed: int = 0) -> dict[str, np.ndarray]:
    """Columns of 1,200 windows of one second: "animal", "behaviour", and place and motion of each joint."""
    rng = np.random.default_rng(seed)
    names = [f"{joint}_{what}" for joint in JOINTS for what in ("x", "y", "motion")]
    animals, behaviours, rows = [], [], []
    for animal in range(ANIMALS):
        told, joints = recording(rng)
        for first in range(0, FRAMES, WINDOW):
            window, here = joints[first : first + WINDOW], list(told[first : first + WINDOW])
            place, motion = window.mean(axis=0), np.log(window.std(axis=0).sum(axis=1))
            animals.append(f"animal {animal}")
            behaviours.append(max(BEHAVIOURS, key=here.count))
            rows.append(np.concatenate([place, motion[:, None]], axis=1).ravel())
    columns = dict(zip(names, np.stack(rows).T, strict=True))
    return {"animal": np.array(animals), "behaviour": np.array(behaviours), **columns}
