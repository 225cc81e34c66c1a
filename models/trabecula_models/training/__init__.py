"""Training of both networks on synthetic CT, and checks of their weights on real CT."""

from trabecula_models.training.config import Task, TrainConfig

__all__ = ["Task", "TrainConfig", "train"]


def train(config: TrainConfig) -> None:
    """Train one network as `config` says (imports torch and monai only now)."""
    from trabecula_models.training.loop import run_training

    run_training(config)
