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

# The same under today's protocol: AdamW, poly with warm-up, crops and colours.
TINY_MODERN = [
    *(word for word in TINY if word != "protocol=demo"),
    "protocol=modern_short",
    "protocol.augmentation.crop=[32,48]",
    "protocol.validation.every=1",
    "protocol.warm_up_iterations=1",
    "max_iterations=2",
]
