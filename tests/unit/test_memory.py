"""How the daemon's process holds its memory, seen in a process of its own."""

import os
import subprocess
import sys

import pytest

N_THREADS = 8
PROGRAM = f"""
import sys, threading
from modemctl import memory
if sys.argv[1] == "shared":
    assert memory.share_heap()
start = threading.Barrier({N_THREADS})
kept = []
def work():
    start.wait()
    kept.extend(bytes(50_000) for _ in range(100))
    start.wait()
threads = [threading.Thread(target=work) for _ in range({N_THREADS})]
for one in threads:
    one.start()
for one in threads:
    one.join()
heaps = 0
for line in open("/proc/self/maps"):
    facts = line.split()
    is_heap = len(facts) == 5 and int(facts[0].split("-")[0], 16) % (64 << 20) == 0
    heaps += is_heap and facts[1].startswith("rw")
print(heaps)
"""


def n_heaps(how: str) -> int:
    """Heaps that the C library made beside the first one."""
    environment = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], check=True, capture_output=True, env=environment
    )
    return int(done.stdout)


@pytest.mark.skipif("glibc" not in os.confstr("CS_GNU_LIBC_VERSION"), reason="of the GNU C library")
def test_threads_share_two_heaps():
    assert n_heaps("shared") <= 1
    assert n_heaps("alone") >= N_THREADS / 2


CIRCLES = """
from collections import deque
from modemctl import memory
memory.settle()
class Circle:
    n = 0
    def __init__(self):
        self.me = self
        Circle.n += 1
    def __del__(self):
        Circle.n -= 1
kept, most = deque(maxlen=300_000), 0
for _ in range(1_500_000):
    kept.append(Circle())
    most = max(most, Circle.n)
print(most)
"""


def test_circles_that_lived_for_a_while_are_collected_before_they_are_many():
    done = subprocess.run([sys.executable, "-c", CIRCLES], check=True, capture_output=True)
    assert int(done.stdout) < 1_000_000, done.stdout
