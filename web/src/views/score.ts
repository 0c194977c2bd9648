/** Scores an image: bits per dimension, how surprising each pixel is, and with a calibration whether it belongs. */
import { moved } from "../keys";
import { canvasFor, paint, paintHeat } from "../painting";
import { Elements, randomSeed, type Open, type Panel } from "../panel";
import { readPicture } from "../pictures";
import { INFERNO } from "../colours";
import { judge, readCalibration, type Calibration } from "../screening";
import type { Score } from "../runtime/model";

export class ScorePanel implements Panel {
  private readonly elements = new Elements("score");
  private model: Open | null = null;
  private bits: Float32Array = new Float32Array();
  private cursor = 0;
  private calibration: Calibration | null = null;

  constructor() {
    this.elements.onFile((file) => (file.name.endsWith(".json") ? this.calibrate(file) : this.scoreFile(file)));
    const input = this.elements.named("calibration");
    input.addEventListener("change", () => {
      const file = input.files?.[0];
      input.value = "";
      if (file) this.calibrate(file);
    });
    const colours = INFERNO.map((colour) => `rgb(${colour.join(" ")})`).join(", ");
    this.elements.root.querySelector<HTMLElement>(".scale")!.style.background = `linear-gradient(90deg, ${colours})`;
    this.elements.named("draw").addEventListener("click", () => this.scoreSample());
  }

  open(model: Open): void {
    this.model = model;
    this.elements.role("figures").hidden = true;
    this.elements.status("");
    this.calibration = null;
    this.elements.role("calibration").textContent = "";
  }

  show(): void {}

  private calibrate(file: File): void {
    void this.elements.attempt(async () => {
      const calibration = await readCalibration(file, this.model!.config);
      this.calibration = calibration;
      const { images, most_bits: most } = calibration;
      this.elements.role("calibration").textContent = `Images are compared with ${images} of ${file.name}; maps end at ${most} bits.`;
      this.elements.role("figures").hidden = true;
    });
  }

  private scoreFile(file: File): void {
    void this.elements.attempt(async () => {
      const { image } = this.model!.config;
      const { values, changes } = await readPicture(file, image, this.elements.named("fit").checked);
      await this.score(values, file.name + (changes.length ? ` (${changes.join("; ")})` : ""));
    });
  }

  private scoreSample(): void {
    void this.elements.attempt(async () => {
      const seed = randomSeed();
      this.elements.status("Drawing a sample");
      const args = { seed: BigInt(seed), first: 0, count: 1, temperature: 1, latentTemperature: 1 };
      const values = await this.model!.client.ask("sample", args);
      await this.score(values, `Image 0 of seed ${seed}`);
    });
  }

  private async score(values: Uint8Array, name: string): Promise<void> {
    const { elements } = this;
    const { client, config } = this.model!;
    elements.status("Scoring");
    const score = await client.ask("score", { image: values, seed: 0n });
    const { height, width, channels } = config.image;
    const pixels = height * width;
    this.bits = Float32Array.from({ length: pixels }, (_, i) => {
      let sum = 0;
      for (let c = 0; c < channels; c++) sum += score.surprise[c * pixels + i];
      return sum;
    });
    const most = this.calibration?.most_bits ?? this.bits.reduce((a, b) => Math.max(a, b), 0);
    const shown = canvasFor(config.image, name);
    paint(shown, values, config.image);
    elements.role("image").replaceChildren(shown);
    elements.role("name").textContent = name;
    const heat = canvasFor(config.image, "Heat map of surprise; arrow keys read single pixels");
    heat.tabIndex = 0;
    paintHeat(heat, this.bits, most);
    this.listen(heat);
    elements.role("heat").replaceChildren(heat);
    elements.role("most").textContent = `${most.toFixed(1)} bits`;
    this.tabulate(score);
    elements.role("figures").hidden = false;
    elements.status(`${name}: ${score.bitsPerDim.toFixed(4)} bits per dimension. ${this.reading(this.mostSurprising())}`);
  }

  private tabulate(score: Score): void {
    const { latents } = this.model!.config;
    const rows = [
      ["Bits per dimension", score.bitsPerDim.toFixed(4)],
      ["Nats", score.nllNats.toFixed(2)],
      ["Reconstruction, nats", score.reconstructionNats.toFixed(2)],
      ...score.klNats.map((kl, level) => [`KL of ${latents[level].name}, nats`, kl.toFixed(2)]),
      ...this.verdict(score),
    ];
    this.elements.role("rows").replaceChildren(
      ...rows.map(([name, figure]) => {
        const row = document.createElement("tr");
        const head = document.createElement("th");
        head.scope = "row";
        head.textContent = name;
        row.append(head, Object.assign(document.createElement("td"), { textContent: figure }));
        return row;
      }),
    );
  }

  /** Rows on whether the image belongs. */
  private verdict(score: Score): string[][] {
    if (!this.calibration) return [];
    const { pValue, spoke, deviation } = judge(this.calibration, score, this.bits, this.model!.config.image.width);
    return [
      ["p-value of belonging, without a codec", pValue.toFixed(4)],
      ["What spoke, in usual widths", `${spoke} ${deviation > 0 ? "+" : ""}${deviation.toFixed(1)}`],
    ];
  }

  private listen(canvas: HTMLCanvasElement): void {
    const { image } = this.model!.config;
    const { width, height } = image;
    const read = (pixel: number): void => {
      this.cursor = pixel;
      this.elements.role("reading").textContent = this.reading(pixel);
    };
    canvas.addEventListener("pointermove", ({ offsetX, offsetY }) => {
      const x = Math.floor((offsetX / canvas.clientWidth) * width);
      const y = Math.floor((offsetY / canvas.clientHeight) * height);
      if (x >= 0 && x < width && y >= 0 && y < height) read(y * width + x);
    });
    canvas.addEventListener("keydown", (event) => {
      const cell = moved(event.key, [this.cursor % width, Math.floor(this.cursor / width)], image);
      if (!cell) return;
      event.preventDefault();
      read(cell[1] * width + cell[0]);
    });
  }

  private mostSurprising(): number {
    return this.bits.reduce((best, value, i) => (value > this.bits[best] ? i : best), 0);
  }

  private reading(pixel: number): string {
    const { width } = this.model!.config.image;
    const [row, column] = [Math.floor(pixel / width) + 1, (pixel % width) + 1];
    return `Row ${row}, column ${column}: ${this.bits[pixel].toFixed(2)} bits.`;
  }
}
