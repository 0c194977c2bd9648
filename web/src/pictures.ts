/**
 * Images that people bring. A likelihood of the wrong pixels is a number like any other, so nothing is repaired silently:
 * what does not fit is refused in one line, unless the user asked for it to be made to fit.
 */
import { PageError, type ImageShape } from "./runtime/contract";

const MAX_PIXELS = 64_000_000;
const THRESHOLD = 128;

export interface Picture {
  /** (C, H, W), 0 .. levels - 1. */
  values: Uint8Array;
  /** What was changed, empty if nothing was. */
  changes: string[];
}

/** The image in a file as the model takes it. */
export async function readPicture(file: File, image: ImageShape, fit: boolean): Promise<Picture> {
  await checkFile(file);
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    throw new PageError(`${file.name} is damaged or no image that this browser reads: convert it to PNG`);
  }
  const changes: string[] = [];
  const wrongSize = bitmap.width !== image.width || bitmap.height !== image.height;
  if (wrongSize) {
    const sizes = `is ${bitmap.width}x${bitmap.height}, the model takes ${image.width}x${image.height}`;
    if (!fit) throw refused(file, sizes);
    changes.push(`${sizes}: cropped and resized`);
  }
  const pixels = pixelsOf(bitmap, image);
  bitmap.close();
  for (let i = 3; i < pixels.length; i += 4)
    if (pixels[i] !== 255)
      throw new PageError(`${file.name} has transparent pixels, and the model knows no background: flatten it first`);
  const values = image.channels === 3 ? inColour(pixels) : inGrey(pixels, file, fit, changes);
  return { values: withLevels(values, image, file, fit, changes), changes };
}

function refused(file: File, what: string): PageError {
  return new PageError(`${file.name} ${what}: tick “Make it fit”, or change it first`);
}

/** What can be told before a pixel is decoded, and what the browser would do silently. */
async function checkFile(file: File): Promise<void> {
  if (!file.size) throw new PageError(`${file.name} is empty: fetch it again`);
  const head = new DataView(await file.slice(0, 32).arrayBuffer());
  const isPng = head.byteLength >= 26 && head.getUint32(0) === 0x89504e47;
  if (isPng && head.getUint8(24) > 8) throw new PageError(`${file.name} has more than 8 bits a value: save it with 8`);
  if (isPng && head.getUint32(16) * head.getUint32(20) > MAX_PIXELS)
    throw new PageError(`${file.name} has more than ${MAX_PIXELS / 1e6} megapixels: make it smaller first`);
  if (!("ImageDecoder" in globalThis) || !file.type.startsWith("image/")) return;
  try {
    const decoder = new ImageDecoder({ data: await file.arrayBuffer(), type: file.type });
    await decoder.tracks.ready;
    const frames = decoder.tracks.selectedTrack?.frameCount ?? 1;
    decoder.close();
    if (frames > 1) throw new PageError(`${file.name} holds ${frames} frames: save the one you mean as a file of its own`);
  } catch (error) {
    if (error instanceof PageError) throw error; // what cannot be decoded at all is reported by whoever decodes it
  }
}

/** RGBA of the model's size, from the centre of the picture if the sides' ratio differs. */
function pixelsOf(bitmap: ImageBitmap, { width, height }: ImageShape): Uint8ClampedArray {
  const scale = Math.min(bitmap.width / width, bitmap.height / height);
  const [w, h] = [width * scale, height * scale];
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true })!;
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, (bitmap.width - w) / 2, (bitmap.height - h) / 2, w, h, 0, 0, width, height);
  return context.getImageData(0, 0, width, height).data;
}

function inColour(pixels: Uint8ClampedArray): Uint8Array {
  const count = pixels.length / 4;
  return Uint8Array.from({ length: 3 * count }, (_, i) => pixels[4 * (i % count) + Math.floor(i / count)]);
}

function inGrey(pixels: Uint8ClampedArray, file: File, fit: boolean, changes: string[]): Uint8Array {
  let coloured = false;
  const values = Uint8Array.from({ length: pixels.length / 4 }, (_, i) => {
    const [r, g, b] = pixels.subarray(4 * i, 4 * i + 3);
    coloured ||= r !== g || r !== b;
    return Math.round(0.299 * r + 0.587 * g + 0.114 * b); // ITU-R 601 luma
  });
  if (coloured && !fit) throw refused(file, "is in colour, the model takes grey images");
  if (coloured) changes.push("turned grey");
  return values;
}

function withLevels(
  values: Uint8Array, { levels }: ImageShape, file: File, fit: boolean, changes: string[],
): Uint8Array {
  if (levels > 2) return values.map((value) => (value * levels) >> 8);
  if (values.some((value) => value !== 0 && value !== 255)) {
    if (!fit) throw refused(file, "has grey values, the model takes black and white");
    changes.push(`white from ${THRESHOLD} on`);
  }
  return values.map((value) => Number(value >= THRESHOLD));
}
