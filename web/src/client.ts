/** The worker as functions that return promises. */
import type { Answer, Operation, Operations, Part, Request } from "./protocol";
import { PageError } from "./runtime/contract";

/** A request was overtaken by a newer one: nothing to tell. */
export class CancelledError extends Error {}

interface Pending {
  resolve(result: unknown): void;
  reject(error: Error): void;
  onPart?: (part: Part) => void;
}

export class Client {
  private readonly worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  private readonly pending = new Map<number, Pending>();
  private next = 0;

  constructor(loading: (what: string) => void) {
    this.worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      if (data.kind === "loading") return loading(data.what);
      const request = this.pending.get(data.id);
      if (!request) return;
      if (data.kind === "part") return request.onPart?.(data.part);
      this.pending.delete(data.id);
      if (data.kind === "result") request.resolve(data.result);
      else request.reject(data.kind === "cancelled" ? new CancelledError() : new PageError(data.message));
    };
    // A worker that cannot start, or dies of a full memory, answers nothing: whoever waits is told.
    this.worker.onerror = (event) => {
      const error = new PageError(`the worker failed (${event.message || "it could not start"}): reload the page`);
      for (const request of this.pending.values()) request.reject(error);
      this.pending.clear();
    };
  }

  /** Ask for something; `signal` cancels it. */
  ask<Op extends Operation>(
    op: Op, args: Operations[Op]["args"], onPart?: (part: Part) => void, signal?: AbortSignal,
  ): Promise<Operations[Op]["result"]> {
    const id = this.next++;
    signal?.addEventListener("abort", () => this.send({ cancel: id }));
    return new Promise((resolve, reject) => {
      this.pending.set(id, { resolve: resolve as (result: unknown) => void, reject, onPart });
      this.send({ id, op, args });
    });
  }

  private send(request: Request): void {
    this.worker.postMessage(request);
  }
}

/** The newest request of a panel: starting one cancels the one before. */
export class Latest {
  private controller: AbortController | null = null;

  begin(): AbortSignal {
    this.controller?.abort();
    this.controller = new AbortController();
    return this.controller.signal;
  }
}
