/** The arrow keys on a picture. */
import type { ImageShape } from "./runtime/contract";

/** Column and row. */
export type Cell = [number, number];

const MOVES: Record<string, Cell> = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
};

/** Where an arrow key leads from a cell, not beyond the edge; null for any other key. */
export function moved(key: string, [x, y]: Cell, { height, width }: ImageShape): Cell | null {
  const move = MOVES[key];
  if (!move) return null;
  return [Math.min(width - 1, Math.max(0, x + move[0])), Math.min(height - 1, Math.max(0, y + move[1]))];
}
