// Runs one graph in onnxruntime-node or onnxruntime-web: node driver.mjs FOLDER, which holds case.json and tensors.bin.
//
// case.json: package (folder of the runtime), graph (an ONNX file), wanted (outputs to keep), constants and carried
// (tensors of all runs, and of the first), feeds (tensors of each run). A tensor is {dtype, dims, offset}: of
// tensors.bin. The output `${name}_next` of a run is the carried `name` of the next one. Writes outputs.bin, and
// results.json with the seconds of the runs and a tensor for every wanted output of every run.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const ARRAYS = { float32: Float32Array, int64: BigInt64Array, uint8: Uint8Array };
const folder = process.argv[2];
const job = JSON.parse(readFileSync(join(folder, "case.json"), "utf8"));
const bytes = readFileSync(join(folder, "tensors.bin"));
const ort = createRequire(join(job.package, "package.json"))(job.package);
if (ort.env.wasm) ort.env.wasm.numThreads = 1;

function tensor({ dtype, dims, offset }) {
  const count = dims.reduce((product, size) => product * size, 1);
  const start = bytes.byteOffset + offset;
  const values = bytes.buffer.slice(start, start + count * ARRAYS[dtype].BYTES_PER_ELEMENT);
  return new ort.Tensor(dtype, new ARRAYS[dtype](values), dims);
}

function tensors(described) {
  return Object.fromEntries(Object.entries(described).map(([name, value]) => [name, tensor(value)]));
}

const session = await ort.InferenceSession.create(readFileSync(job.graph), {
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
});
const constants = tensors(job.constants);
const feeds = job.feeds.map(tensors);
const names = [...job.wanted, ...Object.keys(job.carried).map((name) => `${name}_next`)];
let carried = tensors(job.carried);
const kept = [];
const start = performance.now();
for (const feed of feeds) {
  const outputs = await session.run({ ...constants, ...carried, ...feed }, names);
  carried = Object.fromEntries(Object.keys(carried).map((name) => [name, outputs[`${name}_next`]]));
  kept.push(job.wanted.map((name) => [name, outputs[name]]));
}
const seconds = (performance.now() - start) / 1000;

const parts = [];
let offset = 0;
const runs = kept.map((outputs) =>
  Object.fromEntries(
    outputs.map(([name, { type, dims, data }]) => {
      const described = { dtype: type, dims, offset };
      parts.push(Buffer.from(data.buffer, data.byteOffset, data.byteLength));
      offset += data.byteLength;
      return [name, described];
    }),
  ),
);
writeFileSync(join(folder, "outputs.bin"), Buffer.concat(parts));
writeFileSync(join(folder, "results.json"), JSON.stringify({ seconds, runs }));
