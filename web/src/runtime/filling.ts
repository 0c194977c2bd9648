/** Plausible values for unknown pixels, for the encoder (`pvae_zoo.runtime.filling`), and the known places of a map. */
import type { ImageShape } from "./contract";

/** Distance in pixels at which what continues the known part has lost half of its weight. */
const REACH = 8;

/** An image (C, H, W) whose unknown pixels, where `keep` (H, W) is 0, continue the known ones and fade. */
export function fill(image: Uint8Array, keep: Uint8Array, { channels, levels, width }: ImageShape): Uint8Array {
  const size = keep.length;
  const grey = (levels - 1) / 2;
  const count = keep.reduce((total, kept) => total + kept, 0);
  if (!count) return image.map(() => Math.floor(grey + 0.5));
  const values = Float64Array.from(image, (value, i) => (keep[i % size] ? value : 0));
  const distance = peel(values, keep, channels, width);
  const filled = image.slice();
  for (let c = 0; c < channels; c++) {
    let sum = 0;
    for (let p = 0; p < size; p++) if (keep[p]) sum += image[c * size + p];
    const far = 0.5 * (sum / count) + 0.5 * grey;
    for (let p = 0; p < size; p++) {
      if (keep[p]) continue;
      const weight = REACH / (REACH + distance[p]);
      filled[c * size + p] = Math.floor(weight * values[c * size + p] + (1 - weight) * far + 0.5);
    }
  }
  return filled;
}

/** Continues the known values over all, ring by ring, in place; the ring of each pixel. */
function peel(values: Float64Array, keep: Uint8Array, channels: number, width: number): Float64Array {
  const size = keep.length;
  const known = keep.slice();
  const distance = new Float64Array(size);
  while (known.includes(0)) {
    const found: [number, number][] = []; // written when all of the ring are reckoned
    const ring: number[] = [];
    for (let p = 0; p < size; p++) {
      if (known[p]) continue;
      distance[p]++;
      const near = around(p, width, size).filter((q) => known[q]);
      if (!near.length) continue;
      ring.push(p);
      for (let c = 0; c < channels; c++) {
        const total = near.reduce((sum, q) => sum + values[c * size + q], 0);
        found.push([c * size + p, total / near.length]);
      }
    }
    for (const [at, value] of found) values[at] = value;
    for (const p of ring) known[p] = 1;
  }
  return distance;
}

/** The pixels around one and itself, in raster order. */
function around(p: number, width: number, size: number): number[] {
  const found: number[] = [];
  for (const dy of [-1, 0, 1])
    for (const dx of [-1, 0, 1]) {
      const x = (p % width) + dx;
      const q = p + dy * width + dx;
      if (x >= 0 && x < width && q >= 0 && q < size) found.push(q);
    }
  return found;
}

/** Which values of a map (channels, rows, columns) stand for pixels that are all kept (`known_places`). */
export function knownPlaces(keep: Uint8Array, { height, width }: ImageShape, map: number[]): boolean[] {
  const [channels, rows, columns] = map;
  const [tall, wide] = [cell(height, rows), cell(width, columns)];
  const places: boolean[] = new Array(rows * columns).fill(true);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      if (!keep[y * width + x]) places[Math.floor(y / tall) * columns + Math.floor(x / wide)] = false;
  return Array.from({ length: channels }, () => places).flat();
}

/** Pixels a place, a power of two. */
function cell(side: number, places: number): number {
  let pixels = 1;
  while (places * pixels < side) pixels *= 2;
  return pixels;
}
