"""`cifarlab --help` answers at once: it loads nothing that is slow."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

SLOW = {"torch", "numpy", "scipy", "sklearn", "matplotlib", "pydantic", "PIL", "yaml", "safetensors"}

# Processor seconds, not time on the wall: other work on the machine does not count. 0.3 s is the aim on a quiet
# machine; the allowance is for slow ones. Importing PyTorch alone takes over a second.
LIMIT = 0.6
TRIES = 5

LIST_MODULES = """
import sys
sys.argv = ["cifarlab", "--help"]
from cifarlab.cli.main import main
try:
    main()
except SystemExit as left:
    assert not left.code, left.code
print("\\n" + " ".join(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def run_python(*arguments: str) -> tuple[str, float]:
    """Standard output and processor seconds of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "100"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    return done.stdout, (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def test_help_loads_nothing_slow() -> None:
    output, _ = run_python("-c", LIST_MODULES)
    assert "Usage" in output
    loaded = set(output.splitlines()[-1].split())
    assert "cifarlab" in loaded
    assert not (slow := loaded & SLOW), f"`cifarlab --help` imports {', '.join(sorted(slow))}: import it inside the command that needs it"


def test_import_of_the_package_loads_nothing_slow() -> None:
    output, _ = run_python("-c", "import sys, cifarlab; print(*{name.partition('.')[0] for name in sys.modules})")
    assert not (slow := set(output.split()) & SLOW), f"`import cifarlab` imports {', '.join(sorted(slow))}: use a lazy __getattr__"


def test_help_answers_in_time() -> None:
    seconds = []
    for _ in range(TRIES):
        output, used = run_python("-m", "cifarlab", "--help")
        assert "Usage" in output
        seconds.append(used)
        if used < LIMIT:
            return
    raise AssertionError(f"`cifarlab --help` took {min(seconds):.2f} s of processor time at best of {TRIES}; at most {LIMIT} s")
