"""Seeds derived from (seed, purpose, number), so that nothing depends on what ran before."""

import hashlib


def derive_seed(seed: int, purpose: str, number: int = 0) -> int:
    """Hashes (seed, purpose, number) to a 63-bit seed.

    A hash and not a sum: seed + iteration would give run 1 the random numbers of run 0 one
    iteration later.
    """
    text = f"{seed}/{purpose}/{number}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1
