/**
 * How strange an image is beside a calibration of `pvae-zoo calibrate` (`pvae_zoo.screening`), without the scores that
 * need a codec: no browser has the one that the calibration has.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js";

import { PageError, type BundleConfig, type Role } from "./runtime/contract";
import type { Score } from "./runtime/model";

/** As the file has it, once it is checked. */
export interface Calibration {
  model: string;
  model_sha256: string;
  images: number;
  most_bits: number;
  scores: { name: string; middle: number; width: number }[];
  latents: { points: number[][]; precision: number[][] }[];
  ranked_without_codec: number[];
}

export interface Verdict {
  pValue: number;
  /** The score that is farthest from where it usually is, and how far, in widths with their sign. */
  spoke: string;
  deviation: number;
}

const MOST_BYTES = 64 * 2 ** 20;
const NEAREST = 5;
const LEAST = 1e-3;
const DISTANCE = "distance z1";
const WITH_CODEC = ["codec", "bound over codec"];
const ROLES: Role[][] = [
  ["encoder", "prior", "decoder_context", "decoder", "decoder_step"],
  ["encoder", "prior_context", "prior", "prior_step", "decoder_context", "decoder", "decoder_step"],
];

/** A calibration from a file, if it is one and of this model. */
export async function readCalibration(file: File, config: BundleConfig): Promise<Calibration> {
  const refused = (what: string): PageError => new PageError(`${file.name} ${what}`);
  if (file.size > MOST_BYTES) throw refused("is too large for a calibration: give what pvae-zoo calibrate wrote");
  let found: Calibration & { kind?: string; format?: number };
  try {
    found = JSON.parse(await file.text());
  } catch {
    throw refused("is no JSON: give what pvae-zoo calibrate wrote");
  }
  if (found?.kind !== "pvae-zoo screen") throw refused("is no calibration: give what pvae-zoo calibrate wrote");
  if (found.format !== 1) throw refused("is a calibration of another format than this page reads: calibrate again");
  if (!isSound(found, config.latents.length)) throw refused("is damaged: run pvae-zoo calibrate again");
  if (found.model_sha256 !== digest(config)) throw refused(`was made with another model than ${config.name}`);
  return found;
}

/** As `pvae_zoo.contract.folder.Bundle.digest`. */
function digest(config: BundleConfig): string {
  const hashes = ROLES[config.latents.length - 1].map((role) => config.graphs[role]!.sha256);
  return bytesToHex(sha256(utf8ToBytes(hashes.join(""))));
}

function names(levels: number): string[] {
  const each = Array.from({ length: levels }, (_, i) => `z${i + 1}`);
  const parts = ["reconstruction", ...each.map((z) => `KL ${z}`), ...WITH_CODEC];
  return [...parts, ...each.map((z) => `distance ${z}`), "worst region"];
}

const numbers = (list: unknown): list is number[] =>
  Array.isArray(list) && list.length > 0 && list.every((value) => Number.isFinite(value));

function isSound(found: Calibration, levels: number): boolean {
  const { scores, latents, ranked_without_codec: ranked } = found;
  const wanted = names(levels);
  return (
    Number.isSafeInteger(found.images) && found.images > 0 && found.most_bits > 0 && Number.isFinite(found.most_bits) &&
    numbers(ranked) && ranked.every((value, i) => i === 0 || value >= ranked[i - 1]) &&
    Array.isArray(scores) && scores.length === wanted.length &&
    scores.every((s, i) => s?.name === wanted[i] && numbers([s.middle, s.width]) && s.width > 0) &&
    Array.isArray(latents) && latents.length === levels &&
    latents.every(({ points, precision }) => {
      const size = Array.isArray(precision) ? precision.length : 0;
      const rows = (table: unknown): boolean =>
        Array.isArray(table) && table.every((row) => numbers(row) && row.length === size);
      return rows(precision) && rows(points) && points.length > NEAREST;
    })
  );
}

/** The verdict on a scored image; `surprise` is what each pixel cost, in bits. */
export function judge(calibration: Calibration, score: Score, bits: Float32Array, width: number): Verdict {
  const found: Record<string, number> = {
    reconstruction: score.reconstructionNats,
    "worst region": worstMean(bits, width) * Math.LN2,
  };
  score.klNats.forEach((kl, level) => (found[`KL z${level + 1}`] = kl));
  calibration.latents.forEach((level, i) => (found[`distance z${i + 1}`] = distance(level, score.pooled[i])));
  const counted = calibration.scores.filter(({ name }) => name in found);
  const alike = 0.5 / counted.filter(({ name }) => name !== DISTANCE).length;
  const verdict = { spoke: "", deviation: 0 };
  let squared = 0, largest = -1;
  for (const { name, middle, width } of counted) {
    const deviation = (Math.log(Math.max(found[name], LEAST)) - middle) / width;
    const strange = name.startsWith("distance") ? Math.max(deviation, 0) : deviation;
    const share = strange ** 2 * (name === DISTANCE ? 1 : alike);
    squared += share;
    if (share > largest) [largest, verdict.spoke, verdict.deviation] = [share, name, deviation];
  }
  const ranked = calibration.ranked_without_codec;
  const strangeness = Math.sqrt(squared);
  const asStrange = ranked.filter((value) => !(value < strangeness)).length;
  return { ...verdict, pValue: (1 + asStrange) / (ranked.length + 1) };
}

/** Mean squared Mahalanobis distance to the nearest points. */
function distance({ points, precision }: Calibration["latents"][0], at: number[]): number {
  const squared = points.map((point) => {
    const gap = at.map((value, i) => value - point[i]);
    return gap.reduce((total, a, i) => total + a * precision[i].reduce((sum, p, j) => sum + p * gap[j], 0), 0);
  });
  const nearest = squared.sort((a, b) => a - b).slice(0, NEAREST);
  return nearest.reduce((a, b) => a + Math.max(b, 0), 0) / NEAREST;
}

/** The largest mean over a window of a quarter of the shorter side (`pvae_zoo.screening.regions`). */
function worstMean(bits: Float32Array, width: number): number {
  const height = bits.length / width;
  const shorter = Math.min(height, width);
  const side = Math.min(shorter, Math.max(3, halfToEven(shorter / 4)));
  let worst = 0;
  for (let y = 0; y + side <= height; y++)
    for (let x = 0; x + side <= width; x++) {
      let sum = 0;
      for (let i = 0; i < side; i++) for (let j = 0; j < side; j++) sum += bits[(y + i) * width + x + j];
      worst = Math.max(worst, sum / side ** 2);
    }
  return worst;
}

/** As Python rounds. */
function halfToEven(value: number): number {
  const low = Math.floor(value);
  return value - low === 0.5 ? low + (low % 2) : Math.round(value);
}
