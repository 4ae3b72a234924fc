/**
 * Name tags: page elements over the picture, for the nearest people only, reused from a pool. Where two would lie over each other
 * the nearer one is shown.
 */
import { Vector3, type PerspectiveCamera } from "three";

const TAGS_MAX = 24;
const FAR_M = 45;
const ABOVE_M = 2.05;
const HIGH_PX = 22;

export interface Tagged {
  readonly name: string;
  readonly x: number;
  readonly y: number;
  readonly z: number;
}

export class Tags {
  private readonly pool: { readonly tag: HTMLElement; width: number }[];
  private readonly at = new Vector3();

  constructor(layer: HTMLElement) {
    this.pool = Array.from({ length: TAGS_MAX }, () => {
      const tag = document.createElement("span");
      tag.className = "tag";
      tag.hidden = true;
      layer.append(tag);
      return { tag, width: 0 };
    });
  }

  draw(camera: PerspectiveCamera, all: readonly Tagged[]): void {
    const near = all
      .map((tagged) => ({ tagged, d: camera.position.distanceTo(this.at.set(tagged.x, tagged.y, tagged.z)) }))
      .filter(({ d }) => d < FAR_M)
      .sort((a, b) => a.d - b.d);
    const placed: { readonly left: number; readonly top: number; readonly width: number }[] = [];
    this.pool.forEach((slot, i) => {
      const { tag } = slot;
      const entry = near[i];
      if (entry === undefined) {
        tag.hidden = true;
        return;
      }
      const { name, x, y, z } = entry.tagged;
      const p = this.at.set(x, y + ABOVE_M, z).project(camera);
      tag.hidden = p.z > 1 || Math.abs(p.x) > 1.1 || Math.abs(p.y) > 1.1;
      if (tag.hidden) return;
      if (tag.textContent !== name) {
        tag.textContent = name;
        slot.width = tag.offsetWidth; // the only question to the layout: not asked at every frame
      }
      const left = ((p.x + 1) / 2) * window.innerWidth;
      const top = ((1 - p.y) / 2) * window.innerHeight;
      const { width } = slot;
      tag.hidden = placed.some(
        (other) => Math.abs(other.top - top) < HIGH_PX && Math.abs(other.left - left) < (other.width + width) / 2,
      );
      if (tag.hidden) return;
      placed.push({ left, top, width });
      tag.style.transform = `translate(${left.toFixed(1)}px, ${top.toFixed(1)}px) translate(-50%, -100%)`;
      tag.style.opacity = `${Math.min(1, (FAR_M - entry.d) / 10)}`;
    });
  }
}
