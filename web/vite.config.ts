import { defineConfig } from "vite";

// Relative addresses, so that the site works from any folder of a static host. The output is a part of the Python
// package (not committed): what `pvae-zoo web` serves.
export default defineConfig({
  base: "./",
  build: { outDir: "../zoo/web/static", emptyOutDir: true, target: "es2022", assetsInlineLimit: 0 },
  worker: { format: "es" },
});
