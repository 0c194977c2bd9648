/** Values (C, H, W) on a canvas, one canvas pixel a value's pixel; the style sheet makes it large. */
import { heat } from "./colours";
import type { ImageShape } from "./runtime/contract";

type Values = Uint8Array | Float32Array;

/** A canvas for an image of that shape. */
export function canvasFor(image: ImageShape, label: string): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.className = "picture";
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  return canvas;
}

/** Paints image `index` of `values` (N, C, H, W); what is not drawn yet (not a number) stays as it is. */
export function paint(canvas: HTMLCanvasElement, values: Values, image: ImageShape, index = 0): void {
  const { channels, height, width, levels } = image;
  const pixels = height * width;
  const offset = index * channels * pixels;
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  const data = context.getImageData(0, 0, width, height);
  for (let i = 0; i < pixels; i++) {
    if (Number.isNaN(values[offset + i])) continue;
    for (let c = 0; c < 3; c++) {
      const value = values[offset + (channels === 3 ? c : 0) * pixels + i];
      data.data[4 * i + c] = (value * 255) / (levels - 1);
    }
    data.data[4 * i + 3] = 255;
  }
  context.putImageData(data, 0, 0);
}

/** Bits of each pixel (H * W) as a heat map; `most` is the brightest. */
export function paintHeat(canvas: HTMLCanvasElement, bits: Float32Array, most: number): void {
  const context = canvas.getContext("2d")!;
  const data = context.createImageData(canvas.width, canvas.height);
  bits.forEach((value, i) => data.data.set([...heat(value / most), 255], 4 * i));
  context.putImageData(data, 0, 0);
}
