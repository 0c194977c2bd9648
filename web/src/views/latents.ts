/** Moves in latent space: what a level controls is seen when it changes and all other noise is held. */
import { noteAddress, readAddress } from "../address";
import { Latest } from "../client";
import { canvasFor, paint } from "../painting";
import { Elements, seconds, type Open, type Panel } from "../panel";
import { product } from "../runtime/contract";
import type { NoiseChoice } from "../runtime/model";

/** How far a dimension can be moved; a standard normal is seldom beyond. */
const FARTHEST = 3;

export class LatentsPanel implements Panel {
  private readonly elements = new Elements("latents");
  private readonly latest = new Latest();
  private model: Open | null = null;
  private canvas: HTMLCanvasElement | null = null;
  private sliders: HTMLInputElement[] = [];
  private choice!: NoiseChoice;
  private drawn = false;

  constructor() {
    const { elements } = this;
    const seed = readAddress().options.get("seed");
    if (seed !== null) elements.named("seed").value = seed;
    elements.named("seed").addEventListener("change", () => this.restart());
    elements.named("reset").addEventListener("click", () => this.restart());
    elements.named("target").addEventListener("click", () => {
      this.choice.towards++;
      this.choice.share ||= 0.5;
      this.draw(true);
    });
    elements.named("share").addEventListener("input", () => {
      this.choice.share = Number(elements.named("share").value);
      this.draw(true);
    });
  }

  open(model: Open): void {
    this.model = model;
    this.drawn = false;
    const { elements } = this;
    const levels = model.config.latents.length;
    this.canvas = canvasFor(model.config.image, "The image of the chosen latents");
    elements.role("pictures").replaceChildren(this.canvas);
    const names = [...model.config.latents.map((level) => level.name), "the pixels"];
    const order = [...names.keys()].sort((a, b) => (a === levels ? 1 : b === levels ? -1 : b - a)); // top first
    elements.role("rolls").replaceChildren(...order.map((level) => this.roll(level, names[level])));
    const top = model.config.latents[levels - 1];
    elements.role("dimensions-title").textContent = `Each of the ${product(top.shape)} dimensions of ${top.name}`;
    this.sliders = Array.from({ length: product(top.shape) }, (_, i) => this.slider(i));
    elements.role("dimensions").replaceChildren(...this.sliders.map((slider) => slider.parentElement!));
    this.forget();
  }

  show(): void {
    if (!this.drawn) this.draw(true);
  }

  private roll(level: number, name: string): HTMLButtonElement {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `Re-roll ${name}`;
    button.dataset.level = name;
    button.addEventListener("click", () => {
      if (level < this.choice.latents.length) this.choice.latents[level]++;
      else this.choice.pixels++;
      this.draw(true);
    });
    return button;
  }

  private slider(dimension: number): HTMLInputElement {
    const label = document.createElement("label");
    const slider = document.createElement("input");
    Object.assign(slider, { type: "range", min: String(-FARTHEST), max: String(FARTHEST), step: "0.01" });
    label.append(`${dimension + 1}`, slider);
    // The slider holds the latent itself; what is kept is how far it was moved from where the noise had put it.
    slider.addEventListener("input", () => {
      const noise = Number(slider.dataset.noise);
      this.choice.shift[dimension] = Number(slider.value) - noise;
      this.draw(false);
    });
    return slider;
  }

  private forget(): void {
    const { latents } = this.model!.config;
    const shift = new Float32Array(product(latents[latents.length - 1].shape));
    this.choice = { latents: latents.map(() => 0), pixels: 0, towards: 1, share: 0, shift };
  }

  private restart(): void {
    this.forget();
    this.draw(true);
  }

  /** Draws the chosen image; `place` moves the sliders to where its latents are. */
  private draw(place: boolean): void {
    const { elements, model, canvas, choice } = this;
    if (!model || !canvas) return;
    this.drawn = true;
    elements.named("share").value = String(choice.share);
    elements.named<HTMLOutputElement>("share-value").value = choice.share.toFixed(2);
    const signal = this.latest.begin();
    void elements.attempt(async () => {
      const seed = elements.seed();
      noteAddress({ seed: String(seed) });
      const asked: NoiseChoice = { ...choice, latents: [...choice.latents], shift: choice.shift.slice() };
      if (place) this.placeSliders(await model.client.ask("topLatents", { seed, choice: asked }, undefined, signal));
      const start = performance.now();
      const values = await model.client.ask(
        "vary", { seed, choice: asked, temperature: 1 },
        ({ done, total, pixels }) => {
          elements.progress(done / total);
          if (pixels) paint(canvas, pixels, model.config.image);
        },
        signal,
      );
      paint(canvas, values, model.config.image);
      elements.status(`Drawn in ${seconds(start)}, all other noise held`);
    });
  }

  private placeSliders(latents: Float32Array): void {
    this.sliders.forEach((slider, i) => {
      slider.dataset.noise = String(latents[i] - this.choice.shift[i]);
      slider.value = String(latents[i]);
    });
  }
}
