"""The device and the arithmetic that a configuration asks for."""

import os

import torch

from bench.config import Config
from bench.run import distributed


def has_fast_bf16() -> bool:
    """Says whether this CPU's convolutions compute in bfloat16, which takes AVX-512 on x86."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def prepare_device(config: Config) -> torch.device:
    """Sets threads, TF32, cuDNN's search and determinism for this process; returns the device.

    Raises:
        ValueError: the device does not exist here.
    """
    device, protocol = _device(config.device), config.protocol
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    elif distributed.local_size() > 1:
        torch.set_num_threads(max(1, torch.get_num_threads() // distributed.local_size()))
    tf32 = protocol.precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    # What cuDNN's search finds may differ each time.
    torch.backends.cudnn.benchmark = not protocol.deterministic
    if protocol.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
        torch.use_deterministic_algorithms(True)
        # Every operation here writes all of its result: nobody reads what was there before, and
        # filling it took as many launches as all else in a training step.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return device


def _device(name: str) -> torch.device:
    """Returns the device of a name, the current one from then on.

    Raises:
        ValueError: it does not exist here, or several processes would share it.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    processes = distributed.local_size()
    if name.startswith("cuda:") and processes > 1:
        raise ValueError(f"device={name} would be that of {processes} processes; give device=cuda")
    if name == "cuda":  # torch.cuda.set_device refuses a device without an index
        if torch.cuda.is_available() and processes > torch.cuda.device_count():
            raise ValueError(
                f"{processes} processes need as many GPUs and torch finds "
                f"{torch.cuda.device_count()}; lower processes or give device=cpu"
            )
        name = f"cuda:{distributed.local_rank()}"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
        if device.type == "cuda":
            torch.cuda.set_device(device)  # where streams, events and peaks are looked for
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device={name} cannot be used here ({reason}); try device=cpu") from error
    return device
