import { readFileSync } from "node:fs";
import { View, read } from "./client.mjs";

const { stream } = JSON.parse(readFileSync(process.argv[2]));
const view = new View();
let compared = 0;
for (const step of stream.steps) {
  const message = read(Buffer.from(step.hex, "hex"));
  message[0] === 17 ? view.structure(message) : view.motion(message);
  for (const [ahead, expected] of Object.entries(step.shown_after)) {
    const shown = new Map([...view.held.values()].map((r) => [String(r.id), View.shown(r, view.tick + Number(ahead))]));
    if (shown.size !== Object.keys(expected).length) throw new Error(`${shown.size} entities, not ${Object.keys(expected).length}`);
    for (const [id, place] of Object.entries(expected)) {
      if (place.some((metres, axis) => Math.abs(metres - shown.get(id)[axis]) > 1e-9)) throw new Error(`${id} is not at ${place}`);
      compared += 1;
    }
  }
}
console.log(`${compared} places are right`);
