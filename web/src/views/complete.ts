/** Keeps a part of an image and draws the rest, several times. */
import { Latest } from "../client";
import { canvasFor, paint } from "../painting";
import { Elements, randomSeed, seconds, type Open, type Panel } from "../panel";
import { readPicture } from "../pictures";
import { PageError, type ImageShape } from "../runtime/contract";
import { Editor, type Brush } from "./editor";

export class CompletePanel implements Panel {
  private readonly elements = new Elements("complete");
  private readonly latest = new Latest();
  private model: Open | null = null;
  private editor: Editor | null = null;

  constructor() {
    const { elements } = this;
    elements.form.addEventListener("submit", () => this.draw());
    elements.named("rows").addEventListener("input", () => {
      this.editor?.keepRows(Number(elements.named("rows").value));
      this.showRows(elements.named("rows").value);
    });
    elements.named("clear").addEventListener("click", () => this.clear());
    elements.named("draw").addEventListener("click", () => this.useSample());
    elements.onFile((file) => this.useFile(file));
  }

  open(model: Open): void {
    this.model = model;
    const { elements } = this;
    const { image } = model.config;
    const size = (): number => Number(elements.named("size").value);
    this.editor = new Editor(image, () => this.brush(image), size, () => this.showRows("painted"));
    elements.role("editor").replaceChildren(this.editor.canvas);
    elements.role("pictures").replaceChildren();
    elements.named("rows").max = String(image.height);
    for (const colour of elements.root.querySelectorAll<HTMLElement>(".colour")) colour.hidden = image.levels === 2;
    for (const ink of elements.root.querySelectorAll<HTMLElement>(".ink")) ink.hidden = image.levels !== 2;
    this.clear();
  }

  show(): void {}

  private brush({ channels, levels }: ImageShape): Brush {
    const chosen = this.elements.chosen("brush");
    if (chosen === "keep" || chosen === "forget") return chosen;
    if (levels === 2) return { values: Array(channels).fill(chosen === "paint" ? 1 : 0) };
    const colour = this.elements.named("colour").value;
    const rgb = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    return { values: rgb.slice(0, channels).map((value) => Math.floor((value * levels) / 256)) };
  }

  private showRows(text: string): void {
    this.elements.named<HTMLOutputElement>("rows-value").value = text;
  }

  private clear(): void {
    this.editor?.clear();
    this.elements.named("rows").value = "0";
    this.showRows("0");
    this.elements.status("");
  }

  /** Shows an image with its upper half known, to begin with. */
  private use(values: Uint8Array, name: string): void {
    const half = Math.ceil(this.model!.config.image.height / 2);
    this.editor!.load(values);
    this.editor!.keepRows(half);
    this.elements.named("rows").value = String(half);
    this.showRows(String(half));
    this.elements.status(name);
  }

  private useFile(file: File): void {
    void this.elements.attempt(async () => {
      const picture = await readPicture(file, this.model!.config.image, this.elements.named("fit").checked);
      this.use(picture.values, [file.name, ...picture.changes].join("; "));
    });
  }

  private useSample(): void {
    void this.elements.attempt(async () => {
      const seed = randomSeed();
      const args = { seed: BigInt(seed), first: 0, count: 1, temperature: 1, latentTemperature: 1 };
      const values = await this.model!.client.ask(
        "sample", args, ({ done, total }) => this.elements.progress(done / total), this.latest.begin(),
      );
      this.use(values, `Image 0 of seed ${seed}`);
    });
  }

  private draw(): void {
    const { elements, model, editor } = this;
    if (!model || !editor) return;
    void elements.attempt(async () => {
      if (!editor.keep.includes(1)) throw new PageError("nothing is kept: paint something, or open an image");
      if (!editor.keep.includes(0)) throw new PageError("nothing is left to draw: make a part of it unknown");
      const { image } = model.config;
      const seed = elements.seed();
      const count = Number(elements.named("count").value);
      const canvases = Array.from({ length: count }, (_, i) => canvasFor(image, `Completion ${i}, seed ${seed}`));
      const pictures = elements.role("pictures");
      pictures.style.setProperty("--columns", String(Math.min(4, count)));
      pictures.replaceChildren(...canvases);
      for (const canvas of canvases) canvas.getContext("2d")!.drawImage(editor.canvas, 0, 0);
      elements.status("Looking for latents that fit what is kept");
      const start = performance.now();
      const args = { image: editor.values.slice(), keep: editor.keep.slice(), count, seed, temperature: 1 };
      const values = await model.client.ask(
        "complete", args,
        ({ done, total, pixels }) => {
          elements.progress(done / total);
          if (pixels) canvases.forEach((canvas, i) => paint(canvas, pixels, image, i));
        },
        this.latest.begin(),
      );
      canvases.forEach((canvas, i) => paint(canvas, values, image, i));
      elements.status(`${count === 1 ? "One drawing" : `${count} drawings`} of the rest in ${seconds(start)}`);
    });
  }
}
