"""Where the tests keep their compiled programs."""

import hashlib
import os
from importlib.metadata import version
from pathlib import Path


def compilation_cache() -> Path:
    """A folder below the user's cache for this jaxlib, these flags and this kind of processor."""
    processor = Path("/proc/cpuinfo")
    lines = processor.read_text().splitlines() if processor.exists() else []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    key = "\n".join((version("jaxlib"), os.environ.get("XLA_FLAGS", ""), features))
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "jaxvae" / "tests" / hashlib.sha256(key.encode()).hexdigest()[:16]
