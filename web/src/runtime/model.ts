/**
 * A PixelVAE ready to use in a browser: sample, vary, complete, score, with the pixels and figures of the Python
 * package (`pvae_zoo.runtime.model`) for the same seed, but for the last bits of float32.
 */
import * as ort from "onnxruntime-web/wasm";

import type { Bundle } from "./bundle";
import { product, type ImageShape, type Role } from "./contract";
import { fill, knownPlaces } from "./filling";
import { between, draw, kl, logProb, type Gaussian } from "./gaussian";
import { drawGrid, type OnStep } from "./grid";
import { contentKey, normals, PIXELS, POSTERIOR, RESAMPLING, uniforms } from "./noise";

/** Images of more values than this are large: each teacher-forced pass takes a good part of a second in a browser. */
const LARGE = 4096;

/** Candidates for the latents of an image of which a part is known, where the known places of a map of z1 are held. */
const MAP_CANDIDATES = 4;

/** Whose noise an image is drawn with: an index of the seed for each level, and the pixels. */
export interface NoiseChoice {
  /** Of the latents, bottom first. */
  latents: number[];
  pixels: number;
  /** How far to go from the top latents to those of draw `towards`, 0 to 1, on the great circle. */
  towards: number;
  share: number;
  /** Added to the top latents. */
  shift: Float32Array;
}

/** Figures of one image, in nats. */
export interface Score {
  bitsPerDim: number;
  nllNats: number;
  reconstructionNats: number;
  /** Of each level, bottom first. */
  klNats: number[];
  /** -log2 p of every value, (C, H, W). */
  surprise: Float32Array;
  /** Means of q(z|x) of each level, bottom first; of a map, their mean over its places. */
  pooled: number[][];
}

/** Called while pixels appear: steps done, steps in all, values (N, C, H, W) so far. */
export type OnPart = (done: number, total: number, pixels: Float32Array | null) => Promise<void> | void;

export class PixelVAE {
  constructor(readonly bundle: Bundle) {}

  get image(): ImageShape {
    return this.bundle.config.image;
  }

  /** Candidates for the latents where they are drawn whole: Python's default, fewer of large images. */
  private get candidates(): number {
    return this.dimensions > LARGE ? 8 : 64;
  }

  /** Teacher-forced images at once: what a browser's memory bears. */
  private get batch(): number {
    return this.dimensions > LARGE ? 2 : 8;
  }

  private get dimensions(): number {
    return this.image.channels * this.image.height * this.image.width;
  }

  private shape(level: number): number[] {
    return this.bundle.config.latents[level].shape;
  }

  get levels(): number {
    return this.bundle.config.latents.length;
  }

  /** Opens the graphs that drawing needs, so that the first image waits for nothing; the others come when needed. */
  async prepare(): Promise<void> {
    const above: Role[] = this.levels > 1 ? ["prior_context", "prior_step"] : ["prior"];
    for (const role of [...above, "decoder_context", "decoder_step"] as Role[]) await this.bundle.session(role);
  }

  /** The noise of a level (0 is next to the pixels) for an image by index; more samples continue its stream. */
  private noise(seed: bigint, index: bigint, level: number, stage = 0, samples = 1): Float32Array {
    return normals(seed, index, stage + level + 1, samples * product(this.shape(level)));
  }

  /** Images by index, as `pvae-zoo sample` draws them. */
  async sample(
    seed: bigint, first: number, count: number, temperature: number, latentTemperature: number, onPart: OnPart,
  ): Promise<Uint8Array> {
    const width = Math.fround(latentTemperature); // in float32, as Python has it
    const indices = Array.from({ length: count }, (_, i) => BigInt(first + i));
    const eps = this.bundle.config.latents.map((_, level) =>
      joined(indices.map((index) => this.noise(seed, index, level))).map((value) => width * value),
    );
    const [z1, before] = await this.drawZ1(eps, count, this.pixelSteps, onPart);
    return this.drawPixels(z1, seed, indices, temperature, null, shifted(onPart, before));
  }

  /** One image from chosen noise: what a level controls, seen alone (`pvae-zoo vary` and `interpolate`). */
  async vary(seed: bigint, choice: NoiseChoice, temperature: number, onPart: OnPart): Promise<Uint8Array> {
    const eps = choice.latents.map((index, level) => this.noise(seed, BigInt(index), level));
    eps[this.levels - 1] = this.topLatents(seed, choice);
    const [z1, before] = await this.drawZ1(eps, 1, this.pixelSteps, onPart);
    return this.drawPixels(z1, seed, [BigInt(choice.pixels)], temperature, null, shifted(onPart, before));
  }

  /** The top latents that a choice leads to. */
  topLatents(seed: bigint, choice: NoiseChoice): Float32Array {
    const top = this.levels - 1;
    const [from, to] = [choice.latents[top], choice.towards].map((index) => this.noise(seed, BigInt(index), top));
    return between(from, to, choice.share).map((value, i) => value + choice.shift[i]);
  }

  /**
   * Keep a part of an image and draw the rest, `count` times, as `pvae-zoo complete` does: the latents are picked among
   * candidates by the likelihood of what is kept.
   */
  async complete(
    image: Uint8Array, keep: Uint8Array, count: number, seed: bigint, temperature: number, onPart: OnPart,
  ): Promise<Uint8Array> {
    const { channels } = this.image;
    const kept = new Uint8Array(this.dimensions);
    for (let c = 0; c < channels; c++) kept.set(keep, c * keep.length);
    const latents =
      this.levels > 1
        ? await this.completedZ1(image, keep, count, seed, onPart)
        : await this.resampledZ1s(image.map((value, i) => (kept[i] ? value : 0)), kept, count, seed, onPart);
    const given = new BigInt64Array(count * this.dimensions).fill(-1n);
    for (let n = 0; n < count; n++)
      for (let i = 0; i < this.dimensions; i++) if (kept[i]) given[n * this.dimensions + i] = BigInt(image[i]);
    const indices = latents.map((_, i) => BigInt(i));
    return this.drawPixels(joined(latents), seed, indices, temperature, given, onPart);
  }

  /** The bound of an image with one draw of the latents, as `pvae-zoo nll` reckons it. */
  async score(image: Uint8Array, seed: bigint): Promise<Score> {
    const posteriors = await this.posteriors(image);
    const key = contentKey(image);
    const z = posteriors.map((q, level) => draw(q, this.noise(seed, key, level, POSTERIOR)));
    const priors = await this.priors(z, 1);
    const klNats = posteriors.map((q, level) => kl(q, priors[level] && priors[level][0]));
    const logProbs = await this.logProb(image, z[0], 1);
    const reconstructionNats = -logProbs.reduce((total, value) => total + value, 0);
    const nllNats = klNats.reduce((total, value) => total + value, reconstructionNats);
    return {
      bitsPerDim: nllNats / (this.dimensions * Math.LN2),
      nllNats,
      reconstructionNats,
      klNats,
      surprise: logProbs.map((value) => -value / Math.LN2),
      pooled: posteriors.map(({ mean }, level) => pooled(mean, this.shape(level)[0])),
    };
  }

  private get pixelSteps(): number {
    const { width, height, geometry } = this.bundle.config.steps.decoder_step!;
    return width + geometry.slope * (height - 1);
  }

  /** Images as a graph takes them: bytes, or the same numbers as float32 in a bundle that was converted so. */
  private images(role: "encoder" | "decoder", values: Uint8Array, count: number): ort.Tensor {
    const { channels, height, width } = this.image;
    const shape = [count, channels, height, width];
    const dtype = this.bundle.config.graphs[role]!.inputs.find(({ name }) => name === "image")?.dtype;
    return dtype === "float32"
      ? new ort.Tensor("float32", Float32Array.from(values), shape)
      : new ort.Tensor("uint8", values, shape);
  }

  private async posteriors(image: Uint8Array): Promise<Gaussian[]> {
    const found = await this.bundle.run("encoder", { image: this.images("encoder", image, 1) });
    return this.bundle.config.latents.map(({ name }) => ({
      mean: found[`${name}_mean`].data as Float32Array,
      logStd: found[`${name}_log_std`].data as Float32Array,
    }));
  }

  /** p(z_l|z_(l+1)) of each level for `count` draws, bottom first; null stands for N(0, I). */
  private async priors(z: Float32Array[], count: number): Promise<(Gaussian[] | null)[]> {
    if (this.levels === 1) return [null];
    const context = await this.context("prior_context", "z2", z[1], 1, count);
    const z1 = new ort.Tensor("float32", z[0], [count, ...this.shape(0)]);
    const found = await this.bundle.run("prior", { z1, context });
    const [means, logStds] = ["prior_mean", "prior_log_std"].map((name) =>
      rows(found[name].data as Float32Array, count),
    );
    return [means.map((mean, i) => ({ mean, logStd: logStds[i] })), null];
  }

  private async context(
    role: "prior_context" | "decoder_context", name: string, z: Float32Array, level: number, count: number,
  ): Promise<ort.Tensor> {
    const feed = new ort.Tensor("float32", z, [count, ...this.shape(level)]);
    return (await this.bundle.run(role, { [name]: feed })).context;
  }

  /** z1 from noise of each level, but what is known of it (NaN elsewhere); and the number of steps that it took. */
  private async drawZ1(
    eps: Float32Array[], count: number, after: number, onPart: OnPart, known: Float32Array | null = null,
  ): Promise<[Float32Array, number]> {
    if (this.levels === 1) {
      const noise = new ort.Tensor("float32", eps[0], [count, ...this.shape(0)]);
      return [(await this.bundle.run("prior", { z1_noise: noise })).z1.data as Float32Array, 0];
    }
    const context = await this.context("prior_context", "z2", eps[1], 1, count);
    let steps = 0;
    const onStep: OnStep = (done, total) => {
      steps = total;
      return onPart(done, total + after, null);
    };
    const values = { noise: eps[0] };
    return [await drawGrid(this.bundle, "prior_step", count, context, values, {}, "z1", onStep, known), steps];
  }

  private async drawPixels(
    z1: Float32Array, seed: bigint, indices: bigint[], temperature: number, given: BigInt64Array | null, onPart: OnPart,
  ): Promise<Uint8Array> {
    const count = indices.length;
    const context = await this.context("decoder_context", "z1", z1, 0, count);
    const values = {
      uniforms: joined(indices.map((index) => uniforms(seed, index, PIXELS, this.dimensions))),
      given: given ?? new BigInt64Array(count * this.dimensions).fill(-1n),
    };
    const constants = { temperature: new ort.Tensor("float32", [temperature], [1]) };
    const pixels = await drawGrid(this.bundle, "decoder_step", count, context, values, constants, "pixels", onPart);
    return Uint8Array.from(pixels);
  }

  /** log p(x|z1) of every value of one image for each of `count` latents, (count, C, H, W). */
  private async logProb(image: Uint8Array, z1: Float32Array, count: number): Promise<Float32Array> {
    const context = await this.context("decoder_context", "z1", z1, 0, count);
    const images = this.images("decoder", joinedBytes(image, count), count);
    return (await this.bundle.run("decoder", { image: images, context })).log_prob.data as Float32Array;
  }

  private async resampledZ1s(
    known: Uint8Array, kept: Uint8Array, count: number, seed: bigint, onPart: OnPart,
  ): Promise<Float32Array[]> {
    const latents: Float32Array[] = [];
    for (let i = 0; i < count; i++) {
      await onPart(i, count, null);
      latents.push(await this.resampledZ1(known, kept, BigInt(i), seed, () => onPart(i, count, null)));
    }
    return latents;
  }

  /**
   * A map of z1 for each of `count` completions of one image, of a model with two levels: known places and z2 from the
   * posterior of the filled image, the others from p(z1|z2) given those (`pvae_zoo.runtime.completion.completed_z1`).
   */
  private async completedZ1(
    image: Uint8Array, keep: Uint8Array, count: number, seed: bigint, onPart: OnPart,
  ): Promise<Float32Array[]> {
    const [each, batch, size] = [MAP_CANDIDATES, this.batch, this.dimensions];
    const indices = Array.from({ length: count }, (_, i) => BigInt(i));
    const filled = fill(image, keep, this.image);
    const held = knownPlaces(keep, this.image, this.shape(0));
    const q = await this.posteriors(filled);
    const [bottom, above] = q.map((posterior, level) =>
      indices.map((index) => draw(posterior, this.noise(seed, index, level, POSTERIOR))),
    );
    const z2 = repeated(above, each);
    const known = repeated(bottom.map((z1) => z1.map((value, i) => (held[i] ? value : NaN))), each);
    const free = joined(indices.map((index) => this.noise(seed, index, 0, 0, each)));
    const all = count * each;
    const [z1] = await this.drawZ1([free, z2], all, 0, (done, total) => onPart(done, 2 * total, null), known);
    const [priors] = await this.priors([z1, z2], all);
    const candidates = rows(z1, all);
    const logWeights = candidates.map((one, i) => logProb(one, priors && priors[i], held));
    for (let start = 0; start < all; start += batch) {
      await onPart(all + start, 2 * all, null);
      const some = candidates.slice(start, start + batch);
      const logProbs = await this.logProb(filled, joined(some), some.length);
      for (let v = 0; v < logProbs.length; v++)
        if (keep[v % keep.length]) logWeights[start + Math.floor(v / size)] += logProbs[v];
    }
    return indices.map((index, i) => {
      const own = logWeights.slice(i * each, (i + 1) * each);
      return candidates[i * each + picked(own, uniforms(seed, index, RESAMPLING, 1)[0])];
    });
  }

  /** One z1 of p(z | kept values) by sampling-importance-resampling (`pvae_zoo.runtime.completion`). */
  private async resampledZ1(
    known: Uint8Array, kept: Uint8Array, index: bigint, seed: bigint, breathe: () => Promise<void> | void,
  ): Promise<Float32Array> {
    const [all, half, batch] = [this.candidates, this.candidates / 2, this.batch];
    const levels = Array.from({ length: this.levels }, (_, level) => level);
    const eps = levels.map((level) => this.noise(seed, index, level, 0, half));
    const fromPrior = [(await this.drawZ1(eps, half, 0, () => breathe()))[0], ...eps.slice(1)];
    const q = await this.posteriors(known);
    const z = levels.map((level) => {
      const noise = rows(this.noise(seed, index, level, POSTERIOR, half), half);
      return joined([...rows(fromPrior[level], half), ...noise.map((draws) => draw(q[level], draws))]);
    });
    const candidates = z.map((level) => rows(level, all));
    const priors = await this.priors(z, all);
    const logWeights: number[] = [];
    for (let start = 0; start < all; start += batch) {
      await breathe();
      const size = this.dimensions;
      const logProbs = await this.logProb(known, joined(candidates[0].slice(start, start + batch)), batch);
      for (let i = 0; i < batch; i++) {
        let logKept = 0;
        for (let v = 0; v < size; v++) if (kept[v]) logKept += logProbs[i * size + v];
        const at = (level: number): Float32Array => candidates[level][start + i];
        const sum = (of: (level: number) => number): number => levels.reduce((total, level) => total + of(level), 0);
        const logPrior = sum((level) => logProb(at(level), priors[level] && priors[level][start + i]));
        const logPosterior = sum((level) => logProb(at(level), q[level]));
        logWeights.push(logKept + logPrior - logAddExp(logPrior, logPosterior));
      }
    }
    return candidates[0][picked(logWeights, uniforms(seed, index, RESAMPLING, 1)[0])];
  }
}

/** The index that a uniform picks, with probabilities in proportion to exp(logWeights). */
function picked(logWeights: number[], u: number): number {
  const largest = Math.max(...logWeights);
  const weights = logWeights.map((value) => Math.exp(value - largest));
  const total = weights.reduce((a, b) => a + b, 0);
  let sum = 0;
  const found = weights.findIndex((weight) => (sum += weight) > u * total);
  return found < 0 ? weights.length - 1 : found;
}

function logAddExp(a: number, b: number): number {
  const largest = Math.max(a, b);
  return largest + Math.log(Math.exp(a - largest) + Math.exp(b - largest));
}

function shifted(onPart: OnPart, before: number): OnPart {
  return (done, total, pixels) => onPart(before + done, before + total, pixels);
}

/** Each of the parts `times` times in a row. */
function repeated(parts: Float32Array[], times: number): Float32Array {
  return joined(parts.flatMap((part) => Array.from({ length: times }, () => part)));
}

function joined(parts: Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function joinedBytes(image: Uint8Array, count: number): Uint8Array {
  const all = new Uint8Array(image.length * count);
  for (let i = 0; i < count; i++) all.set(image, i * image.length);
  return all;
}

function rows(values: Float32Array, count: number): Float32Array[] {
  const size = values.length / count;
  return Array.from({ length: count }, (_, i) => values.slice(i * size, (i + 1) * size));
}

/** The mean of each of `channels` over its places. */
function pooled(mean: Float32Array, channels: number): number[] {
  const places = mean.length / channels;
  return Array.from({ length: channels }, (_, c) => {
    let total = 0;
    for (let i = c * places; i < (c + 1) * places; i++) total += mean[i];
    return total / places;
  });
}
