/**
 * Noise as a pure function of (seed, image, stage), number for number that of the Python package
 * (`pvae_zoo.runtime.noise`): the same seed draws the same image here and there.
 *
 * Reference: Parallel Random Numbers: As Easy as 1, 2, 3 (Salmon et al., 2011), Philox4x64-10.
 */
import { sha256 } from "@noble/hashes/sha2.js";

/** What a stream is for; the latents of level l, from 1, are stage l. */
export const PIXELS = 0;
export const POSTERIOR = 1024;
export const RESAMPLING = 2048;

/** Seeds are 0 to 2^63 - 1. */
export const SEED_LIMIT = 1n << 63n;

const MASK = (1n << 64n) - 1n;

/** The first `count` raw 64-bit words of a stream; the generator's counter begins at 1. */
function words(seed: bigint, image: bigint, stage: number, count: number): BigUint64Array {
  const found = new BigUint64Array(Math.ceil(count / 4) * 4);
  for (let block = 0; 4 * block < count; block++) {
    let a = BigInt(block + 1), b = 0n, c = BigInt(stage), d = 0n;
    let key0 = seed, key1 = image;
    for (let round = 0; round < 10; round++) {
      const p = a * 0xd2e7470ee14c6c93n, q = c * 0xca5a826395121157n;
      a = (q >> 64n) ^ b ^ key0;
      b = q & MASK;
      c = (p >> 64n) ^ d ^ key1;
      d = p & MASK;
      key0 = (key0 + 0x9e3779b97f4a7c15n) & MASK;
      key1 = (key1 + 0xbb67ae8584caa73bn) & MASK;
    }
    found.set([a, b, c, d], 4 * block);
  }
  return found.subarray(0, count);
}

/** Uniforms in [0, 1): the top 24 bits of each word, exact in float32. */
export function uniforms(seed: bigint, image: bigint, stage: number, count: number): Float32Array {
  return Float32Array.from(words(seed, image, stage, count), (word) => Number(word >> 40n) * 2 ** -24);
}

/** Standard normals by Box and Muller's transform, two words a pair. */
export function normals(seed: bigint, image: bigint, stage: number, count: number): Float32Array {
  const u = Array.from(words(seed, image, stage, count + (count % 2)), (word) => Number(word >> 11n) * 2 ** -53);
  const drawn = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const radius = Math.sqrt(-2 * Math.log1p(-u[i - (i % 2)]));
    const angle = 2 * Math.PI * u[i - (i % 2) + 1];
    drawn[i] = radius * (i % 2 ? Math.sin(angle) : Math.cos(angle));
  }
  return drawn;
}

/** The number of an image that is scored: the first 8 bytes, lowest first, of the SHA-256 of its values (C, H, W). */
export function contentKey(values: Uint8Array): bigint {
  const digest = sha256(values);
  return new DataView(digest.buffer, digest.byteOffset).getBigUint64(0, true);
}
