/** What the address after # says: `#sample?model=mnist&seed=7`. So a drawing can be linked to. */

export interface Address {
  tab: string;
  options: URLSearchParams;
}

export function readAddress(): Address {
  const [tab, query] = location.hash.slice(1).split("?");
  return { tab, options: new URLSearchParams(query) };
}

/** Note options (null removes one); the tab stays unless given. */
export function noteAddress(changes: Record<string, string | null>, tab = readAddress().tab): void {
  const { options } = readAddress();
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) options.delete(name);
    else options.set(name, value);
  }
  const query = options.toString();
  history.replaceState(null, "", `#${tab}${query ? `?${query}` : ""}`);
}
