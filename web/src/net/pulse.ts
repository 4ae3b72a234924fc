/**
 * A worker that beats: browsers slow the timers of a hidden page down to one a second and stop its drawing, but not those of a
 * worker, and a server wants to hear from each page four times a second (STANDARD.md §2). Not responsible for: what is said.
 */
const BEAT_MS = 50;

setInterval(() => {
  postMessage(null);
}, BEAT_MS);
