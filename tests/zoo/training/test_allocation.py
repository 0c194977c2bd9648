"""Freed memory is kept, in a process of its own: the setting cannot be taken back."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from pvae_zoo.training.allocation import keep_freed_memory
keep = sys.argv[1] == "keep"
assert not keep or keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(64 << 20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_a_freed_block_costs_no_page_faults_the_second_time():
    def faults(word):
        done = subprocess.run([sys.executable, "-c", PROGRAM, word], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    assert faults("keep") < 10 < faults("leave")
