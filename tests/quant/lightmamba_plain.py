"""One block of LightMamba's released graph in plain numpy, written from its equations alone.

Source of the equations: PKU-SEC-Lab/LightMamba, `mamba_cpp/layers.h`, as tabulated in the notes on
it: groups of 8, truncating shifts, tables by index. Nothing of the project is imported. Where the
release asserts that a value fits (32 bits; 26 before a sum of squares), this saturates.
"""

import math

import numpy as np

LIMIT = 2**31


def saturated(x, limit=LIMIT):
    return np.clip(x, -limit, limit - 1)


def quant(x, bits):
    """Return codes and the shift of each code; groups of 8 of the last axis."""
    codes, shifts = np.empty_like(x), np.empty_like(x)
    flat, q, s_of = (a.reshape(-1, x.shape[-1]) for a in (x, codes, shifts))
    for r in range(flat.shape[0]):
        for first in range(0, x.shape[-1], 8):
            part = flat[r, first : first + 8]
            m = max(abs(int(v)) for v in part)
            if m >= 1:
                m -= 1
            s = min(max(m.bit_length() - (bits - 1), 0), 15)
            for k, v in enumerate(part):
                v = int(v)
                if s != 0:
                    v = ((v >> (s - 1)) + 1) >> 1
                q[r, first + k] = min(max(v, -(2 ** (bits - 1))), 2 ** (bits - 1) - 1)
                s_of[r, first + k] = s
    return codes, shifts


def table(f, out_frac, start, step):
    """Return 4096 codes and 32 shifts of a look-up over LSBs of 2^-10."""
    codes, shifts = [], []
    for span in range(32):
        edges = [(start + (span * 128 + k) * step) / 1024 for k in range(128)]
        real = [f(v) * 2**out_frac for v in edges]
        s = 0
        while s < 15 and max(abs(round(v / 2**s)) for v in real) > 127:
            s += 1
        shifts.append(s)
        codes += [min(max(round(v / 2**s), -128), 127) for v in real]
    return codes, shifts


SILU = table(lambda v: v / (1 + math.exp(-v)), 10, -25600, 32)
SOFTPLUS = table(lambda v: math.log1p(math.exp(v)) if v <= 20 else v, 10, -25600, 16)
EXP = table(math.exp, 6, -20480, 8)


def look_up(x, tables, offset, log2_step, log2_span):
    codes, shifts = tables
    found = []
    for v in x.reshape(-1).tolist():
        i = min(max((v + offset) >> log2_step, 0), 4095)
        j = min(max((v + offset) >> log2_span, 0), 31)
        found.append(codes[i] << shifts[j])
    return np.array(found).reshape(x.shape)


def rms(x, weight, lo, unit, frac, published_size):
    """Normalise by the 8 tables of 512; the segments keep the mean squares of the released size."""
    size = x.shape[-1]
    x = np.clip(x, -(2**25) + 1, 2**25 - 1)
    bounds = [lo] + [lo + unit * 8**k for k in range(1, 9)]
    bounds = [b * size / published_size for b in bounds]
    total = sum(int(v) ** 2 for v in x)
    alphas = [math.floor(b * 4**frac) for b in bounds]
    i = max([k for k in range(8) if total >= alphas[k]], default=0)
    denom = math.floor(math.log2((alphas[i + 1] - alphas[i]) / 512)) + 1
    index = min(max((total - alphas[i]) >> denom, 0), 511)
    first = math.sqrt(size / bounds[i]) * 4096
    offset = 0
    while round(first / 2**offset) > 255:
        offset += 1
    edge = bounds[i] + index * 2**denom / 4**frac
    rs = round(math.sqrt(size / edge) * 4096 / 2**offset) << offset
    return np.array([((int(v) * rs >> 12) * int(w)) >> 8 for v, w in zip(x, weight, strict=True)])


def projected(x, codes, two, down):
    """Multiply by 4-bit weights whose scale per row and 128 columns is 2^s1 + 2^s2."""
    q, s = quant(x, 4)
    rows, k = codes.shape
    found = []
    for r in range(rows):
        acc = 0
        for c in range(k):
            acc += int(q[c]) * int(codes[r, c]) * int(two[r, c // 128]) << int(s[c])
        found.append(acc >> down)
    return q, s, saturated(np.array(found))


def product(a, s, b, t, down):
    """Multiply codes, shift by both scales, truncate."""
    a, s, b, t = np.broadcast_arrays(a, s, b, t)
    return saturated((a * b << (s + t)) >> down)


def block(r, w, state, sizes):
    """Return every intermediate of one token; `state` is updated in place."""
    inner, n, heads = sizes
    per = inner // heads
    v = {}
    v["norm"] = rms(r, w["norm"], 1e-4, 1.2, 10, 2560)
    v["in_proj.q"], _, zxbcdt = projected(v["norm"], w["in_codes"], w["in_two"], 10)
    z, xbc, dt = np.split(zxbcdt, [inner, 2 * inner + 2 * n])
    v["in_proj"] = zxbcdt
    q, s = quant(xbc, 8)
    state["conv"] = np.concatenate([state["conv"][1:], q[None]])
    state["conv_s"] = np.concatenate([state["conv_s"][1:], s[None]])
    acc = w["conv_b"] << w["conv_bs"]
    for d in range(4):
        acc = acc + (state["conv"][d] * w["conv_w"][d] << (state["conv_s"][d] + w["conv_ws"][d]))
    v["conv_in.q"], v["conv_in.s"] = q, s
    v["conv"] = saturated(acc >> 10)
    v["act"] = look_up(np.concatenate([v["conv"], z]), SILU, 25600, 5, 12)
    q, s = quant(v["act"], 8)
    x, b, c, gate = np.split(q, [inner, inner + n, inner + 2 * n])
    xs, bs, cs, gs = np.split(s, [inner, inner + n, inner + 2 * n])
    v["act.q"] = q
    v["dt_raw"] = saturated(dt + (w["dt_b"] << w["dt_bs"]))
    v["dt"] = look_up(v["dt_raw"], SOFTPLUS, 25600, 4, 11)
    dt, dts = v["dt.q"], v["dt.s"] = quant(v["dt"], 8)
    v["dA_log"] = product(dt, dts, w["a"], w["a_s"], 10)
    v["dA"] = look_up(v["dA_log"], EXP, 20480, 3, 10)
    da, das = v["dA.q"], v["dA.s"] = quant(v["dA"], 8)
    v["dB"] = product(dt[None], dts[None], b[:, None], bs[:, None], 0)
    db, dbs = v["dB.q"], v["dB.s"] = quant(v["dB"], 8)
    head = np.arange(inner) // per
    v["dBx"] = product(db[:, head], dbs[:, head], x[None], xs[None], 11)
    v["xD"] = product(x, xs, w["d"][head], w["d_s"][head], 8)
    v["dAh"] = product(da[head][None], das[head][None], state["h"], state["h_s"], 6)
    v["h"] = saturated(v["dAh"] + v["dBx"])
    state["h"], state["h_s"] = v["h1.q"], v["h1.s"] = quant(v["h"], 8)
    h2, h2s = quant(v["h"].T.copy(), 8)
    v["htC"] = saturated((h2 * c << (h2s + cs)).sum(axis=1) >> 17)
    v["y"] = saturated(v["htC"] + v["xD"])
    y, ys = quant(v["y"], 8)
    v["y8.q"] = y
    v["gated"] = product(y, ys, gate, gs, 10)
    v["gated_norm"] = rms(v["gated"], w["gated_norm"], 0.1, 1.0, 12, 5120)
    out_in = v["gated_norm"]
    if "hadamard" in w:
        out_in = v["out_in32"] = saturated((w["hadamard"] @ out_in) >> w["hadamard_shift"])
    v["out_proj.q"], _, v["out_proj"] = projected(out_in, w["out_codes"], w["out_two"], 12)
    v["residual_out"] = saturated(r + v["out_proj"])
    return v
