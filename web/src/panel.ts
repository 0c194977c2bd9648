/** What the four panels share: their elements, progress, errors, seeds, files. */
import { CancelledError, type Client } from "./client";
import { PageError, type BundleConfig } from "./runtime/contract";
import { SEED_LIMIT } from "./runtime/noise";

/** A model that is open, and the worker that it is open in. */
export interface Open {
  client: Client;
  config: BundleConfig;
}

export interface Panel {
  /** A model has been opened. */
  open(model: Open): void;
  /** The panel has come into view. */
  show(): void;
}

export class Elements {
  readonly root: HTMLElement;
  readonly form: HTMLFormElement;

  constructor(id: string) {
    this.root = document.getElementById(id)!;
    this.form = this.root.querySelector("form")!;
    this.form.addEventListener("submit", (event) => event.preventDefault());
  }

  /** The element with that data-role. */
  role(name: string): HTMLElement {
    return this.root.querySelector<HTMLElement>(`[data-role="${name}"]`)!;
  }

  /** The control or output with that name. */
  named<T extends HTMLElement = HTMLInputElement>(name: string): T {
    return this.form.elements.namedItem(name) as unknown as T;
  }

  /** The value that is chosen among radio buttons. */
  chosen(name: string): string {
    return (this.form.elements.namedItem(name) as RadioNodeList).value;
  }

  status(text: string): void {
    this.role("status").textContent = text;
  }

  progress(share: number | null): void {
    const bar = this.root.querySelector("progress");
    if (!bar) return;
    bar.classList.toggle("busy", share !== null);
    if (share !== null) bar.value = share;
  }

  /** Runs something and says what went wrong; nothing is said of a request that a newer one has overtaken. */
  async attempt(action: () => Promise<void>): Promise<void> {
    const error = this.role("error");
    error.hidden = true;
    error.textContent = "";
    try {
      await action();
      this.progress(null);
    } catch (problem) {
      if (problem instanceof CancelledError) return;
      this.progress(null);
      error.textContent = problem instanceof PageError ? problem.message : `failed: ${String(problem)}`;
      error.hidden = false;
    }
  }

  seed(): bigint {
    const text = this.named("seed").value.trim();
    const seed = /^\d{1,19}$/.test(text) ? BigInt(text) : SEED_LIMIT;
    if (seed >= SEED_LIMIT) throw new PageError(`“${text}” is no seed: choose a whole number from 0 to 2^63 - 1`);
    return seed;
  }

  /** Files that are chosen with the control `file`, or dropped on the panel. */
  onFile(use: (file: File) => void): void {
    const input = this.named("file");
    input.addEventListener("change", () => {
      const file = input.files?.[0];
      input.value = ""; // so that the same file can be chosen again
      if (file) use(file);
    });
    const over = (event: DragEvent, entered: boolean): void => {
      event.preventDefault();
      this.root.classList.toggle("dropping", entered);
    };
    this.root.addEventListener("dragover", (event) => over(event, true));
    this.root.addEventListener("dragleave", (event) => over(event, false));
    this.root.addEventListener("drop", (event) => {
      over(event, false);
      const file = event.dataTransfer?.files[0];
      if (file) use(file);
    });
  }
}

export function seconds(since: number): string {
  return `${((performance.now() - since) / 1000).toFixed(2)} s`;
}

export function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0];
}
