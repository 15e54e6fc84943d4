"""Sending a run's numbers to Weights & Biases: an option whose failure never ends a run."""

from pathlib import Path

from bench.config import Config, WandbMode
from bench.run.monitor import Monitor
from bench.typed import plain


def attach_wandb(monitor: Monitor, config: Config, identity: str, folder: Path) -> None:
    """Has the monitor send what it measures to wandb, if the configuration asks for it."""
    mode = config.wandb.mode
    if mode == WandbMode.disabled:
        return
    import wandb  # noqa: PLC0415 - half a second, for those who use it

    failures = (wandb.errors.Error, OSError)

    def send(iteration: int, values: dict[str, float]) -> None:
        try:
            run.log(values, step=iteration)
        except failures as error:
            monitor.listeners.remove(send)
            monitor.notice(f"wandb is left out from here on: {error}")

    try:
        run = wandb.init(
            project=config.wandb.project,
            mode="offline" if mode == WandbMode.offline else "online",
            id=identity,  # a resumed run goes on in the same place
            name=folder.name,
            resume="allow",
            config=plain(config),
            dir=folder,
            settings=wandb.Settings(console="off", silent=True),
        )
    except failures as error:
        monitor.notice(f"wandb is left out: {error}")
        return
    monitor.listeners.append(send)
