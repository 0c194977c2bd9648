/**
 * Draws a grid of values with a single-step graph, a wavefront at a time (`pvae_zoo.runtime.grid`): pixels, or z1.
 *
 * All positions with x + slope * y = t of all images are computed in step t: a reordering of raster order.
 */
import * as ort from "onnxruntime-web/wasm";

import type { Bundle } from "./bundle";
import { product, type Role, type StepSpec } from "./contract";

/** Values for every position, (N, C, H, W); those of a step are taken from them. */
export type PositionValues = Record<string, Float32Array | BigInt64Array>;

/** Called after each step with the values so far; it may wait, and it may throw to end the drawing. */
export type OnStep = (done: number, total: number, values: Float32Array) => Promise<void> | void;

/** The (y, x) of each step of one image, in order. */
export function wavefront({ height, width, geometry }: StepSpec): [number, number][][] {
  const steps: [number, number][][] = [];
  for (let t = 0; t < width + geometry.slope * (height - 1); t++) {
    const step: [number, number][] = [];
    for (let y = 0; y < height; y++) {
      const x = t - geometry.slope * y;
      if (x >= 0 && x < width) step.push([y, x]);
    }
    if (step.length) steps.push(step);
  }
  return steps;
}

/** Values of the grid; those that `fixed` has, NaN where it has none, stand where others would be drawn. */
export async function drawGrid(
  bundle: Bundle,
  role: Role,
  images: number,
  context: ort.Tensor,
  values: PositionValues,
  constants: Record<string, ort.Tensor>,
  wanted: string,
  onStep: OnStep = () => {},
  fixed: Float32Array | null = null,
): Promise<Float32Array> {
  const spec = bundle.config.steps[role]!;
  const { height, width, channels, geometry } = spec;
  const session = await bundle.session(role);
  const contextRows = context.dims.length === 3 ? context.dims[1] : 1;
  const flatContext = new ort.Tensor("float32", context.data as Float32Array, [
    images * contextRows, context.dims[context.dims.length - 1],
  ]);
  let state: Record<string, ort.Tensor> = {};
  for (const canvas of spec.canvases) {
    const shape = [images * geometry.rows_per_image + 1, canvas.channels];
    state[canvas.name] = new ort.Tensor("float32", new Float32Array(product(shape)), shape);
  }
  const outputs = [wanted, ...Object.keys(state).map((name) => `${name}_next`)];
  const drawn = new Float32Array(images * channels * height * width).fill(NaN); // not a number until it is drawn
  const steps = wavefront(spec);
  for (const [done, step] of steps.entries()) {
    const count = images * step.length;
    const positions = new BigInt64Array(count);
    const rows = new BigInt64Array(count);
    const cells = new Int32Array(count * channels);
    for (let image = 0, at = 0; image < images; image++)
      for (const [y, x] of step) {
        positions[at] = BigInt(
          image * geometry.rows_per_image + (y + geometry.top) * geometry.stride + geometry.left + x,
        );
        rows[at] = BigInt(image * contextRows + (contextRows > 1 ? y * width + x : 0));
        for (let c = 0; c < channels; c++)
          cells[at * channels + c] = ((image * channels + c) * height + y) * width + x;
        at++;
      }
    const feeds: Record<string, ort.Tensor> = {
      ...state,
      ...constants,
      context: flatContext,
      positions: new ort.Tensor("int64", positions, [count]),
      context_rows: new ort.Tensor("int64", rows, [count]),
    };
    for (const [name, all] of Object.entries(values)) feeds[name] = taken(all, cells, [count, channels]);
    const results = await session.run(feeds, outputs);
    const found = results[wanted].data as Float32Array | BigInt64Array;
    if (fixed) {
      // The first canvas holds what was drawn, for later steps.
      const seen = results[`${spec.canvases[0].name}_next`].data as Float32Array;
      for (let i = 0; i < cells.length; i++) {
        const value = fixed[cells[i]];
        if (Number.isNaN(value)) continue;
        found[i] = value;
        seen[Number(positions[Math.floor(i / channels)]) * channels + (i % channels)] = value;
      }
    }
    for (let i = 0; i < cells.length; i++) drawn[cells[i]] = Number(found[i]);
    state = Object.fromEntries(Object.keys(state).map((name) => [name, results[`${name}_next`]]));
    await onStep(done + 1, steps.length, drawn);
  }
  return drawn;
}

function taken(all: Float32Array | BigInt64Array, cells: Int32Array, shape: number[]): ort.Tensor {
  if (all instanceof Float32Array)
    return new ort.Tensor("float32", Float32Array.from(cells, (cell) => all[cell]), shape);
  return new ort.Tensor("int64", BigInt64Array.from(Array.from(cells, (cell) => all[cell])), shape);
}
