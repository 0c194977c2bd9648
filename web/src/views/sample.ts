/** Draws images and shows them as the wavefront computes them; the seed stands in the address. */
import { noteAddress, readAddress } from "../address";
import { Latest } from "../client";
import { canvasFor, paint } from "../painting";
import { Elements, randomSeed, seconds, type Open, type Panel } from "../panel";

const TEMPERATURES = ["temperature", "latent-temperature"] as const;

export class SamplePanel implements Panel {
  private readonly elements = new Elements("sample");
  private readonly latest = new Latest();
  private model: Open | null = null;
  private drawn = false;

  constructor() {
    const { elements } = this;
    const { options } = readAddress();
    for (const name of ["seed", "count", ...TEMPERATURES]) {
      const value = options.get(name);
      if (value !== null) elements.named(name).value = value;
    }
    const count = elements.named<HTMLSelectElement>("count");
    if (count.selectedIndex < 0) count.selectedIndex = 0;
    for (const name of TEMPERATURES) {
      this.showTemperature(name);
      elements.named(name).addEventListener("input", () => this.showTemperature(name));
    }
    elements.form.addEventListener("submit", () => this.draw());
    elements.named("dice").addEventListener("click", () => {
      elements.named("seed").value = String(randomSeed());
      this.draw();
    });
  }

  open(model: Open): void {
    this.model = model;
    this.drawn = false;
  }

  show(): void {
    if (!this.drawn) this.draw();
  }

  private showTemperature(name: string): void {
    const value = Number(this.elements.named(name).value);
    this.elements.named<HTMLOutputElement>(`${name}-value`).value = value.toFixed(2);
  }

  private draw(): void {
    const { elements, model } = this;
    if (!model) return;
    this.drawn = true;
    void elements.attempt(async () => {
      const { image, name } = model.config;
      const seed = elements.seed();
      const count = Number(elements.named("count").value);
      const [temperature, latentTemperature] = TEMPERATURES.map((name) => Number(elements.named(name).value));
      noteAddress({
        seed: String(seed),
        count: count === 1 ? null : String(count),
        temperature: temperature === 1 ? null : String(temperature),
        "latent-temperature": latentTemperature === 1 ? null : String(latentTemperature),
      });
      const label = (i: number): string => `Image ${i} of ${name}, seed ${seed}`;
      const canvases = Array.from({ length: count }, (_, i) => canvasFor(image, label(i)));
      const pictures = elements.role("pictures");
      pictures.style.setProperty("--columns", String(Math.sqrt(count)));
      pictures.replaceChildren(...canvases);
      elements.status("");
      const start = performance.now();
      const values = await model.client.ask(
        "sample", { seed, first: 0, count, temperature, latentTemperature },
        ({ done, total, pixels }) => {
          elements.progress(done / total);
          if (pixels) canvases.forEach((canvas, i) => paint(canvas, pixels, image, i));
        },
        this.latest.begin(),
      );
      canvases.forEach((canvas, i) => paint(canvas, values, image, i));
      elements.status(`${count === 1 ? "An image" : `${count} images`} of ${name}, seed ${seed}, in ${seconds(start)}`);
    });
  }
}
