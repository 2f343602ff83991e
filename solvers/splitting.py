"""Minimal splitting of equal flows over equal paths, as Ethereal does it (Addanki et al., arXiv 2407.00550).

n flows of f bytes over s paths: n - (n mod s) flows stay whole and are dealt round robin; each of the r = n mod s
that are left over is cut into k = s / gcd(r, s) equal pieces, dealt on. Every path then carries n f / s. A uniform cut
of the r flows into k' pieces balances exactly if s divides k' r, so k is the least such number.

Bytes are whole, so a piece has floor(f / k) or ceil(f / k) of them; which pieces get the larger share moves on from one
round of left-overs to the next, so that the paths of a batch differ by at most one byte through the cuts.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd


def pieces_per_leftover(flows: int, paths: int) -> int:
    """k: into how many pieces each left-over flow is cut; 1 if nothing is left over."""
    if flows < 0 or paths < 1:
        raise ValueError(f"{flows} flows over {paths} paths")
    left = flows % paths
    return paths // gcd(left, paths) if left else 1


def cut(size: int, pieces: int, turn: int = 0) -> list[int]:
    """``size`` bytes in ``pieces`` of floor or ceil bytes; ``turn`` moves the larger ones round robin."""
    least, more = divmod(size, pieces)
    if more == 0:
        return [least] * pieces
    shift = turn * more % pieces
    parts = [least + 1] * more + [least] * (pieces - more)
    return parts[pieces - shift :] + parts[: pieces - shift] if shift else parts


def split(sizes: Sequence[int], paths: int, first: int = 0) -> tuple[list[list[tuple[int, int]]], int]:
    """The minimal split of a batch of (nearly) equal flows: per flow its (bytes, path number), and the next number.

    ``first`` is the path number (mod ``paths``) that the dealing starts at. Pieces of 0 bytes (flows of fewer bytes
    than pieces) are left out.
    """
    number = len(sizes)
    pieces = pieces_per_leftover(number, paths)
    left = number % paths
    plan = [[(size, (first + turn) % paths)] for turn, size in enumerate(sizes[: number - left])]
    slot = first + number - left
    per_round = paths // pieces  # so many left-overs go once round all paths
    for turn, size in enumerate(sizes[number - left :]):
        parts = cut(size, pieces, turn // per_round)
        plan.append([(part, (slot + piece) % paths) for piece, part in enumerate(parts) if part])
        slot += pieces
    return plan, slot % paths


def equal_groups(sizes: Sequence[int]) -> list[list[int]]:
    """Positions of ``sizes`` in groups that count as equal, largest first, each group in descending size.

    Sizes count as equal if they differ by at most one byte: the chunks of a collective whose size its ranks do not
    divide do. The order of equal sizes is kept.
    """
    if len(set(sizes)) == 1:
        return [list(range(len(sizes)))]
    groups: list[list[int]] = []
    largest = -1
    for position in sorted(range(len(sizes)), key=lambda at: -sizes[at]):
        if not groups or sizes[position] < largest - 1:
            groups.append([])
            largest = sizes[position]
        groups[-1].append(position)
    return groups
