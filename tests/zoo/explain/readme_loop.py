"""Samples, scores and completes with the graphs of a bundle: written from a bundle's README and nothing else.

    python readme_loop.py FOLDER IN.npz OUT.npz

IN has `images` (N, C, H, W), `keep` (H, W), `seed`, `samples` and `candidates`; OUT gets what became of them.
"""

import hashlib
import json
import math
import sys

import numpy as np
import onnxruntime as ort

LOG_2PI = math.log(2 * math.pi)


class Bundle:
    def __init__(self, folder):
        self.folder, self.sessions = folder, {}
        with open(f"{folder}/config.json", encoding="utf-8") as file:
            self.config = json.load(file)
        self.shapes = {z["name"]: z["shape"] for z in self.config["latents"]}
        self.two = len(self.shapes) == 2
        image = self.config["image"]
        self.chw, self.levels = (image["channels"], image["height"], image["width"]), image["levels"]

    def run(self, role, **feed):
        if role not in self.sessions:
            self.sessions[role] = ort.InferenceSession(f"{self.folder}/{role}.onnx", providers=["CPUExecutionProvider"])
        session = self.sessions[role]
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, feed), strict=True))


# ---- Noise ----


def words(seed, image, stage, count):
    key, counter = np.array([seed, image], np.uint64), np.array([0, 0, stage, 0], np.uint64)
    return np.random.Philox(key=key, counter=counter).random_raw(count)


def uniforms(seed, image, stage, shape):
    count = math.prod(shape)
    return ((words(seed, image, stage, count) >> np.uint64(40)) * 2.0**-24).astype(np.float32).reshape(shape)


def normals(seed, image, stage, shape):
    count = math.prod(shape)
    pairs = (words(seed, image, stage, count + count % 2) >> np.uint64(11)).reshape(-1, 2) * 2.0**-53
    radius, angle = np.sqrt(-2 * np.log1p(-pairs[:, 0])), 2 * np.pi * pairs[:, 1]
    both = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).ravel()
    return both[:count].astype(np.float32).reshape(shape)


# ---- Positions, Drawing a grid ----


def draw(b, role, context, values, constants, wanted, fixed=None):
    step = b.config["steps"][role]
    g, count, rows = step["geometry"], len(context), step["context"]["rows"]
    height, width = step["height"], step["width"]
    canvases = {
        c["name"]: np.zeros((count * g["rows_per_image"] + 1, c["channels"]), np.float32) for c in step["canvases"]
    }
    drawn = np.zeros((count, step["channels"], height, width), np.float32)
    for t in range(width + g["slope"] * (height - 1)):
        at = [(i, y, t - g["slope"] * y) for i in range(count) for y in range(height)]
        at = np.array([(i, y, x) for i, y, x in at if 0 <= x < width], np.int64).reshape(-1, 3)
        if not len(at):
            continue
        i, y, x = at.T
        positions = i * g["rows_per_image"] + (y + g["top"]) * g["stride"] + g["left"] + x
        outputs = b.run(
            role,
            positions=positions,
            context_rows=i * rows + (y * width + x if rows > 1 else 0),
            context=context.reshape(count * rows, -1),
            **{name: np.ascontiguousarray(value[i, :, y, x]) for name, value in values.items()},
            **constants,
            **canvases,
        )
        found = outputs[wanted].astype(np.float32)
        canvases = {name: outputs[f"{name}_next"] for name in canvases}
        if fixed is not None:
            wished, where = fixed[0][i, :, y, x], fixed[1][i, :, y, x]
            found = np.where(where, wished, found)
            first = canvases[step["canvases"][0]["name"]]
            first[positions] = found
        drawn[i, :, y, x] = found
    return drawn


def pixels(b, z1, i, seed, given, temperature=1.0):
    context = b.run("decoder_context", z1=z1)["context"]
    values = {"uniforms": uniforms(seed, i, 0, (1, *b.chw)), "given": given[None].astype(np.int64)}
    constants = {"temperature": np.array([temperature], np.float32)}
    return draw(b, "decoder_step", context, values, constants, "pixels")[0].astype(np.uint8)


# ---- Sampling ----


def sample(b, i, seed, temperature=1.0, s=1.0):
    s, shape = np.float32(s), (1, *b.shapes["z1"])
    noise = s * normals(seed, i, 1, shape)
    if b.two:
        context = b.run("prior_context", z2=s * normals(seed, i, 2, (1, *b.shapes["z2"])))["context"]
        z1 = draw(b, "prior_step", context, {"noise": noise}, {}, "z1")
    else:
        z1 = b.run("prior", z1_noise=noise)["z1"]
    return pixels(b, z1, i, seed, np.full(b.chw, -1), temperature)


# ---- Scoring ----


def total(values):
    return values.astype(np.float64).reshape(len(values), -1).sum(axis=1)


def log_normal(d, s):
    d, s = np.broadcast_arrays(d.astype(np.float64), s.astype(np.float64))
    return -((d * np.exp(-s)) ** 2) / 2 - s - LOG_2PI / 2


def log_prob(b, image, z1):
    context = b.run("decoder_context", z1=z1)["context"]
    return b.run("decoder", image=np.repeat(image[None], len(z1), axis=0), context=context)["log_prob"]


def score(b, image, samples, seed):
    key = int.from_bytes(hashlib.sha256(image.tobytes()).digest()[:8], "little")
    q = b.run("encoder", image=image[None])
    mean = {z: q[f"{z}_mean"] for z in b.shapes}
    std = {z: q[f"{z}_log_std"] for z in b.shapes}
    e = {z: normals(seed, key, 1025 + level, (samples, *b.shapes[z])) for level, z in enumerate(b.shapes)}
    z = {name: mean[name] + np.exp(std[name]) * e[name] for name in b.shapes}
    likelihood = total(log_prob(b, image, z["z1"]))
    top = "z2" if b.two else "z1"
    kl = [total((mean[top] ** 2 + np.exp(2 * std[top].astype(np.float64)) - 1) / 2 - std[top])[0]]
    log_p = total(log_normal(z[top], np.zeros(1)))
    if b.two:
        p = b.run("prior", z1=z["z1"], context=b.run("prior_context", z2=z["z2"])["context"])
        m, s, s1 = p["prior_mean"], p["prior_log_std"].astype(np.float64), std["z1"].astype(np.float64)
        kl1 = s - s1 + (np.exp(2 * s1 - 2 * s) + (mean["z1"] - m) ** 2 * np.exp(-2 * s) - 1) / 2
        kl = [total(kl1).mean(), *kl]
        log_p = log_p + total(log_normal(z["z1"] - m, s))
    log_q = sum(total(log_normal(z[name] - mean[name], std[name])) for name in b.shapes)
    bound = -likelihood.mean() + sum(kl)
    iwae = -np.log(np.mean(np.exp((w := likelihood + log_p - log_q) - w.max()))) - w.max()
    return bound, iwae, bound / (math.prod(b.chw) * math.log(2))


# ---- Completing ----


def pick(w, seed, i):
    sums = np.cumsum(np.exp(w - w.max()))
    return int(np.argmax(sums > uniforms(seed, i, 2048, (1,))[0] * sums[-1]))


def complete(b, image, keep, i, seed, candidates):
    z1 = (completed_z1 if b.two else resampled_z1)(b, image, keep, i, seed, candidates)
    return pixels(b, z1, i, seed, np.where(keep, image.astype(np.int64), -1))


def resampled_z1(b, image, keep, i, seed, candidates):
    x, h = np.where(keep, image, 0).astype(np.uint8), candidates // 2
    q = b.run("encoder", image=x[None])
    m, s = q["z1_mean"], q["z1_log_std"]
    shape = (h, *b.shapes["z1"])
    z1 = np.concatenate([normals(seed, i, 1, shape), m + np.exp(s) * normals(seed, i, 1025, shape)])
    kept = total(np.where(keep, log_prob(b, x, z1), 0))
    log_p, log_q = total(log_normal(z1, np.zeros(1))), total(log_normal(z1 - m, s))
    k = pick(kept + log_p - np.logaddexp(log_p, log_q), seed, i)
    return z1[k : k + 1]


def completed_z1(b, image, keep, i, seed, candidates):
    x = fill(b, image, keep)
    q = b.run("encoder", image=x[None])
    one, two = (1, *b.shapes["z1"]), (1, *b.shapes["z2"])
    held = q["z1_mean"] + np.exp(q["z1_log_std"]) * normals(seed, i, 1025, one)
    z2 = q["z2_mean"] + np.exp(q["z2_log_std"]) * normals(seed, i, 1026, two)
    if not keep.any():
        z2 = normals(seed, i, 2, two)
    whole = np.zeros(one, bool)
    sides = [
        next(2**p for p in range(20) if places * 2**p >= side) for places, side in zip(one[2:], keep.shape, strict=True)
    ]
    for row in range(one[2]):
        for column in range(one[3]):
            top, left = row * sides[0], column * sides[1]
            whole[:, :, row, column] = keep[top : top + sides[0], left : left + sides[1]].all()
    noise = normals(seed, i, 1, (candidates, *one[1:]))
    context = np.repeat(b.run("prior_context", z2=z2)["context"], candidates, axis=0)
    fixed = [np.repeat(each, candidates, axis=0) for each in (held, whole)]
    z1 = draw(b, "prior_step", context, {"noise": noise}, {}, "z1", fixed)
    p = b.run("prior", z1=z1, context=context)
    prior = np.where(whole, log_normal(z1 - p["prior_mean"], p["prior_log_std"]), 0)
    k = pick(total(np.where(keep, log_prob(b, x, z1), 0)) + total(prior), seed, i)
    return z1[k : k + 1]


def fill(b, image, keep):
    grey = (b.levels - 1) / 2
    if not keep.any():
        return np.full_like(image, math.floor(grey + 0.5))
    result = image.copy()
    for c, plane in enumerate(image.astype(np.float64)):
        far = plane[keep].mean() / 2 + grey / 2
        near, known, ring = np.where(keep, plane, 0.0), keep.copy(), np.zeros(keep.shape)
        while not known.all():
            ring[~known] += 1
            before, values = known.copy(), near.copy()
            for y, x in np.argwhere(~known):
                around = (slice(max(0, y - 1), y + 2), slice(max(0, x - 1), x + 2))
                if before[around].any():
                    near[y, x], known[y, x] = values[around][before[around]].mean(), True
        blend = np.floor(8 / (8 + ring) * near + ring / (8 + ring) * far + 0.5)
        result[c] = np.where(keep, plane, blend)
    return result


def main(folder, given, out):
    b, task = Bundle(folder), np.load(given)
    images, keep, seed = task["images"], task["keep"], int(task["seed"])
    scores = [score(b, image, int(task["samples"]), seed) for image in images]
    np.savez(
        out,
        sample=np.stack([sample(b, i, seed) for i in range(len(images))]),
        colder=sample(b, 0, seed, temperature=0.5, s=0.7),
        bound=[each[0] for each in scores],
        iwae=[each[1] for each in scores],
        bits=[each[2] for each in scores],
        complete=np.stack([
            complete(b, image, keep, i, seed, int(task["candidates"])) for i, image in enumerate(images)
        ]),
    )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
