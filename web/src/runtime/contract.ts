/** A bundle's `config.json` (format 1, `pvae_zoo.contract.config`): the contract between the graphs and whoever drives them. */

/** Something that the user must know, complete as it stands. */
export class PageError extends Error {}

export interface ImageShape {
  channels: number;
  height: number;
  width: number;
  levels: number;
}

export interface StepSpec {
  height: number;
  width: number;
  channels: number;
  context: { rows: number; channels: number };
  geometry: { top: number; left: number; stride: number; rows_per_image: number; slope: number };
  canvases: { name: string; channels: number }[];
}

export interface GraphSpec {
  file: string;
  size: number;
  sha256: string;
  inputs: { name: string; dtype: string }[];
}

export type Role =
  "encoder" | "prior_context" | "prior" | "prior_step" | "decoder_context" | "decoder" | "decoder_step";

export interface BundleConfig {
  format: number;
  name: string;
  title: string;
  dataset: string;
  image: ImageShape;
  latents: { name: string; shape: number[] }[];
  steps: Partial<Record<Role, StepSpec>>;
  parameters: number;
  graphs: Partial<Record<Role, GraphSpec>>;
}

/** An entry of `bundles/index.json`. */
export interface BundleEntry {
  name: string;
  title: string;
  folder: string;
}

export const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** The config, if this page can drive it. */
export function parseConfig(text: string, from: string): BundleConfig {
  let config: BundleConfig;
  try {
    config = JSON.parse(text) as BundleConfig;
  } catch {
    throw new PageError(`${from} is no JSON: copy the bundle to the site again`);
  }
  if (config?.format !== 1)
    throw new PageError(`${from} has bundle format ${config?.format ?? "none"}; this page reads format 1`);
  const roles: Role[] = ["encoder", "prior", "decoder_context", "decoder", "decoder_step"];
  if (config.latents?.length === 2) roles.push("prior_context", "prior_step");
  for (const role of roles)
    if (!config.graphs?.[role] || (role.endsWith("_step") && !config.steps?.[role]))
      throw new PageError(`${from} names no graph for ${role}: export the bundle again`);
  return config;
}
