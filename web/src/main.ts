/** The page: chooses a model and a tab; the panels do the rest. */
import { noteAddress, readAddress } from "./address";
import { Client } from "./client";
import type { Panel } from "./panel";
import { PageError, type BundleEntry } from "./runtime/contract";
import { CompletePanel } from "./views/complete";
import { LatentsPanel } from "./views/latents";
import { SamplePanel } from "./views/sample";
import { ScorePanel } from "./views/score";

/** The smallest module that uses a SIMD instruction. */
const SIMD = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
]);

const failure = document.getElementById("failure")!;
const loading = document.getElementById("loading")!;
const chooser = document.getElementById("model") as HTMLSelectElement;
const main = document.getElementById("main")!;

function fail(error: unknown): void {
  failure.textContent = error instanceof PageError ? error.message : `failed: ${String(error)}`;
  failure.hidden = false;
  main.hidden = true;
  loading.textContent = "";
}

function checkBrowser(): void {
  if (typeof WebAssembly !== "object") throw new PageError("this browser has no WebAssembly: use a newer one");
  if (!WebAssembly.validate(SIMD)) throw new PageError("this browser has no WebAssembly SIMD: use a newer one");
  if (typeof OffscreenCanvas === "undefined") throw new PageError("this browser has no OffscreenCanvas: use a newer one");
}

async function readIndex(): Promise<BundleEntry[]> {
  const url = new URL("bundles/index.json", document.baseURI).href;
  let entries: BundleEntry[] | undefined;
  try {
    entries = ((await (await fetch(url)).json()) as { bundles: BundleEntry[] }).bundles;
  } catch {
    throw new PageError(`${url} cannot be read: make the site again with pvae-zoo web`);
  }
  if (!entries?.length) throw new PageError(`${url} names no models: make the site again with pvae-zoo web`);
  return entries;
}

/** The tabs, by the keys that tabs have: arrows, Home and End. */
function setUpTabs(shown: (id: string) => void): void {
  const tabs = [...document.querySelectorAll<HTMLButtonElement>('[role="tab"]')];
  const select = (tab: HTMLButtonElement, focus: boolean): void => {
    for (const other of tabs) {
      const selected = other === tab;
      other.setAttribute("aria-selected", String(selected));
      other.tabIndex = selected ? 0 : -1;
      document.getElementById(other.getAttribute("aria-controls")!)!.hidden = !selected;
    }
    if (focus) tab.focus();
    const id = tab.getAttribute("aria-controls")!;
    noteAddress({}, id);
    shown(id);
  };
  for (const [index, tab] of tabs.entries()) {
    tab.addEventListener("click", () => select(tab, false));
    tab.addEventListener("keydown", ({ key }) => {
      const to = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: tabs.length - 1 }[key];
      if (to !== undefined) select(tabs[(to + tabs.length) % tabs.length], true);
    });
  }
  select(tabs.find((tab) => tab.getAttribute("aria-controls") === readAddress().tab) ?? tabs[0], false);
}

async function start(): Promise<void> {
  checkBrowser();
  const entries = await readIndex();
  const panels: Record<string, Panel> = {
    sample: new SamplePanel(), complete: new CompletePanel(), latents: new LatentsPanel(), score: new ScorePanel(),
  };
  const client = new Client((what) => (loading.textContent = what));
  let ready = false;
  let visible = "sample";
  const open = async (): Promise<void> => {
    const entry = entries[chooser.selectedIndex];
    ready = false;
    failure.hidden = true;
    failure.textContent = "";
    noteAddress({ model: entry.name });
    try {
      const config = await client.ask("open", { folder: new URL(entry.folder, document.baseURI).href });
      const { channels, height, width } = config.image;
      const parameters = config.parameters.toLocaleString("en");
      const about = document.getElementById("about")!;
      about.textContent = `${config.title}: ${width}x${height}x${channels}, ${parameters} parameters.`;
      about.title = config.dataset;
      main.hidden = false;
      for (const panel of Object.values(panels)) panel.open({ client, config });
      ready = true;
      panels[visible].show();
    } catch (error) {
      fail(error); // another model can still be chosen
    }
  };
  chooser.append(...entries.map(({ name, title }) => Object.assign(new Option(name), { title })));
  const wanted = entries.findIndex(({ name }) => name === readAddress().options.get("model"));
  chooser.selectedIndex = Math.max(0, wanted);
  chooser.addEventListener("change", () => void open());
  setUpTabs((id) => {
    visible = id;
    if (ready) panels[id].show();
  });
  await open();
}

start().catch(fail);
