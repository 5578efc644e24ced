"""Every fault of `tests.faults_in_code` can be put into the code as it is."""

import pytest

from tests.faults_in_code import FAULTS, ROOT


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.kind}, {fault.file}")
def test_a_fault_has_its_place(fault):
    assert (ROOT / "jaxvae" / fault.file).read_text().count(fault.old) == 1
    assert all((ROOT / test).exists() for test in fault.first if "/" in test)
