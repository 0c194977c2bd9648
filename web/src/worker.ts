/** The models run here, so that the page never freezes. One request at a time, in order; each can be cancelled. */
import type { Answer, Operation, Operations, Part, Request } from "./protocol";
import { Bundle, reason } from "./runtime/bundle";
import { PageError } from "./runtime/contract";
import { PixelVAE, type OnPart } from "./runtime/model";

/** The page is told of new pixels once a frame. */
const FRAME_MS = 16;

class Cancelled extends Error {}

const cancelled = new Set<number>();
const turns = new MessageChannel();
let model: PixelVAE | null = null;
let queue: Promise<void> = Promise.resolve();
let wake: () => void = () => {};
turns.port1.onmessage = () => wake();

/** Lets messages in: the runtime computes without ever coming back to the event loop by itself. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    wake = resolve;
    turns.port2.postMessage(null);
  });
}

const post = (answer: Answer): void => self.postMessage(answer);

function partsOf(id: number): OnPart {
  let last = 0;
  return async (done, total, pixels) => {
    const now = performance.now();
    if (now - last < FRAME_MS) return;
    last = now;
    const part: Part = { done, total, pixels: pixels && pixels.slice() };
    post({ id, kind: "part", part });
    await turn();
    if (cancelled.has(id)) throw new Cancelled();
  };
}

function opened(): PixelVAE {
  if (!model) throw new PageError("no model is open: choose one above");
  return model;
}

type Handlers = {
  [Op in Operation]: (args: Operations[Op]["args"], onPart: OnPart) => Promise<Operations[Op]["result"]>;
};

const handlers: Handlers = {
  open: async ({ folder }) => {
    model = null;
    const found = new PixelVAE(await Bundle.open(folder, (what) => post({ kind: "loading", what })));
    await found.prepare();
    model = found;
    return model.bundle.config;
  },
  sample: ({ seed, first, count, temperature, latentTemperature }, onPart) =>
    opened().sample(seed, first, count, temperature, latentTemperature, onPart),
  vary: ({ seed, choice, temperature }, onPart) => opened().vary(seed, choice, temperature, onPart),
  topLatents: async ({ seed, choice }) => opened().topLatents(seed, choice),
  complete: ({ image, keep, count, seed, temperature }, onPart) =>
    opened().complete(image, keep, count, seed, temperature, onPart),
  score: ({ image, seed }) => opened().score(image, seed),
};

async function answer(id: number, op: Operation, args: never): Promise<void> {
  try {
    await turn(); // a request that was cancelled while it waited is not begun
    if (cancelled.has(id)) throw new Cancelled();
    post({ id, kind: "result", result: await handlers[op](args, partsOf(id)) });
  } catch (error) {
    if (error instanceof Cancelled) post({ id, kind: "cancelled" });
    else post({ id, kind: "error", message: error instanceof PageError ? error.message : `failed: ${reason(error)}` });
  } finally {
    cancelled.delete(id);
    post({ kind: "loading", what: "" });
  }
}

self.onmessage = ({ data }: MessageEvent<Request>) => {
  if ("cancel" in data) cancelled.add(data.cancel);
  else queue = queue.then(() => answer(data.id, data.op, data.args as never));
};
