"""Training: the loop, its checkpoints, and a run from recipe to weights on disk."""

from cifarlab.training.loop import Listener, State, fit
from cifarlab.training.session import Preempted, resume_run, train_run

__all__ = ["Listener", "Preempted", "State", "fit", "resume_run", "train_run"]
