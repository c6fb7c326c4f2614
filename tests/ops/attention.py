"""Softmax attention written apart: plain Python integers, and float64 from the text books."""

import numpy as np

POWERS = [round(2 ** (15 + f / 256)) for f in range(256)]


def up(x: int, s: int) -> int:
    """Round x / 2^s half up."""
    return (x + (1 << s) // 2) // (1 << s)


def places(op, position: int, newest: int, n: int) -> list[tuple[int, int] | None]:
    """Return for each place of the ring its position's distance, None where it is not seen."""
    held = {j % n: j for j in range(max(newest - n + 1, 0), newest + 1)}
    pairs = list(zip(op.blocks[::2], op.blocks[1::2], strict=True))
    found = []
    for c in range(n):
        j = held.get(c)
        seen = j is not None and abs(position - j) < op.window
        seen = seen and abs(position - j) % op.dilation == 0
        seen = seen and (j <= position or not op.causal)
        seen = seen and (not pairs or (position // op.tile, j // op.tile) in pairs)
        found.append(abs(position - j) if seen else None)
    return found


def softmax(op, q, keys, values, position, scale, shift, *rest):
    """Follow the glossary of `attend`, one head and one key after the other."""
    rest = list(rest)
    slopes = rest.pop(0) if op.alibi else [0] * len(q)
    newest = position if op.causal else rest.pop(0)
    share = len(q) // len(keys[0])
    seen = places(op, position, newest, len(keys))
    rows = []
    for h, vector in enumerate(q):
        g = h // share
        top, total, mean = None, 0, [0] * len(values[0][0])
        for start in range(0, len(keys), op.tile):
            inside = range(start, min(start + op.tile, len(keys)))
            found = []
            for c in (c for c in inside if seen[c] is not None):
                s = sum(a * b for a, b in zip(vector, keys[c][g], strict=True))
                found.append((c, up(s * scale[h] - slopes[h] * seen[c], shift[h])))
            if not found:
                continue
            new = max(t // 256 for _, t in found)
            new = new if top is None else max(top, new)
            rise = 0 if top is None else new - top
            total, mean, top = up(total, rise), [up(m, rise) for m in mean], new
            for c, t in found:
                w = up(POWERS[t % 256] << 8, new - t // 256)
                total += w
                mean = [m + w * v for m, v in zip(mean, values[c][g], strict=True)]
        rows.append([*mean, total])
    return rows


def real(q, k, v, weight):
    """Return softmax attention in float64; q [H,D], k, v [L,G,D], weight: octaves per score."""
    share = q.shape[0] // k.shape[1]
    wide = [np.repeat(x.astype(np.float64), share, axis=1) for x in (k, v)]
    scores = np.einsum("hd,lhd->hl", q, wide[0]) * weight
    p = np.exp2(scores - scores.max(axis=1, keepdims=True))
    return np.einsum("hl,lhd->hd", p / p.sum(axis=1, keepdims=True), wide[1])
