/** What the page asks of its worker, and what it hears back. */
import type { BundleConfig } from "./runtime/contract";
import type { NoiseChoice, Score } from "./runtime/model";

export interface Operations {
  open: { args: { folder: string }; result: BundleConfig };
  sample: {
    args: { seed: bigint; first: number; count: number; temperature: number; latentTemperature: number };
    result: Uint8Array;
  };
  vary: { args: { seed: bigint; choice: NoiseChoice; temperature: number }; result: Uint8Array };
  topLatents: { args: { seed: bigint; choice: NoiseChoice }; result: Float32Array };
  complete: {
    args: { image: Uint8Array; keep: Uint8Array; count: number; seed: bigint; temperature: number };
    result: Uint8Array;
  };
  score: { args: { image: Uint8Array; seed: bigint }; result: Score };
}

export type Operation = keyof Operations;

export type Request = { id: number; op: Operation; args: Operations[Operation]["args"] } | { cancel: number };

/** Steps done and in all; values (N, C, H, W) so far, not a number where nothing is drawn yet. */
export interface Part {
  done: number;
  total: number;
  pixels: Float32Array | null;
}

export type Answer =
  | { id: number; kind: "result"; result: unknown }
  | { id: number; kind: "part"; part: Part }
  | { id: number; kind: "cancelled" }
  | { id: number; kind: "error"; message: string }
  | { kind: "loading"; what: string };
