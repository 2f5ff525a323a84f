"""Training: the loop, its checkpoints, and a run from recipe to weights on disk."""

from cifarlab.training.environment import describe_environment
from cifarlab.training.loop import Listener, State, fit
from cifarlab.training.memory import keep_freed_memory
from cifarlab.training.session import PreemptedError, refuse_other_data, resume_run, train_run

__all__ = [
    "Listener",
    "PreemptedError",
    "State",
    "describe_environment",
    "fit",
    "keep_freed_memory",
    "refuse_other_data",
    "resume_run",
    "train_run",
]
