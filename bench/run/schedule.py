"""The learning rate of an iteration: a pure function of (iteration, last iteration).

A run that resumes has the rate that it would have had, and nothing carries state. `poly` is that of
DeepLab (Chen et al., "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets", TPAMI
2018, section 4.1: power 0.9); `cosine` falls along half a period to 0 (Loshchilov and Hutter,
"SGDR", ICLR 2017, equation 5, without restarts).
"""

import math

from bench.protocol import ProtocolConfig, Schedule


def rate_factor(protocol: ProtocolConfig, iteration: int, last: int) -> float:
    """Returns by what `protocol.lr` is multiplied for a weight update.

    Args:
        protocol: with `schedule`, `warm_up_iterations` and `poly_power`.
        iteration: how many updates were made before it; 0 is the first.
        last: how many updates the run makes in all, `max_iterations`.

    Returns:
        In (0, 1]: rising in equal steps to 1 during warm-up, then as the schedule says of the
        share of the remaining updates that has been made.
    """
    warm_up = protocol.warm_up_iterations
    if iteration < warm_up:
        return (iteration + 1) / warm_up
    if protocol.schedule == Schedule.constant:
        return 1.0
    left = 1 - (iteration - warm_up) / (last - warm_up)  # 1 at the end of warm-up, above 0
    if protocol.schedule == Schedule.poly:
        return float(left**protocol.poly_power)
    return (1 - math.cos(math.pi * left)) / 2
