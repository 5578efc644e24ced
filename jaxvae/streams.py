"""Streams of random numbers: integers that are folded into a key, so that different uses draw different numbers.

All randomness of a run follows from its seed, the step, and the stream. The key of a step is
`fold_in(fold_in(key(seed), step), stream)`, where objective i has stream i + 1; within a batch, the place of an example
is folded in last. Streams that are never folded into the same key may share a number.
"""

from enum import IntEnum


class Stream(IntEnum):
    """A name for each stream."""

    BATCH = 0
    """Batch of a step."""
    ORDER = 2**32 - 1
    """Order of the examples in an epoch."""
    PAIR = 2**32 - 1
    """Second image of a pair, and which factors the two share."""
    GROUP = 2**32 - 1
    """Factors that a group shares."""
    SHARED_CODE = 2**32 - 1
    """Noise of the code that a group shares."""
    VARIANT = 2**32 - 1
    """Colour, noise or background of an image."""
    CLIP = 2**32 - 1
    """Motion of a clip."""
    PRIOR = 2**32 - 1
    """Draws of a prior that a batch is compared with."""
    LABELLED = 2**32 - 2
    """Labelled batch of a step."""
    COPY = 2**32 - 3
    """Alterations of a copy of an image."""
    CONTROL = 2**32 - 3
    """Controls of a step."""
    DROPOUT = 2**32 - 4
    """Hidden units that are set to 0 in a step."""
    LATENT_PAIRS = 2**32 - 5
    """Pairs of latents whose support is compared in a step."""
    CORRELATION = 2**32 - 6
    """Values of correlated factors."""
    CONSTRAINT = 2**32 - 7
    """Further images of a constraint."""
    EVALUATION = 0x6576616C
    """Examples that a run is scored on."""
    VALIDATION = 0x76616C69
    """Batches and noise of the validations during training."""
