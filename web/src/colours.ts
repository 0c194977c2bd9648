/** A colour for a share of the scale of bits: the table of `pvae_zoo.screening.colours`, matplotlib's "inferno". */
export const INFERNO: [number, number, number][] = [
  [0, 0, 4], [11, 7, 36], [33, 12, 74], [61, 9, 101], [87, 16, 110], [113, 25, 110], [138, 34, 106], [163, 44, 97],
  [188, 55, 84], [210, 70, 68], [228, 90, 49], [241, 115, 29], [249, 142, 9], [252, 172, 17], [249, 203, 53],
  [242, 234, 105], [252, 255, 164],
];

/** The colour of a share, 0 to 1; what is beyond has the colour of the end. */
export function heat(share: number): [number, number, number] {
  const last = INFERNO.length - 1;
  const at = Math.min(1, Math.max(0, share)) * last;
  const low = Math.min(Math.floor(at), last - 1);
  const part = at - low;
  return INFERNO[low].map((value, i) => Math.round(value * (1 - part) + INFERNO[low + 1][i] * part)) as [number, number, number];
}
