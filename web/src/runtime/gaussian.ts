/** Diagonal Gaussians over float32 latents, their figures in float64 (`pvae_zoo.runtime.scoring`). */

export interface Gaussian {
  mean: Float32Array;
  logStd: Float32Array;
}

const HALF_LOG_2PI = 0.5 * Math.log(2 * Math.PI);

/** A draw from standard normal noise. */
export function draw({ mean, logStd }: Gaussian, noise: Float32Array): Float32Array {
  return mean.map((m, i) => Math.fround(m + Math.fround(Math.fround(Math.exp(logStd[i])) * noise[i])));
}

/** Log-density in nats, of the values `where` alone if given; of N(0, I) without a Gaussian. */
export function logProb(z: Float32Array, q: Gaussian | null, where: boolean[] | null = null): number {
  let total = 0;
  for (let i = 0; i < z.length; i++) {
    if (where && !where[i]) continue;
    const logStd = q ? q.logStd[i] : 0;
    const standardised = q ? (z[i] - q.mean[i]) * Math.exp(-logStd) : z[i];
    total += -0.5 * standardised ** 2 - logStd - HALF_LOG_2PI;
  }
  return total;
}

/** KL(q || p) in nats; p is N(0, I) if null. */
export function kl(q: Gaussian, p: Gaussian | null): number {
  let total = 0;
  for (let i = 0; i < q.mean.length; i++) {
    const priorLogStd = p ? p.logStd[i] : 0;
    const logRatio = priorLogStd - q.logStd[i];
    const gap = (q.mean[i] - (p ? p.mean[i] : 0)) * Math.exp(-priorLogStd);
    total += logRatio + 0.5 * (Math.exp(-2 * logRatio) + gap ** 2 - 1);
  }
  return total;
}

/** The point at `t` (0 to 1) on the great circle between two latents (`pvae_zoo.runtime.latents.interpolate`). */
export function between(a: Float32Array, b: Float32Array, t: number): Float32Array {
  let dot = 0, aa = 0, bb = 0;
  for (let i = 0; i < a.length; i++) {
    dot += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  const angle = Math.acos(Math.min(1, Math.max(-1, dot / Math.max(Math.sqrt(aa) * Math.sqrt(bb), 1e-12))));
  const straight = Math.min(angle, Math.PI - angle) < 1e-3;
  const u = straight ? 1 - t : Math.sin((1 - t) * angle) / Math.sin(angle);
  const v = straight ? t : Math.sin(t * angle) / Math.sin(angle);
  return a.map((value, i) => u * value + v * b[i]);
}
