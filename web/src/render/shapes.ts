/** Helpers for small shapes that are merged. */
import { BufferAttribute, Color, type BufferGeometry } from "three";

/** The geometry without index and texture coordinates, all of one colour: so that different ones can be merged. */
export function coloured(geometry: BufferGeometry, hex: string): BufferGeometry {
  const plain = geometry.index === null ? geometry : geometry.toNonIndexed();
  plain.deleteAttribute("uv");
  const color = new Color(hex);
  const count = plain.getAttribute("position").count;
  const values = new Float32Array(3 * count);
  for (let i = 0; i < count; i++) values.set([color.r, color.g, color.b], 3 * i);
  plain.setAttribute("color", new BufferAttribute(values, 3));
  return plain;
}
