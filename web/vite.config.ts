import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

/** The server serves the page from its own package; in development it runs at ISTHMUS_URL (default: its default address). */
const server = process.env.ISTHMUS_URL ?? "http://127.0.0.1:8080";

const page = (name: string) => fileURLToPath(new URL(name, import.meta.url));

export default defineConfig({
  base: "./",
  build: {
    outDir: fileURLToPath(new URL("../server/static", import.meta.url)),
    emptyOutDir: true,
    target: "es2022",
    // Nothing is inlined as a data: URL, so that the page works under "default-src 'self'".
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 900,
    rolldownOptions: { input: { index: page("index.html"), tv: page("tv.html"), console: page("console.html") } },
  },
  server: {
    proxy: {
      "/ws": { target: server, ws: true },
      "/api": server,
      "/map": server,
      "/channels.json": server,
    },
  },
  test: { include: ["test/**/*.test.ts"], environment: "node" },
});
