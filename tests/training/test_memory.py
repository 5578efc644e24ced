"""What is freed stays with the process, in a process of its own, as the setting can't be taken back."""

import subprocess
import sys

import jax
import pytest

from jaxvae.training import tune_allocator

FAULTS_OF_REUSE = """
import resource
from jaxvae.training import tune_allocator

if {keep}:
    assert tune_allocator()

def use():
    b"x" * (50 * 2**20)

use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="a setting of the GNU allocator")
def test_memory_is_used_again_without_page_faults():
    faults = {}
    for keep in (True, False):
        program = [sys.executable, "-c", FAULTS_OF_REUSE.format(keep=keep)]
        faults[keep] = int(subprocess.run(program, capture_output=True, text=True, check=True).stdout)
    assert faults[True] < 100 < 2000 < faults[False]


@pytest.mark.parametrize("missing", ["platform", "function"])
def test_other_systems_are_left_alone(missing, monkeypatch):
    if missing == "platform":
        monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    before = jax.config.read("jax_cpu_enable_async_dispatch")
    assert tune_allocator() is False
    assert jax.config.read("jax_cpu_enable_async_dispatch") == before
