"""Training of the networks on synthetic CT, and checks of their weights on real CT."""

from trabecula_models.training.config import RefineConfig, Task, TrainConfig

__all__ = ["RefineConfig", "Task", "TrainConfig", "train"]


def train(config: TrainConfig | RefineConfig) -> None:
    """Train one network as `config` says (imports torch and monai only now)."""
    if isinstance(config, RefineConfig):
        from trabecula_models.training.refine import train_refine

        train_refine(config)
    else:
        from trabecula_models.training.loop import run_training

        run_training(config)
