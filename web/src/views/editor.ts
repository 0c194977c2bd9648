/** An image to paint on, with a mask of what is known; striped where it is not. */
import { moved, type Cell } from "../keys";
import { canvasFor } from "../painting";
import type { ImageShape } from "../runtime/contract";

/** What a stroke does: a value for each channel, or the mask alone. */
export type Brush = { values: number[] } | "keep" | "forget";

export class Editor {
  readonly canvas: HTMLCanvasElement;
  /** (C, H, W), 0 .. levels - 1. */
  readonly values: Uint8Array;
  /** (H, W), 1 where the image is known. */
  readonly keep: Uint8Array;
  private cursor: Cell;
  private showsCursor = false;

  constructor(
    private readonly image: ImageShape,
    private readonly brush: () => Brush,
    private readonly size: () => number,
    private readonly changed: () => void,
  ) {
    const { channels, height, width } = image;
    this.values = new Uint8Array(channels * height * width);
    this.keep = new Uint8Array(height * width);
    this.cursor = [Math.floor(width / 2), Math.floor(height / 2)];
    this.canvas = canvasFor(image, "The image to complete: arrow keys move, space paints");
    this.canvas.classList.add("editor");
    this.canvas.setAttribute("role", "application");
    this.canvas.tabIndex = 0;
    this.listen();
    this.repaint();
  }

  load(values: Uint8Array): void {
    this.values.set(values);
    this.repaint();
  }

  keepRows(rows: number): void {
    this.keep.fill(0).fill(1, 0, rows * this.image.width);
    this.repaint();
  }

  clear(): void {
    this.values.fill(0);
    this.keep.fill(0);
    this.repaint();
  }

  private stroke(x: number, y: number): void {
    const { height, width } = this.image;
    const [brush, reach] = [this.brush(), (this.size() - 1) / 2];
    for (let row = Math.max(0, y - reach); row <= Math.min(height - 1, y + reach); row++)
      for (let column = Math.max(0, x - reach); column <= Math.min(width - 1, x + reach); column++) {
        const pixel = row * width + column;
        this.keep[pixel] = brush === "forget" ? 0 : 1;
        if (typeof brush === "object")
          brush.values.forEach((value, c) => (this.values[c * height * width + pixel] = value));
      }
    this.repaint();
    this.changed();
  }

  private listen(): void {
    const { canvas } = this;
    let last: [number, number] | null = null;
    const at = ({ clientX, clientY }: PointerEvent): [number, number] => {
      const box = canvas.getBoundingClientRect();
      const scaled = [(clientX - box.left) / box.width, (clientY - box.top) / box.height];
      return [Math.floor(scaled[0] * canvas.width), Math.floor(scaled[1] * canvas.height)];
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.showsCursor = false;
      last = at(event);
      this.stroke(...last);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!last) return;
      const next = at(event);
      // A fast hand skips pixels: the line between two events is painted.
      const steps = Math.max(1, Math.abs(next[0] - last[0]), Math.abs(next[1] - last[1]));
      for (let i = 1; i <= steps; i++) {
        const along = (a: number, b: number): number => Math.round(a + ((b - a) * i) / steps);
        this.stroke(along(last[0], next[0]), along(last[1], next[1]));
      }
      last = next;
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (last = null));
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => {
      this.showsCursor = false;
      this.repaint();
    });
  }

  private key(event: KeyboardEvent): void {
    const cell = moved(event.key, this.cursor, this.image);
    if (!cell && event.key !== " ") return;
    event.preventDefault();
    this.showsCursor = true;
    if (!cell) return this.stroke(...this.cursor);
    this.cursor = cell;
    this.repaint();
  }

  private repaint(): void {
    const { channels, height, width, levels } = this.image;
    const context = this.canvas.getContext("2d")!;
    const data = context.createImageData(width, height);
    for (let i = 0; i < height * width; i++) {
      for (let c = 0; c < 3; c++) {
        const value = this.values[(channels === 3 ? c : 0) * height * width + i];
        data.data[4 * i + c] = (value * 255) / (levels - 1);
      }
      data.data[4 * i + 3] = this.keep[i] ? 255 : 0; // the stripes of the style sheet shine through
    }
    if (this.showsCursor) data.data.set([242, 80, 160, 255], 4 * (this.cursor[1] * width + this.cursor[0]));
    context.putImageData(data, 0, 0);
  }
}
