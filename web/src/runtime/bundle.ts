/** A bundle over HTTP: graphs are fetched when they are needed, hashed before they run, and opened once. */
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import * as ort from "onnxruntime-web/wasm";
import wasmUrl from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";

import { PageError, parseConfig, type BundleConfig, type Role } from "./contract";

// One thread: a wavefront's matrices are small, and threads would need a host that sends isolation headers.
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = { wasm: new URL(wasmUrl, self.location.href).href };
ort.env.logLevel = "error";

/** Told what is being loaded, for people who wait. */
export type Loading = (what: string) => void;

export class Bundle {
  private readonly sessions = new Map<Role, Promise<ort.InferenceSession>>();

  private constructor(
    private readonly folder: string,
    readonly config: BundleConfig,
    private readonly loading: Loading,
  ) {}

  /** The bundle in a folder of the site (an address that ends in a slash). */
  static async open(folder: string, loading: Loading): Promise<Bundle> {
    const url = new URL("config.json", folder).href;
    const text = new TextDecoder().decode(await download(url, "the model's contract", loading));
    return new Bundle(folder, parseConfig(text, url), loading);
  }

  /** The session of a graph; the same one every time. */
  session(role: Role): Promise<ort.InferenceSession> {
    let session = this.sessions.get(role);
    if (!session) {
      session = this.openSession(role);
      session.catch(() => this.sessions.delete(role)); // the next attempt may find the server awake
      this.sessions.set(role, session);
    }
    return session;
  }

  private async openSession(role: Role): Promise<ort.InferenceSession> {
    const spec = this.config.graphs[role]!;
    const url = new URL(spec.file, this.folder).href;
    const data = await download(url, `${this.config.name}: ${role.replace("_", " ")}`, this.loading, spec.size);
    if (data.length !== spec.size)
      throw new PageError(`${url} has ${data.length} bytes, expected ${spec.size}: copy the bundle to the site again`);
    if (bytesToHex(sha256(data)) !== spec.sha256)
      throw new PageError(`${url} is not what was published (SHA-256 differs): copy the bundle to the site again`);
    this.loading(`${this.config.name}: opening ${role.replace("_", " ")}`);
    try {
      return await ort.InferenceSession.create(data, { executionProviders: ["wasm"], logSeverityLevel: 3 });
    } catch (error) {
      throw new PageError(`the browser cannot run ${spec.file}: ${reason(error)}`);
    }
  }

  /** Outputs of a graph. */
  async run(role: Role, feeds: Record<string, ort.Tensor>): Promise<ort.InferenceSession.ReturnType> {
    return (await this.session(role)).run(feeds);
  }
}

/** What went wrong, in one line. */
export function reason(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0];
}

async function download(url: string, what: string, loading: Loading, size?: number): Promise<Uint8Array> {
  loading(`Loading ${what}`);
  let response: Response;
  try {
    response = await fetch(url);
  } catch {
    throw new PageError(`${url} cannot be fetched: is the server still there?`);
  }
  if (!response.ok) throw new PageError(`${url} cannot be fetched (HTTP ${response.status}): copy the bundle again`);
  if (!response.body || !size) return new Uint8Array(await response.arrayBuffer());
  const parts: Uint8Array[] = [];
  let received = 0;
  const reader = response.body.getReader();
  for (;;) {
    let next: ReadableStreamReadResult<Uint8Array>;
    try {
      next = await reader.read();
    } catch {
      throw new PageError(`${url} broke off after ${received} of ${size} bytes: try again`);
    }
    if (next.done) break;
    parts.push(next.value);
    received += next.value.length;
    loading(`Loading ${what}: ${Math.min(100, Math.round((100 * received) / size))} %`);
  }
  return new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer());
}
