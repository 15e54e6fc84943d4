"""The overrides of a run that takes a few seconds: tiny scenes, a tiny network."""

TINY = [
    "arch=segnet_basic",
    "arch.width=4",
    "dataset=synthetic",
    "protocol=demo",
    "dataset.reader.counts={train: 12, val: 4, test: 5}",
    "dataset.reader.size=[40, 56]",
    "protocol.image_size=[32, 48]",
    "protocol.precision=fp32",
    "max_iterations=6",
    "threads=1",
]
